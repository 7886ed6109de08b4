// Each lane: what it shows since when, who waits, what the last cycle gave and took, and today's count.

import { arrange, h, say } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { laneWords } from "./cycles.js";
import { words } from "./drawing.js";

const HEADS = ["Lane", "Light", "Waiting", "Last cycle", "Today"];

export class Lanes {
  constructor() {
    this.rows = new Map();
    this.body = h("tbody");
    const heads = HEADS.map((name, index) => h("th", { scope: "col", class: index > 1 ? "number" : null }, name));
    const table = h("table", { class: "lanes" }, h("caption", {}, "Lanes"), h("thead", {}, h("tr", {}, ...heads)), this.body);
    this.root = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Lanes" }, table);
  }

  update(model, nowMs, known) {
    const lanes = model.lights.lanes();
    this.root.hidden = lanes.length === 0;
    arrange(this.body, lanes.map((lane) => this.#row(lane.name, model, nowMs, known)));
  }

  #row(name, model, nowMs, known) {
    if (!this.rows.has(name)) this.rows.set(name, makeRow(name));
    const row = this.rows.get(name);
    const { lights } = model;
    const head = known ? lights.laneHead(name) : null;
    const aspect = head?.aspect ?? null;
    row.bulb.dataset.aspect = aspect ?? "unknown";
    say(row.aspect, words(aspect));
    say(row.since, aspect !== null && head.since !== null ? format.duration(nowMs - head.since) : "");
    say(row.waiting, waiting(known ? lights.queue(name, nowMs) : null));
    const last = lights.cycles[0]?.lanes.get(name) ?? null;
    if (row.last !== last) row.cycle.replaceChildren(...laneWords(last));
    row.last = last;
    const today = model.laneToday(name);
    say(row.today, today === null ? "\u2013" : format.count(today));
    return row.root;
  }
}

function makeRow(name) {
  const row = { bulb: h("span", { class: "bulb", "aria-hidden": "true" }), aspect: h("span", { class: "aspect" }) };
  row.since = h("span", { class: "quiet since" });
  for (const cell of ["waiting", "cycle", "today"]) row[cell] = h("td", { class: "number" });
  row.cycle.textContent = "\u2013";
  const light = h("td", {}, h("span", { class: "lane-light" }, row.bulb, row.aspect, row.since));
  row.root = h("tr", {}, h("th", { scope: "row" }, name), light, row.waiting, row.cycle, row.today);
  return row;
}

/** How many stand, of all that are near. */
function waiting(queue) {
  if (!queue) return "\u2013";
  if (queue.standing === null || queue.n === 0) return format.count(queue.n);
  return `${format.count(queue.standing)} of ${format.count(queue.n)}`;
}
