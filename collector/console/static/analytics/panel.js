// One thing that the analytics tell: a sentence, a chart, and the same as a table and as a file.
//
// A panel is described by
//
//     id, title          `id` names the file
//     path               below `/api/analytics/junction/{id}/`
//     about              one sentence on what it means, always shown
//     summary(answer)    what it comes to, in words; null: nothing
//     columns            [{label, number, value(row), words(row)}]: `value` for the file (null stays empty), `words`
//                        for people; left out: the value
//     rows(answer)       of the table
//     figure(answer)     {data, layout}, for Plotly; null: nothing to draw
//     height(answer)     of the chart in px
//     asks               {name, label}: a day that may be given besides, such as that of a change
//     mostDays           how many days it can be asked for at once; left out: as many as the page
//     excuse(problem)    words where a problem is none; null: it is one

import { h, say } from "../shell/dom.js";
import { inWords, isAborted } from "../shell/fetching.js";
import { Table } from "../shell/table.js";
import { clear, draw } from "./plotly.js";

const HIGH_PX = 260;
const RETRY_MS = 1_000;
const DAY_MS = 86_400_000;

export class Panel {
  /** `answered(answer)` is called with each answer. */
  constructor(described, context, answered = () => {}) {
    this.described = described;
    this.answered = answered;
    this.context = context;
    this.answer = null;
    this.asked = null;
    this.summary = h("p", { class: "summary", role: "status" });
    this.chart = h("div", { class: "chart", role: "img", "aria-label": described.title });
    this.fault = h("p", { class: "fault", hidden: true });
    this.table = new Table({ caption: described.title, columns: tableColumns(described.columns), empty: "Nothing was told for these days." });
    this.file = h("button", { type: "button", class: "small", onclick: () => this.#save() }, "CSV");
    this.file.setAttribute("aria-label", `${described.title} as a CSV file`);
    this.day = described.asks && h("input", { type: "date", "aria-label": described.asks.label });
    this.day?.addEventListener("change", () => this.load(this.base, this.query));
    const details = h("details", {}, h("summary", {}, "As a table"), this.table.root);
    this.root = h(
      "section",
      { class: "card panel", id: `panel-${described.id}` },
      h("header", {}, h("h2", {}, described.title), this.file),
      h("p", { class: "quiet" }, described.about),
      this.summary,
      this.fault,
      this.day && h("label", { class: "asks" }, described.asks.label, this.day),
      this.chart,
      details,
    );
  }

  /** Ask and show; `base` is the path of the junction's analytics, `query` the days. */
  async load(base, query) {
    const mine = (this.asked = {});
    Object.assign(this, { base, query });
    if (daysOf(query) > (this.described.mostDays ?? Infinity)) {
      this.#empty(`It is told for at most ${this.described.mostDays} days at a time. Choose fewer.`);
      return;
    }
    this.root.classList.add("asking");
    try {
      const given = this.day ? { [this.described.asks.name]: this.day.value } : {};
      const answer = await this.#answer(mine, `${base}/${this.described.path}`, { query: { ...query, ...given } });
      if (this.asked !== mine) return;
      this.answered(answer);
      await this.show(answer);
    } catch (error) {
      if (this.asked === mine) this.#complain(error);
    } finally {
      if (this.asked === mine) this.root.classList.remove("asking");
    }
  }

  async show(answer) {
    this.answer = answer;
    this.#tell("");
    const summary = this.described.summary(answer);
    say(this.summary, summary ?? "");
    const rows = this.described.rows(answer);
    this.table.update(rows.map((row, index) => ({ ...row, id: index })));
    this.file.disabled = rows.length === 0;
    this.chart.setAttribute("aria-label", `${this.described.title}: ${summary ?? "chart"}. The table below tells the same.`);
    await this.redraw();
  }

  /** Draw what was answered anew, in the colours of now. */
  async redraw() {
    if (this.answer === null) return;
    const figure = this.described.figure(this.answer);
    this.chart.hidden = figure === null;
    if (figure === null) return;
    try {
      await draw(this.chart, figure, this.described.height?.(this.answer) ?? HIGH_PX);
    } catch (error) {
      this.chart.hidden = true;
      this.#tell(error.message);
    }
  }

  stop() {
    clear(this.chart);
  }

  /** Hours that nobody had asked for yet are made bit by bit, each time that they are asked for. */
  async #answer(mine, path, asked) {
    for (;;) {
      try {
        return await this.context.ask(path, asked);
      } catch (error) {
        if (error.code !== "hours_not_made" || this.asked !== mine) throw error;
        const { hours, hours_lacking: lacking, retry_after_s: waitS } = error.body;
        this.#empty(`Being added up for the first time: ${hours - lacking} of ${hours} hours are there.`);
        this.root.classList.add("asking");
        await new Promise((resolve) => setTimeout(resolve, waitS * 1000 || RETRY_MS));
        if (this.asked !== mine) return null;
      }
    }
  }

  #complain(error) {
    if (isAborted(error)) return;
    const excuse = this.described.excuse?.(error) ?? null;
    this.#empty(excuse ?? "");
    this.#tell(excuse === null ? inWords(error) : "");
  }

  #empty(words) {
    this.answer = null;
    say(this.summary, words);
    this.table.update([]);
    this.chart.hidden = true;
    this.file.disabled = true;
    this.#tell("");
    this.root.classList.remove("asking");
  }

  #tell(words) {
    say(this.fault, words);
    this.fault.hidden = !words;
  }

  #save() {
    const { columns, id, rows } = this.described;
    const lines = [columns.map(({ label }) => label), ...rows(this.answer).map((row) => columns.map(({ value }) => value(row)))];
    const text = lines.map((cells) => cells.map(csvCell).join(",")).join("\r\n");
    const url = URL.createObjectURL(new Blob([`\ufeff${text}\r\n`], { type: "text/csv" }));
    const name = `${this.answer.junction.name} ${id} ${this.query.from} ${this.query.to}.csv`.replaceAll(/[^\w.-]+/g, "-");
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}

function daysOf({ from, to }) {
  return (Date.parse(to) - Date.parse(from)) / DAY_MS + 1;
}

function tableColumns(columns) {
  return columns.map(({ label, number, value, words }, index) => ({
    name: String(index),
    label,
    number,
    cell: (row) => (words ? words(row) : value(row)) ?? null,
  }));
}

/** Spreadsheets take what begins with these for a formula. */
const FORMULA = /^[=+@\t\r-]/;

function csvCell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
