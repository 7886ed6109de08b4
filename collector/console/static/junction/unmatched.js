// Lanes that are counted at what is not there, and lines that no lane is counted at, with what to do about it.

import { arrange, h, say } from "../shell/dom.js";

const DETECTORS = { stop_line: "counts at", approach: "looks for its queue at", advance: "looks for arrivals at" };
const MEND = "rename it in the junction\u2019s description";

export class Unmatched {
  constructor() {
    this.rows = new Map();
    this.list = h("ul");
    this.root = h("section", { class: "notice", "aria-label": "Lines and lanes" }, h("h2", {}, "Lines and lanes do not go together"), this.list);
    this.root.hidden = true;
  }

  /** `unmatched` as the junction tells it. */
  update(unmatched) {
    // What takes the place of another is told there.
    const told = new Set(unmatched.flatMap(({ sensor, instead }) => instead.map((name) => `${sensor}/${name}`)));
    const shown = unmatched.filter(({ why, sensor, source }) => why !== "unused" || !told.has(`${sensor}/${source}`));
    arrange(this.list, shown.map((one, index) => this.#row(index, inWords(one))));
    this.root.hidden = shown.length === 0;
  }

  #row(index, words) {
    if (!this.rows.has(index)) this.rows.set(index, h("li"));
    const row = this.rows.get(index);
    say(row, words);
    return row;
  }
}

function inWords({ why, lane, detector, sensor, source, instead }) {
  const place = `${sensor}/${source}`;
  if (why === "unused") return `No lane is counted at ${place}.`;
  const missing = why === "gone" ? `which ${sensor} does not have any more` : "of which no device here has told";
  const others = instead.join(", ");
  const mend = others ? `${sensor} has ${others}: ${MEND}` : "draw it there, or change the junction\u2019s description";
  return `Lane ${lane} ${DETECTORS[detector]} ${place}, ${missing}; ${mend}.`;
}
