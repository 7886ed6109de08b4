// How much of each day a device ran: down is told apart from what is not known yet.

import { h } from "../shell/dom.js";
import { svg } from "../shell/svg.js";

const [WIDE, HIGH, BAR] = [40, 60, 34];

/** `device` as `/api/analytics/devices` tells it. */
export function upChart(device) {
  const known = device.up_share === null ? "It has told nothing yet." : `It ran for ${percent(device.up_share)} of the time that is known.`;
  return h("div", { class: "up" }, h("p", { class: "quiet" }, known), h("ol", { class: "up-days" }, ...device.days.map(dayItem)));
}

function dayItem(day) {
  const words = [
    `${percent(day.up_share)} up`,
    day.down_share > 0 && `${percent(day.down_share)} down`,
    day.unknown_share > 0 && `${percent(day.unknown_share)} not known`,
  ];
  const told = `${dateOf(day.date)}: ${words.filter(Boolean).join(", ")}`;
  const image = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": told });
  let top = HIGH;
  for (const [name, share] of [["up", day.up_share], ["down", day.down_share], ["unmeasured", day.unknown_share]]) {
    const high = share * HIGH;
    top -= high;
    image.append(svg("rect", { class: name, x: (WIDE - BAR) / 2, y: top, width: BAR, height: high }));
  }
  return h("li", { title: told }, image, h("span", { class: "quiet", "aria-hidden": "true" }, String(Number(day.date.slice(8)))));
}

function percent(share) {
  const digits = share > 0.99 && share < 1 ? 1 : 0;
  return `${(100 * share).toFixed(digits)}\u202f%`;
}

function dateOf(date) {
  return new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" }).format(Date.parse(date));
}
