// The last day of a device in quarters of an hour: how warm it was, and how much waited. What was not told is hatched.

import { h } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { svg } from "../shell/svg.js";

const QUARTER_MS = 15 * 60_000;
const QUARTERS = 96;
const [WIDE, HIGH] = [480, 60];
const STEP = WIDE / QUARTERS;

const CHARTS = [
  { name: "Temperature", unit: "\u202f\u00b0C", least: 20, most: 90, of: (moment) => moment.temperature_c },
  { name: "Waiting to be sent", unit: "", least: 0, most: 10, of: (moment) => moment.outbox_records },
  { name: "Processor", unit: "\u202f%", least: 0, most: 100, of: (moment) => moment.cpu_percent },
];

/** `health` as the API tells it. */
export function dayChart(health, nowMs) {
  const end = (Math.floor(nowMs / QUARTER_MS) + 1) * QUARTER_MS;
  const begin = end - QUARTERS * QUARTER_MS;
  if (health.length === 0) return h("p", { class: "quiet" }, "It told nothing in the last day.");
  return h("div", { class: "day-charts" }, ...CHARTS.map((chart) => drawn(chart, health, begin, end)));
}

function drawn(chart, health, begin, end) {
  const slots = Array(QUARTERS).fill(null);
  for (const moment of health) {
    const index = Math.floor((Date.parse(moment.at) - begin) / QUARTER_MS);
    if (index >= 0 && index < QUARTERS) slots[index] = chart.of(moment);
  }
  const told = slots.filter((value) => value !== null);
  const most = Math.max(chart.most, ...told);
  const words = told.length ? `at most ${format.count(Math.round(Math.max(...told)))}${chart.unit}` : "not told";
  const image = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img" });
  image.setAttribute("aria-label", `${chart.name} in the last day: ${words}`);
  slots.forEach((value, index) => image.append(bar(value, index, chart.least, most)));
  const scale = h("p", { class: "scale" }, h("span", {}, format.minute(begin)), h("span", {}, format.minute(end)));
  return h("figure", {}, h("figcaption", {}, chart.name, h("span", { class: "quiet" }, words)), image, scale);
}

function bar(value, index, least, most) {
  const x = index * STEP;
  if (value === null) return svg("rect", { class: "unmeasured", x, y: 0, width: STEP, height: HIGH });
  const high = Math.max(1.5, ((Math.max(value, least) - least) / (most - least)) * HIGH);
  return svg("rect", { class: "bar-one", x: x + 0.4, y: HIGH - high, width: STEP - 0.8, height: high });
}
