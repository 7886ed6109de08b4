// The latest crossings, as they come in.

import { arrange, h } from "../shell/dom.js";
import * as format from "../shell/format.js";

export class Crossings {
  constructor() {
    this.list = h("ol");
    this.root = h("section", { class: "card latest" }, h("h2", {}, "Last crossings"), this.list);
  }

  update(model) {
    this.root.hidden = model.lines().length === 0;
    const items = model.crossings.map((count) => (count.item ??= crossingItem(count, model)));
    arrange(this.list, items);
  }
}

function crossingItem(count, model) {
  const source = model.sources.get(count.source_id);
  const way = count.direction === "none" ? "\u00b7" : count.direction;
  const what = count.cls === "object" ? "vehicle" : count.cls;
  const devices = new Set([...model.sources.values()].map((one) => one.device));
  const place = source && devices.size > 1 ? `${count.source} \u00b7 ${source.deviceName}` : count.source;
  return h(
    "li",
    { title: `${what}, ${place}${count.inferred ? " (inferred: first seen past the line)" : ""}` },
    h("time", { datetime: new Date(count.at).toISOString() }, format.clock(count.at, model.junction.timezone)),
    h("span", { class: `way ${count.direction}` }, way),
    h("span", {}, `${what}, `, h("span", { class: "quiet" }, place)),
  );
}
