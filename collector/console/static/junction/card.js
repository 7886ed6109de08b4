// One line, zone or reader: today's counts, the truth beside them where it is known, the last hour.

import { arrange, h, say } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { Hour } from "./hour.js";
import { tellsClasses } from "./model.js";

const NAMES = { in: "In", out: "Out", none: "Passed" };
const SILENT_MS = 90_000;
const FRESH_MS = 1300;

export class Card {
  constructor() {
    this.name = h("h3");
    this.where = h("p", { class: "quiet" });
    this.silent = h("p", { class: "silent" });
    this.figures = h("dl", { class: "figures" });
    this.byDirection = new Map();
    this.classes = new Classes();
    this.hour = new Hour();
    this.peak = h("span");
    const scale = h("p", { class: "scale" }, h("span", {}, "60 min ago"), this.peak, h("span", {}, "now"));
    this.root = h(
      "article",
      { class: "card line" },
      h("header", {}, this.name, this.where),
      this.silent,
      this.figures,
      this.classes.root,
      h("div", { class: "hour" }, this.hour.svg, scale),
    );
  }

  update(model, { source, truth }, junction, nowMs) {
    say(this.name, source.name);
    say(this.where, `${source.sensor} \u00b7 ${source.deviceName}`);
    this.#silence(source, nowMs, junction.timezone);
    const counted = model.totals(source);
    const known = truth ? model.totals(truth) : null;
    const directions = source.kind === "line" ? ["in", "out"] : ["none"];
    arrange(this.figures, directions.map((direction) => this.#figure(direction, counted, known)));
    this.classes.update(directions, counted, known);
    const { peak, gaps } = this.hour.update(model.lastHour(source, nowMs), junction.timezone);
    say(this.peak, gaps ? "hatched: not measured" : `full height: ${format.count(peak)} a minute`);
  }

  #silence({ heardAt }, nowMs, timezone) {
    const silent = heardAt !== null && nowMs - heardAt > SILENT_MS;
    this.silent.hidden = !silent;
    say(this.silent, silent ? `The device is silent since ${format.moment(heardAt, nowMs, timezone)}` : "");
  }

  #figure(direction, counted, known) {
    if (!this.byDirection.has(direction)) this.byDirection.set(direction, new Figure(direction));
    const figure = this.byDirection.get(direction);
    const n = counted.measured ? (counted.total.get(direction) ?? 0) : null;
    figure.update(n, known ? (known.total.get(direction) ?? 0) : null);
    return figure.root;
  }
}

class Figure {
  constructor(direction) {
    this.total = h("dd", { class: "total" });
    this.against = h("dd", { class: "against" });
    this.truth = h("span");
    this.difference = h("span", { title: "Counted minus true. Who is on the line just now makes one or two." });
    const swatch = h("span", { class: `swatch ${direction}`, "aria-hidden": "true" });
    this.root = h("div", { class: "figure" }, h("dt", {}, swatch, NAMES[direction]), this.total, this.against);
  }

  /** `n` null: nothing was measured today. */
  update(n, truth) {
    const before = this.total.textContent;
    this.total.title = n === null ? "Nothing was measured since midnight there" : "";
    if (say(this.total, n === null ? "\u2013" : format.count(n)) && before !== "") this.#flash();
    if (truth === null || n === null) {
      arrange(this.against, []);
      return;
    }
    arrange(this.against, [this.truth, this.difference]);
    say(this.truth, `truth ${format.count(truth)}`);
    say(this.difference, format.signed(n - truth));
    this.difference.className = `difference ${verdict(n, truth)}`;
  }

  #flash() {
    this.total.classList.add("fresh");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.total.classList.remove("fresh"), FRESH_MS);
  }
}

/** Good: within one vehicle or 2 %; fair: within two or 5 %. */
function verdict(n, truth) {
  const off = Math.abs(n - truth);
  if (off <= Math.max(1, truth * 0.02)) return "good";
  return off <= Math.max(2, truth * 0.05) ? "fair" : "bad";
}

class Classes {
  constructor() {
    this.head = h("tr");
    this.body = h("tbody");
    this.rows = new Map();
    const caption = h("caption", {}, "Today by class");
    this.root = h("div", { class: "classes" }, h("table", {}, caption, h("thead", {}, this.head), this.body));
  }

  update(directions, counted, known) {
    this.#header(["Class", ...directions.map((direction) => (known ? `${NAMES[direction]} / truth` : NAMES[direction]))]);
    const told = tellsClasses(counted.classes);
    const isTold = (cls) => told || !known || cls !== "object"; // Else it would only repeat the figures above.
    const sum = (of, cls) => [...(of?.classes.get(cls)?.values() ?? [])].reduce((a, b) => a + b, 0);
    const names = [...new Set([...counted.classes.keys(), ...(known?.classes.keys() ?? [])])].filter(isTold);
    names.sort((a, b) => sum(known ?? counted, b) - sum(known ?? counted, a) || a.localeCompare(b));
    arrange(this.body, names.map((cls) => this.#row(cls, directions, counted, known, told)));
  }

  #header(words) {
    if (this.words === words.join()) return;
    this.words = words.join();
    this.head.replaceChildren(...words.map((word, i) => h("th", { scope: "col", class: i ? "number" : "" }, word)));
  }

  #row(cls, directions, counted, known, told) {
    if (!this.rows.has(cls)) this.rows.set(cls, makeRow(directions.length));
    const row = this.rows.get(cls);
    say(row.name, cls === "object" ? "class not told" : cls);
    directions.forEach((direction, index) => {
      const n = counted.classes.get(cls)?.get(direction) ?? 0;
      const truth = known?.classes.get(cls)?.get(direction) ?? 0;
      // A model that tells no classes says nothing about how many of them are cars.
      say(row.counted[index], told || cls === "object" ? format.count(n) : "\u2013");
      say(row.truth[index], known ? ` / ${format.count(truth)}` : "");
    });
    return row.root;
  }
}

function makeRow(width) {
  const name = h("th", { scope: "row" });
  const counted = Array.from({ length: width }, () => h("span"));
  const truth = Array.from({ length: width }, () => h("span", { class: "of" }));
  const cells = counted.map((span, index) => h("td", {}, span, truth[index]));
  return { root: h("tr", {}, name, ...cells), name, counted, truth };
}
