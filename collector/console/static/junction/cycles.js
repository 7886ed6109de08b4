// The last cycles: how long each was, and what each lane got and gave.

import { arrange, h } from "../shell/dom.js";
import * as format from "../shell/format.js";

const MOST_LANES = 16;

export class Cycles {
  constructor() {
    this.head = h("tr");
    this.body = h("tbody");
    this.rows = new Map();
    const table = h("table", {}, h("caption", {}, "The last cycles"), h("thead", {}, this.head), this.body);
    const scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The last cycles" }, table);
    this.root = h("section", { class: "card cycles" }, h("h2", {}, "Last cycles"), scroll);
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
      const length = h("td", { class: "number", title: `${cycle.mode}, ${cycle.algorithm}` }, seconds(cycle.lengthS));
      const cells = lanes.map((name) => laneCell(name, cycle.lanes.get(name)));
      this.rows.set(cycle.key, h("tr", {}, h("th", { scope: "row" }, ended), length, ...cells));
    }
    return this.rows.get(cycle.key);
  }
}

/** Vehicles, green time, and how much of what could have passed did. */
function laneCell(name, lane) {
  const cell = h("td", { class: "number" }, ...laneWords(lane));
  cell.querySelector(".load")?.setAttribute("title", `${name}: degree of saturation`);
  return cell;
}

/** What a lane got and gave in a cycle; null: it had no part in it. */
export function laneWords(lane) {
  if (!lane) return ["\u2013"];
  const vehicles = lane.vehicles === null ? "not measured" : `${format.count(lane.vehicles)} veh`;
  const words = [h("span", { class: "sub-head" }, vehicles), h("span", { class: "quiet sub" }, `${seconds(lane.greenS)} green`)];
  if (lane.saturation === null) return words;
  const percent = Math.round(lane.saturation * 100);
  const bar = h("span", { class: percent > 95 ? "load full" : "load" }, h("span"));
  bar.firstElementChild.style.width = `${Math.min(100, percent)}%`;
  return [...words, bar, h("span", { class: "aside" }, `, saturation ${percent} %`)];
}

function seconds(value) {
  return `${Math.round(value)}\u202fs`;
}
