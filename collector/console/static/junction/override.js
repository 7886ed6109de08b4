// Ordering something else than automatic: what is chosen, what will come of it, and the question before it is sent.

import { arrange, h, say } from "../shell/dom.js";
import { confirmed } from "../shell/dialog.js";
import { inWords, isAborted, Problem } from "../shell/fetching.js";
import { Field, Form, select } from "../shell/form.js";
import * as format from "../shell/format.js";
import { MODES } from "./modes.js";
import { planBar, seconds } from "./plan_bar.js";

const PREVIEW_AFTER_MS = 250;
const CHOICES = [
  ["manual_override", "Own times"],
  ["fixed", "Fixed plan"],
  ["flash", "Flash red"],
  ["off", "Dark"],
];
const EXPIRIES = [
  ["300", "5 minutes"],
  ["900", "15 minutes"],
  ["1800", "30 minutes"],
  ["3600", "1 hour"],
  ["7200", "2 hours"],
  ["14400", "4 hours"],
  ["28800", "8 hours"],
  ["86400", "24 hours"],
];

export class OverrideForm {
  /** `ordered(item)` is called with what the collector made of an order. */
  constructor({ ask, path, ordered, now }) {
    this.ask = ask;
    this.path = path;
    this.ordered = ordered;
    this.now = now;
    this.junction = null;
    this.lanes = [];
    this.mode = "manual_override";
    this.open = h("button", { type: "button", class: "primary", "aria-expanded": "false", hidden: true, onclick: () => this.toggle() }, "Override\u2026");
    this.place = h("div", { class: "override-form", hidden: true });
    this.place.addEventListener("keydown", (event) => event.key === "Escape" && this.toggle(false));
    this.root = h("div", { class: "override", hidden: true }, this.place);
  }

  /** Take in what the junction is; the form is made anew only when that changed. */
  update(junction, lights) {
    this.junction = junction;
    this.lights = lights;
    if (this.described === lights.description) return;
    this.described = lights.description;
    this.#make();
  }

  /** Whether the user may order anything here. */
  allow(may) {
    this.open.hidden = !may || !this.place.hidden;
    this.root.hidden = !may || this.place.hidden;
  }

  toggle(open = this.place.hidden) {
    this.place.hidden = !open;
    this.root.hidden = !open;
    this.open.hidden = open;
    this.open.setAttribute("aria-expanded", String(open));
    if (!open) return this.open.focus();
    this.#preview();
    return this.place.querySelector("input")?.focus();
  }

  #make() {
    const stages = this.lights.planStages();
    const greens = new Map();
    for (const step of stages) {
      for (const lane of this.#lanesOf(step.stage)) greens.set(lane, { stage: step.stage, green: step.green_s });
    }
    const last = stages.at(-1)?.stage;
    this.cycle = new Field("Cycle", { name: "cycle_s", type: "number", min: "1", max: "86400", step: "any", required: true, inputmode: "decimal" }, { unit: "s" });
    this.lanes = [...greens].map(([lane, { stage, green }]) => this.#laneField(lane, stage, stage === last ? null : green));
    this.plan = new Field("Plan", { name: "plan" }, { control: select((this.described?.plans ?? []).map((one) => [one.name, one.name]), this.lights.plan ?? "") });
    this.expiry = new Field("Ends by itself after", { name: "expires_s" }, { control: select(EXPIRIES, "3600") });
    this.why = new Field("Why", { name: "why", maxlength: "1000", required: true, autocomplete: "off" }, { hint: "Stands in the log, with your name." });
    this.why.root.classList.add("whole");
    this.result = h("div", { class: "preview", role: "status" });
    this.form = new Form({
      fields: [this.cycle, this.plan, this.expiry, ...this.lanes, this.why],
      submit: "Review\u2026",
      send: () => this.#send(),
      done: (item) => item && this.#done(item),
      before: [this.result],
      after: [h("button", { type: "button", onclick: () => this.toggle(false) }, "Cancel")],
    });
    this.form.root.prepend(this.#modes());
    this.form.root.addEventListener("input", (event) => this.#changed(event.target));
    this.place.replaceChildren(this.form.root);
    this.#suggestCycle(stages);
    this.#choose(this.mode);
  }

  #modes() {
    const items = CHOICES.map(([mode, words]) => {
      const input = h("input", { type: "radio", name: "mode", value: mode, checked: mode === this.mode, onchange: () => this.#choose(mode) });
      return h("label", {}, input, h("span", {}, words));
    });
    return h("fieldset", { class: "choices" }, h("legend", {}, "What the lights shall do"), ...items);
  }

  #laneField(lane, stage, green) {
    const attributes = { name: `lane_green_s.${lane}`, type: "number", min: "0", max: "86400", step: "any", inputmode: "decimal" };
    const field = new Field(`${lane}`, { ...attributes, value: green }, { unit: "s green" });
    field.lane = lane;
    field.stage = stage;
    field.root.classList.add("lane-field");
    return field;
  }

  /** What the plan's own greens add up to with what has to lie between them. */
  #suggestCycle(stages) {
    const movements = new Map(this.lights.movements().map((one) => [one.name, one]));
    const stageNamed = new Map((this.described?.stages ?? []).map((one) => [one.name, one]));
    const between = (name) => {
      const going = (stageNamed.get(name)?.movements ?? []).map((one) => movements.get(one)).filter(Boolean);
      return Math.max(0, ...going.map((one) => (one.yellow_s ?? 3) + (one.red_clearance_s ?? 2)));
    };
    const sum = stages.reduce((total, step) => total + step.green_s + between(step.stage), 0);
    if (sum > 0) this.cycle.control.value = Number(sum.toFixed(1));
  }

  #lanesOf(stage) {
    const found = (this.described?.stages ?? []).find((one) => one.name === stage);
    const going = this.lights.movements().filter((one) => found?.movements.includes(one.name));
    return going.flatMap((one) => one.lanes ?? []);
  }

  #choose(mode) {
    this.mode = mode;
    const own = mode === "manual_override";
    for (const field of [this.cycle, ...this.lanes]) {
      field.root.hidden = !own;
      field.control.disabled = !own;
    }
    this.plan.root.hidden = mode !== "fixed";
    this.expiry.root.hidden = !own && mode !== "fixed";
    this.form.complain(null);
    this.#preview();
  }

  /** Lanes that are green in the same stage share its time. */
  #changed(control) {
    const field = this.lanes.find((one) => one.control === control);
    for (const other of field ? this.lanes : []) {
      if (other !== field && other.stage === field.stage) other.control.value = control.value;
    }
    if (control === this.why.control) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#preview(), PREVIEW_AFTER_MS);
  }

  #body() {
    const body = { mode: this.mode, why: this.why.value };
    if (this.mode === "manual_override") {
      body.cycle_s = this.cycle.number;
      const given = this.lanes.filter((field) => field.value !== "");
      body.lane_green_s = Object.fromEntries(given.map((field) => [field.lane, field.number]));
    }
    if (this.mode === "fixed") body.plan = this.plan.value;
    if (["manual_override", "fixed"].includes(this.mode)) body.expires_s = Number(this.expiry.value);
    return body;
  }

  /** Ask what would come of it. Only the latest question's answer counts. */
  async #preview() {
    clearTimeout(this.timer);
    const mine = {};
    this.asked = mine;
    if (this.place.hidden) return null;
    if (this.mode === "manual_override" && this.cycle.number === null) return this.#show(null);
    try {
      const body = { ...this.#body(), why: this.why.value || "preview" };
      const found = await this.ask(`${this.path}/mode/preview`, { body });
      if (this.asked === mine) this.#show(found);
      return found;
    } catch (error) {
      if (isAborted(error) || this.asked !== mine) return null;
      this.#complain(error instanceof Problem ? error.fields : new Map(), inWords(error));
      return null;
    }
  }

  #show(found) {
    this.found = found;
    for (const field of [this.cycle, ...this.lanes, this.plan]) field.complain(null);
    for (const field of this.lanes) {
      const computed = found?.accepted ? found.lane_green_s?.[field.lane] : undefined;
      field.control.placeholder = computed === undefined ? "computed" : `computed: ${Number(computed.toFixed(1))}`;
      field.root.classList.toggle("computed", field.value === "");
    }
    if (found === null) return arrange(this.result, []);
    if (!found.accepted) {
      const told = /^([a-z_]+(?:\.[^:]+)?): (.+)$/s.exec(found.reason);
      this.#complain(told ? new Map([[told[1], told[2]]]) : new Map(), told ? told[2] : found.reason);
      return undefined;
    }
    const words = found.cycle_s ? h("p", { class: "preview-head" }, h("strong", {}, `${seconds(found.cycle_s)} a cycle`)) : null;
    this.result.replaceChildren(...[words, found.stages?.length ? planBar(found.stages) : null, h("p", { class: "quiet" }, this.#ends())].filter(Boolean));
    return undefined;
  }

  #complain(fields, words) {
    this.found = null;
    const all = [this.cycle, ...this.lanes, this.plan, this.expiry];
    const told = all.filter((field) => fields.has(field.name));
    for (const field of all) field.complain(fields.get(field.name) ?? null);
    this.result.replaceChildren(...(told.length ? [] : [h("p", { class: "fault" }, words)]));
  }

  #ends() {
    if (this.mode === "flash") return "Flashing red everywhere, until somebody orders something else.";
    if (this.mode === "off") return "All lamps dark, through flashing first, until somebody orders something else.";
    const ends = this.now() + Number(this.expiry.value) * 1000;
    return `Automatic again by itself at about ${format.minute(ends, this.junction.timezone)}.`;
  }

  async #send() {
    const found = await this.#preview();
    if (!found?.accepted) {
      this.place.querySelector("[aria-invalid]")?.focus();
      return null;
    }
    const body = this.#body();
    if (!(await confirmed(this.#question(body, found)))) return null;
    return this.ask(`${this.path}/mode`, { method: "PUT", body });
  }

  /** Exactly what will happen, in words. */
  #question(body, found) {
    const lanes = Object.entries(found.lane_green_s ?? {}).map(([lane, green]) => {
      const computed = found.computed_lanes?.includes(lane) ? " (computed)" : "";
      return h("li", {}, `${lane}: ${seconds(green)} green${computed}`);
    });
    const what = {
      manual_override: `A cycle of ${seconds(found.cycle_s ?? body.cycle_s)} with these times, whatever the sensors tell:`,
      fixed: `The plan ${body.plan} with its own times, whatever the sensors tell.`,
      flash: "All lights flash red. Drivers treat it as a crossing where everybody stops.",
      off: "All lamps go dark, through flashing. Nothing regulates the junction then.",
    }[body.mode];
    const why = h("p", { class: "quiet" }, `Why: ${body.why}`);
    const list = body.mode === "manual_override" ? [h("ul", { class: "plan-words" }, ...lanes)] : [];
    return {
      title: `${MODES[body.mode]} at ${this.junction.name}?`,
      body: [h("p", {}, what), ...list, h("p", {}, this.#ends()), why],
      yes: "Send it to the lights",
      danger: ["flash", "off"].includes(body.mode),
    };
  }

  #done(item) {
    this.why.control.value = "";
    this.toggle(false);
    this.ordered(item);
  }
}
