// The lights of a junction now: drawn from above, who decides and for how long, and lane by lane.

import { arrange, h, say } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { Drawing, words } from "./drawing.js";
import { Lanes } from "./lanes.js";
import { MODES } from "./modes.js";

const WHY = { order: "ordered", fault: "fault", monitor: "the interlock stopped it", start_up: "starting up" };

export class LightsCard {
  constructor() {
    this.drawing = null;
    this.drawn = null;
    this.place = h("div", { class: "plan" });
    this.facts = new Facts();
    this.lanes = new Lanes();
    this.heads = h("ul", { class: "heads" });
    this.rows = new Map();
    const told = h("div", { class: "lights-words" }, this.facts.root, this.lanes.root, this.heads);
    this.root = h("section", { class: "card lights", "aria-label": "Lights" }, this.place, told);
  }

  /** `known`: false where what was last told may hold no more. */
  update(model, junction, nowMs, known) {
    const { lights } = model;
    this.root.classList.toggle("old", !known);
    this.#draw(lights, nowMs, known);
    this.facts.update(lights, junction, nowMs, known);
    this.lanes.update(model, nowMs, known);
    // What no lane tells: those who walk, and all where nobody told what the lanes are.
    const withLanes = new Set(lights.movements().filter((one) => (one.lanes ?? []).length > 0).map((one) => one.phase));
    const heads = [...lights.heads.values()].filter((head) => !withLanes.has(head.phase)).sort((a, b) => a.phase - b.phase);
    arrange(this.heads, heads.map((head) => this.#head(head, nowMs, known)));
    this.heads.hidden = heads.length === 0;
  }

  #draw(lights, nowMs, known) {
    if (this.drawn !== lights.description) {
      this.drawn = lights.description;
      this.drawing = lights.lanes().length > 0 ? new Drawing(lights.description) : null;
      this.place.hidden = this.drawing === null;
      this.place.replaceChildren(...(this.drawing ? [this.drawing.svg] : []));
    }
    this.drawing?.update(lights, nowMs, known);
  }

  #head(head, nowMs, known) {
    if (!this.rows.has(head.phase)) {
      const parts = { dot: h("span", { class: "bulb", "aria-hidden": "true" }), name: h("span", { class: "name" }) };
      parts.aspect = h("span", { class: "aspect" });
      parts.since = h("span", { class: "quiet number" });
      parts.root = h("li", {}, parts.dot, parts.name, parts.aspect, parts.since);
      this.rows.set(head.phase, parts);
    }
    const parts = this.rows.get(head.phase);
    const aspect = known ? head.aspect : null;
    parts.dot.dataset.aspect = aspect ?? "unknown";
    say(parts.name, head.name ?? `phase ${head.phase}`);
    say(parts.aspect, words(aspect));
    say(parts.since, aspect === null || head.since === null ? "" : format.duration(nowMs - head.since));
    return parts.root;
  }
}

class Facts {
  constructor() {
    this.root = h("dl", { class: "facts" });
    this.cells = Object.fromEntries(["Mode", "Stage", "Next", "Plan"].map((name) => [name, new Fact(name)]));
    this.root.append(...Object.values(this.cells).map((fact) => fact.root));
  }

  update(lights, junction, nowMs, known) {
    const { Mode, Stage, Next, Plan } = this.cells;
    const mode = MODES[lights.mode] ?? "Not known";
    const why = WHY[lights.flash];
    Mode.update(why ? `${mode}: ${why}` : mode, sinceMode(junction, lights, nowMs));
    Mode.value.className = ["flash", "off"].includes(lights.mode) ? "alarm" : "";
    const since = lights.stageSince;
    const nobody = lights.heads.size > 0 && [...lights.heads.values()].every((head) => head.aspect === "red") ? "all red" : "\u2013";
    Stage.update(known ? (lights.stage ?? nobody) : "\u2013", known && since !== null ? `for ${format.duration(nowMs - since)}` : "");
    Next.update((known && lights.nextStage) || "\u2013", lights.nextStage && known ? "by the plan" : "");
    Plan.update(lights.plan ?? "\u2013", (lights.algorithm ?? "").replaceAll("_", " "));
  }
}

class Fact {
  constructor(name) {
    this.value = h("dd");
    this.more = h("dd", { class: "more" });
    this.root = h("div", {}, h("dt", {}, name), this.value, this.more);
  }

  update(value, more) {
    say(this.value, value);
    say(this.more, more);
  }
}

function sinceMode(junction, lights, nowMs) {
  const at = lights.mode === junction.mode ? format.ms(junction.mode_at) : null;
  return at === null ? "" : `for ${format.duration(nowMs - at)}`;
}
