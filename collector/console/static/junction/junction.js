// The lights of one junction: drawn from above, in words, and its last cycles.

import { arrange, h, say } from "./dom.js";
import { Drawing, words } from "./drawing.js";
import * as format from "./format.js";

const MODES = {
  automatic: "Automatic",
  manual_override: "Manual override",
  fixed: "Fixed plan",
  flash: "Flashing",
  preempt: "Emergency vehicle",
  off: "Off",
};
const WHY = { order: "ordered", fault: "fault", monitor: "the interlock stopped it", start_up: "starting up" };
const MOST_LANES = 16;

export class LightsCard {
  constructor() {
    this.drawing = null;
    this.drawn = null;
    this.place = h("div", { class: "plan" });
    this.silent = h("p", { class: "silent", role: "status" });
    this.facts = new Facts();
    this.heads = h("ul", { class: "heads" });
    this.rows = new Map();
    this.cycles = new Cycles();
    this.root = h(
      "article",
      { class: "card lights" },
      h("header", {}, h("h3", {}, "Lights")),
      this.silent,
      h("div", { class: "lights-body" }, this.place, h("div", { class: "lights-words" }, this.facts.root, this.heads)),
      this.cycles.root,
    );
  }

  /** `stopped`: since when nothing comes from the collector, in ms; null: it does. */
  update(lights, junction, nowMs, stopped) {
    this.#silence(lights, nowMs, stopped);
    this.#draw(lights);
    this.facts.update(lights);
    const heads = [...lights.heads.values()].sort((a, b) => a.phase - b.phase);
    arrange(this.heads, heads.map((head) => this.#head(head, nowMs)));
    this.cycles.update(lights, junction.timezone);
  }

  #silence(lights, nowMs, stopped) {
    const silent = lights.isSilent(nowMs);
    const old = silent || stopped !== null;
    this.root.classList.toggle("old", old);
    this.silent.hidden = !old;
    const since = stopped === null ? lights.heardAt : Math.min(stopped, lights.heardAt ?? stopped);
    say(this.silent, old ? `No word from the lights since ${format.moment(since, nowMs)}: this is how they were then` : "");
  }

  #draw(lights) {
    if (this.drawn !== lights.description) {
      this.drawn = lights.description;
      this.drawing = lights.lanes().length > 0 ? new Drawing(lights.description) : null;
      this.place.hidden = this.drawing === null;
      this.place.replaceChildren(...(this.drawing ? [this.drawing.svg] : []));
    }
    this.drawing?.update(lights);
  }

  #head(head, nowMs) {
    if (!this.rows.has(head.phase)) {
      const parts = { dot: h("span", { class: "bulb", "aria-hidden": "true" }), name: h("span", { class: "name" }) };
      parts.aspect = h("span", { class: "aspect" });
      parts.since = h("span", { class: "quiet number" });
      parts.root = h("li", {}, parts.dot, parts.name, parts.aspect, parts.since);
      this.rows.set(head.phase, parts);
    }
    const parts = this.rows.get(head.phase);
    parts.dot.dataset.aspect = head.aspect ?? "unknown";
    say(parts.name, head.name ?? `phase ${head.phase}`);
    say(parts.aspect, words(head.aspect));
    say(parts.since, head.since === null ? "" : format.duration(nowMs - head.since));
    return parts.root;
  }
}

class Facts {
  constructor() {
    this.root = h("dl", { class: "facts" });
    this.cells = Object.fromEntries(["Mode", "Stage", "Plan", "Algorithm"].map((name) => [name, h("dd")]));
    for (const [name, cell] of Object.entries(this.cells)) this.root.append(h("div", {}, h("dt", {}, name), cell));
  }

  update(lights) {
    const mode = MODES[lights.mode] ?? "Not known";
    const why = WHY[lights.flash];
    say(this.cells.Mode, why ? `${mode}: ${why}` : mode);
    this.cells.Mode.className = lights.mode === "flash" ? "alarm" : "";
    say(this.cells.Stage, lights.stage ?? "\u2013");
    say(this.cells.Plan, lights.plan ?? "\u2013");
    say(this.cells.Algorithm, (lights.algorithm ?? "\u2013").replace("_", " "));
  }
}

class Cycles {
  constructor() {
    this.head = h("tr");
    this.body = h("tbody");
    this.rows = new Map();
    const table = h("table", {}, h("caption", {}, "The last cycles"), h("thead", {}, this.head), this.body);
    const heading = h("h4", {}, "Last cycles");
    const scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The last cycles" }, table);
    this.root = h("div", { class: "cycles" }, heading, scroll);
  }

  update(lights, timezone) {
    const described = lights.lanes().map((lane) => lane.name);
    const told = [...new Set(lights.cycles.flatMap((cycle) => [...cycle.lanes.keys()]))];
    const lanes = [...described, ...told.filter((name) => !described.includes(name))].slice(0, MOST_LANES);
    this.root.hidden = lights.cycles.length === 0;
    this.#header(lanes);
    for (const key of this.rows.keys()) {
      if (!lights.cycles.some((cycle) => cycle.key === key)) this.rows.delete(key);
    }
    arrange(this.body, lights.cycles.map((cycle) => this.#row(cycle, lanes, timezone)));
  }

  #header(lanes) {
    const id = JSON.stringify(lanes);
    if (this.shown === id) return;
    this.shown = id;
    this.rows.clear();
    const names = ["Ended", "Length", ...lanes];
    this.head.replaceChildren(...names.map((name, i) => h("th", { scope: "col", class: i ? "number" : "" }, name)));
  }

  #row(cycle, lanes, timezone) {
    if (!this.rows.has(cycle.key)) {
      const ended = h("time", { datetime: new Date(cycle.at).toISOString() }, format.clock(cycle.at, timezone));
      const length = h("td", { title: `${cycle.mode}, ${cycle.algorithm}` }, seconds(cycle.lengthS));
      const cells = lanes.map((name) => laneCell(name, cycle.lanes.get(name)));
      this.rows.set(cycle.key, h("tr", {}, h("th", { scope: "row" }, ended), length, ...cells));
    }
    return this.rows.get(cycle.key);
  }
}

/** Vehicles, green time, and how much of what could have passed did. */
function laneCell(name, lane) {
  if (!lane) return h("td", {}, "\u2013");
  const vehicles = lane.vehicles === null ? "not measured" : `${format.count(lane.vehicles)} veh`;
  const cell = h("td", {}, h("span", {}, vehicles), h("span", { class: "quiet" }, `${seconds(lane.greenS)} green`));
  if (lane.saturation !== null) {
    const percent = Math.round(lane.saturation * 100);
    const bar = h("span", { class: "load" }, h("span"));
    bar.firstElementChild.style.width = `${Math.min(100, percent)}%`;
    bar.classList.toggle("full", percent > 95);
    bar.title = `${name}: degree of saturation ${percent} %`;
    cell.append(bar, h("span", { class: "aside" }, `, saturation ${percent} %`));
  }
  return cell;
}

function seconds(value) {
  return `${Math.round(value)}\u202fs`;
}
