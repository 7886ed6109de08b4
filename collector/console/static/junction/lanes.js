// Each lane: what it shows, who waits, what the last cycle gave and took, and today's count.

import { arrange, h, say } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { words } from "./drawing.js";

const HEADS = ["Lane", "Light", "Waiting", "Last cycle", "Green", "Saturation", "Today"];

export class Lanes {
  constructor() {
    this.rows = new Map();
    this.body = h("tbody");
    const heads = HEADS.map((name, index) => h("th", { scope: "col", class: index > 1 ? "number" : null }, name));
    const table = h("table", {}, h("caption", {}, "Lanes"), h("thead", {}, h("tr", {}, ...heads)), this.body);
    const scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Lanes" }, table);
    this.root = h("section", { class: "card lanes" }, h("h2", {}, "Lanes"), scroll);
  }

  update(model, nowMs, known) {
    const { lights } = model;
    this.root.hidden = lights.lanes().length === 0;
    arrange(this.body, lights.lanes().map((lane) => this.#row(lane.name, model, nowMs, known)));
  }

  #row(name, model, nowMs, known) {
    if (!this.rows.has(name)) this.rows.set(name, makeRow(name));
    const row = this.rows.get(name);
    const { lights } = model;
    const aspect = known ? lights.laneAspect(name) : null;
    row.bulb.dataset.aspect = aspect ?? "unknown";
    say(row.light, words(aspect));
    say(row.waiting, waiting(known ? lights.queue(name, nowMs) : null));
    const last = lights.cycles[0]?.lanes.get(name);
    say(row.vehicles, !last || last.vehicles === null ? "\u2013" : `${format.count(last.vehicles)} veh`);
    say(row.green, last ? `${Math.round(last.greenS)}\u202fs` : "\u2013");
    showLoad(row, last?.saturation ?? null);
    const today = model.laneToday(name);
    say(row.today, today === null ? "\u2013" : format.count(today));
    return row.root;
  }
}

function makeRow(name) {
  const row = { bulb: h("span", { class: "bulb", "aria-hidden": "true" }), light: h("span") };
  for (const cell of ["waiting", "vehicles", "green", "today"]) row[cell] = h("td", { class: "number" });
  row.percent = h("span");
  row.bar = h("span");
  row.load = h("span", { class: "load", "aria-hidden": "true" }, row.bar);
  const light = h("td", {}, h("span", { class: "lane-light" }, row.bulb, row.light));
  const saturation = h("td", { class: "number saturation" }, row.percent, row.load);
  row.root = h("tr", {}, h("th", { scope: "row" }, name), light, row.waiting, row.vehicles, row.green, saturation, row.today);
  return row;
}

function waiting(queue) {
  if (!queue) return "\u2013";
  return queue.standing === null ? format.count(queue.n) : `${format.count(queue.standing)} of ${format.count(queue.n)}`;
}

function showLoad(row, saturation) {
  const percent = saturation === null ? null : Math.round(saturation * 100);
  say(row.percent, percent === null ? "\u2013" : `${percent}\u202f%`);
  row.load.hidden = percent === null;
  row.bar.style.width = `${Math.min(100, percent ?? 0)}%`;
  row.load.classList.toggle("full", (percent ?? 0) > 95);
}
