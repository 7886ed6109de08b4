// One cycle as a bar: each stage's green, its yellow, and its clearance, as long as they last.

import { h } from "../shell/dom.js";

/** `stages`: as `POST .../mode/preview` answers. */
export function planBar(stages) {
  const parts = stages.flatMap((one) => [
    part("green", one.green_s, one.stage, `${one.stage}: ${seconds(one.green_s)} green`),
    part("yellow", one.yellow_s, "", `${one.stage}: ${seconds(one.yellow_s)} yellow`),
    part("clear", one.red_clearance_s, "", `${one.stage}: ${seconds(one.red_clearance_s)} all red`),
  ]);
  const bar = h("div", { class: "plan-bar", "aria-hidden": "true" }, ...parts.filter(Boolean));
  const items = stages.map((one) =>
    h("li", {}, h("strong", {}, one.stage), ` ${seconds(one.green_s)} green`, h("span", { class: "quiet" }, after(one))),
  );
  return h("div", {}, bar, h("ul", { class: "plan-words" }, ...items));
}

function part(kind, lastsS, words, title) {
  if (!(lastsS > 0)) return null;
  const element = h("span", { class: `plan-part ${kind}`, title }, words);
  element.style.flexGrow = lastsS;
  return element;
}

function after({ yellow_s: yellowS, red_clearance_s: clearS, lanes }) {
  const cleared = [yellowS > 0 && `${seconds(yellowS)} yellow`, clearS > 0 && `${seconds(clearS)} red`].filter(Boolean);
  return `, then ${cleared.join(" and ")}${lanes.length ? `: ${lanes.join(", ")}` : ""}`;
}

export function seconds(value) {
  return `${Number(Number(value).toFixed(1))}\u202fs`;
}
