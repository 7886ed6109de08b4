// From which day to which, by the calendar of the junction.

import { h } from "../shell/dom.js";

const DAY_MS = 86_400_000;
const MOST_DAYS = 400;
const PRESETS = [
  ["7", "7 days"],
  ["28", "4 weeks"],
  ["91", "3 months"],
  ["", "Other"],
];

/** `new Range({timezone, query}, changed)`: `changed({from, to})` with dates such as 2026-05-04, both included. */
export class Range {
  constructor({ timezone, query }, changed) {
    this.changed = changed;
    this.today = dateIn(timezone, Date.now());
    const given = [query.get("from"), query.get("to")].every(isDate);
    this.days = given ? "" : (query.get("days") ?? "7");
    this.from = h("input", { type: "date", "aria-label": "From", max: this.today });
    this.to = h("input", { type: "date", "aria-label": "To", max: this.today });
    this.fault = h("p", { class: "fault", role: "alert", hidden: true });
    this.#set(given ? query.get("from") : before(this.today, Number(this.days) - 1), given ? query.get("to") : this.today);
    this.choices = PRESETS.map((preset) => this.#choice(preset));
    for (const input of [this.from, this.to]) input.addEventListener("change", () => this.#typed());
    const dates = h("span", { class: "dates" }, this.from, h("span", { class: "quiet" }, "to"), this.to);
    this.root = h(
      "div",
      { class: "range" },
      h("fieldset", { class: "choices" }, h("legend", { class: "aside" }, "Which days"), ...this.choices),
      dates,
      h("span", { class: "quiet" }, timezone),
      this.fault,
    );
  }

  get value() {
    return { from: this.from.value, to: this.to.value };
  }

  /** For the address: a number of days moves on with time, dates stay. */
  get remembered() {
    return this.days ? { days: this.days === "7" ? null : this.days, from: null, to: null } : { days: null, ...this.value };
  }

  #choice([days, words]) {
    const input = h("input", { type: "radio", name: "days", value: days, checked: days === this.days });
    input.addEventListener("change", () => {
      this.days = days;
      if (days) this.#set(before(this.today, Number(days) - 1), this.today);
      else this.from.focus();
      if (days) this.#tell();
    });
    return h("label", {}, input, h("span", {}, words));
  }

  #set(from, to) {
    this.from.value = from;
    this.to.value = to;
  }

  #typed() {
    this.days = "";
    this.choices.at(-1).querySelector("input").checked = true;
    this.#tell();
  }

  #tell() {
    const { from, to } = this.value;
    let wrong = "";
    if (!isDate(from) || !isDate(to)) wrong = "Two dates are needed.";
    else if (from > to) wrong = "The first day lies after the last.";
    else if (Date.parse(to) - Date.parse(from) >= MOST_DAYS * DAY_MS) wrong = `At most ${MOST_DAYS} days are told at once.`;
    this.fault.textContent = wrong;
    this.fault.hidden = !wrong;
    if (!wrong) this.changed(this.value);
  }
}

/** The date at an instant in a time zone. */
export function dateIn(timezone, ms) {
  return new Intl.DateTimeFormat("sv-SE", { timeZone: timezone, dateStyle: "short" }).format(ms);
}

/** An instant as its junction's clocks show it, for axes: 2026-05-04 07:00. */
export function clockIn(timezone, iso) {
  return new Intl.DateTimeFormat("sv-SE", { timeZone: timezone, dateStyle: "short", timeStyle: "short" }).format(Date.parse(iso));
}

function before(date, days) {
  return new Date(Date.parse(date) - days * DAY_MS).toISOString().slice(0, 10);
}

function isDate(text) {
  return /^\d{4}-\d\d-\d\d$/.test(text ?? "");
}
