// The last hour of a line as small bars, one a minute. What was not measured is hatched: it is never zero.

import * as format from "../shell/format.js";
import { MINUTES } from "./model.js";
import { set, svg } from "../shell/svg.js";

const STEP = 6;
const BAR = 4.6;
const HEIGHT = 46;
const FULL = 0.95; // A minute of which so much was measured counts as measured.
const LEAST_PEAK = 4;

/** An element that draws what `update` is given. */
export class Hour {
  constructor() {
    this.svg = svg("svg", { viewBox: `0 0 ${MINUTES * STEP} ${HEIGHT + 1}`, role: "img" });
    this.slots = Array.from({ length: MINUTES }, (_, index) => this.#slot(index));
    this.svg.append(svg("line", { class: "base", x1: 0, x2: MINUTES * STEP, y1: HEIGHT + 0.5, y2: HEIGHT + 0.5 }));
  }

  #slot(index) {
    const x = index * STEP;
    const parts = {
      gap: svg("rect", { class: "unmeasured", x, width: STEP, y: 0, height: 0 }),
      in: svg("rect", { class: "bar-in", x: x + 0.7, width: BAR, y: HEIGHT, height: 0 }),
      out: svg("rect", { class: "bar-out", x: x + 0.7, width: BAR, y: HEIGHT, height: 0 }),
      none: svg("rect", { class: "bar-none", x: x + 0.7, width: BAR, y: HEIGHT, height: 0 }),
      title: svg("title", {}),
    };
    const group = svg("g", {});
    // Something to point at, also where nothing is drawn.
    group.append(parts.title, svg("rect", { x, width: STEP, y: 0, height: HEIGHT, fill: "transparent" }));
    group.append(parts.gap, parts.in, parts.out, parts.none);
    this.svg.append(group);
    return parts;
  }

  /** @returns {{peak: number, gaps: boolean}} what the full height stands for, and whether anything is hatched. */
  update(minutes, timezone) {
    const peak = Math.max(LEAST_PEAK, ...minutes.map((one) => one.in + one.out + one.none));
    minutes.forEach((one, index) => draw(this.slots[index], one, peak, timezone));
    this.svg.setAttribute("aria-label", summary(minutes));
    return { peak, gaps: minutes.some(isMissing) };
  }
}

function isMissing(one) {
  return one.measured !== null && one.measured < FULL;
}

function draw(slot, one, peak, timezone) {
  const missing = isMissing(one) ? 1 - one.measured : 0;
  set(slot.gap, { height: missing * HEIGHT });
  let y = HEIGHT;
  for (const direction of ["in", "out", "none"]) {
    const height = (one[direction] / peak) * HEIGHT;
    y -= height;
    set(slot[direction], { y: y.toFixed(2), height: height.toFixed(2) });
  }
  const label = `${format.minute(one.minute, timezone)}  ${words(one, missing)}`;
  if (slot.title.textContent !== label) slot.title.textContent = label;
}

function words(one, missing) {
  if (missing === 1 && one.in + one.out + one.none === 0) return "not measured";
  const told = one.none ? `${format.count(one.none)} counted` : `${format.count(one.in)} in, ${format.count(one.out)} out`;
  return missing ? `${told}, ${Math.round(missing * 60)} s not measured` : told;
}

function summary(minutes) {
  const total = minutes.reduce((sum, one) => sum + one.in + one.out + one.none, 0);
  const away = minutes.filter(isMissing).length;
  const gaps = away ? `; ${away} of ${MINUTES} minutes were not measured, or not wholly` : "";
  return `Last hour: ${format.count(total)} counted${gaps}`;
}
