// Who did what: the latest first, more on demand.

import { h } from "../shell/dom.js";
import { select } from "../shell/form.js";
import * as format from "../shell/format.js";
import { ACTIONS, changeInWords } from "./words.js";

const LIMIT = 30;

/** `new AuditLog(context, {user})`; without a user, of all. */
export class AuditLog {
  constructor(context, query = {}) {
    this.context = context;
    this.query = query;
    this.next = null;
    const options = [["", "All deeds"], ...Object.keys(ACTIONS).map((action) => [action, action.replaceAll("_", " ")])];
    this.action = select(options);
    this.action.setAttribute("aria-label", "Which deeds");
    this.action.addEventListener("change", () => this.read());
    this.list = h("ol", { class: "deeds" });
    this.more = h("button", { type: "button", onclick: () => this.#add() }, "Earlier");
    this.root = h(
      "section",
      { class: "card" },
      h("header", { class: "section-head" }, h("h2", {}, "Who did what"), this.action),
      h("p", { class: "quiet" }, `Times as in ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`),
      this.list,
      h("div", { class: "actions" }, this.more),
    );
  }

  async read() {
    this.next = null;
    await this.#add(true);
  }

  async #add(anew = false) {
    const mine = (this.asked = {});
    try {
      const query = { ...this.query, action: this.action.value, cursor: this.next, limit: LIMIT };
      const { entries, next } = await this.context.ask("/api/audit", { query });
      if (this.asked !== mine) return;
      if (anew) this.list.replaceChildren();
      this.list.append(...entries.map(deed));
      if (!this.list.firstChild) this.list.append(h("li", { class: "quiet" }, "Nothing yet."));
      this.next = next;
      this.more.hidden = next === null;
    } catch (error) {
      this.context.fail(error);
    }
  }
}

function deed(entry) {
  const { subject } = entry;
  const isSelf = subject.kind === "user" && subject.id === entry.user_id;
  const words = isSelf && entry.action === "user_created" ? "registered" : (ACTIONS[entry.action] ?? entry.action.replaceAll("_", " "));
  const change = changeInWords(entry);
  return h(
    "li",
    {},
    h("time", { datetime: entry.at, title: entry.at }, format.moment(Date.parse(entry.at), Date.now())),
    h(
      "span",
      {},
      h("strong", {}, entry.user_name || "somebody"),
      ` ${words} `,
      !isSelf && subject.name && h("strong", {}, subject.name),
      change && h("span", { class: "quiet" }, ` ${change}`),
    ),
    h("span", { class: "quiet where" }, entry.address),
  );
}
