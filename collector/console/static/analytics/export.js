// What is stored of these days, as files of any size.

import { h } from "../shell/dom.js";

const FILES = [
  ["Counts by hour", { what: "rollups", step: "1h" }],
  ["Each crossing", { what: "counts" }],
  ["Cycles", { what: "cycles" }],
  ["Lanes in cycles", { what: "lanes" }],
  ["The lights' log", { what: "events" }],
];
const FORMS = [
  ["csv", "CSV"],
  ["parquet", "Parquet"],
];

export class ExportCard {
  /** `base`: the path of the junction's analytics. */
  constructor(context, base) {
    this.context = context;
    this.base = base;
    this.list = h("dl", { class: "files" });
    this.root = h(
      "section",
      { class: "card wide", hidden: true },
      h("h2", {}, "What is stored"),
      h("p", { class: "quiet" }, "Times are UTC, with the junction's own in a column beside. What was not measured is empty."),
      this.list,
    );
  }

  /** `from`, `to`: instants, as the answers tell them. */
  update({ from, to }) {
    this.root.hidden = false;
    const items = FILES.map(([words, query]) => {
      const links = FORMS.map(([format, name]) => this.#link(words, name, { ...query, format, from, to }));
      return h("div", {}, h("dt", {}, words), h("dd", {}, ...links));
    });
    this.list.replaceChildren(...items);
  }

  #link(words, name, query) {
    const href = `${this.base}/export?${new URLSearchParams(query)}`;
    const link = h("a", { href, download: "", "aria-label": `${words} as ${name}` }, name);
    link.addEventListener("click", (event) => this.#fetch(event, href));
    return link;
  }

  /** The browser loads the file by itself and cannot renew a session; something small is asked first, which does. */
  async #fetch(event, href) {
    event.preventDefault();
    try {
      await this.context.ask("/api/junctions", { query: { limit: 1 } });
      h("a", { href, download: "" }).click();
    } catch (error) {
      this.context.fail(error);
    }
  }
}
