// Which junctions a user was granted, and how far that goes.

import { h } from "../shell/dom.js";
import { Field, Form, select } from "../shell/form.js";
import * as format from "../shell/format.js";
import { JunctionField } from "../shell/junction_field.js";
import { Table } from "../shell/table.js";
import { LEVELS } from "./words.js";

const LIMIT = 1000;

export class UserJunctions {
  /** `changed()` is called when access was granted or withdrawn. */
  constructor(context, userId, changed) {
    this.context = context;
    this.changed = changed;
    this.path = `/api/users/${encodeURIComponent(userId)}/junctions`;
    this.granted = [];
    this.words = h("p", { class: "quiet" });
    this.table = new Table({ caption: "Junctions", stacks: true, columns: this.#columns(), empty: "None was granted." });
    this.field = new JunctionField(context);
    this.level = new Field("Access", { name: "level" }, { control: select(LEVELS, "read") });
    const form = new Form({ fields: [this.field, this.level], submit: "Grant", send: () => this.#grant(), done: (answer) => this.#granted(answer) });
    form.root.classList.add("in-line");
    this.root = h("section", { class: "card" }, h("h2", {}, "Junctions"), this.words, this.table.root, form.root);
  }

  async read() {
    try {
      const answer = await this.context.ask(this.path, { query: { limit: LIMIT } });
      this.words.textContent = answer.all_junctions ? "Sees all junctions, whatever is granted here." : "Sees these junctions, and no other.";
      this.granted = answer.junctions;
      this.table.update(this.granted);
    } catch (error) {
      this.context.fail(error);
    }
  }

  #columns() {
    return [
      { name: "name", label: "Junction", cell: (grant) => h("a", { href: `/junctions/${grant.id}` }, grant.name) },
      { name: "level", label: "Access", cell: (grant) => LEVELS.find(([level]) => level === grant.level)?.[1] ?? grant.level },
      { name: "since", label: "Granted", cell: (grant) => `${format.date(Date.parse(grant.granted_at))}${grant.granted_by ? ` by ${grant.granted_by}` : ""}` },
      { name: "withdraw", label: "", cell: (grant) => h("button", { type: "button", class: "small", onclick: () => this.#withdraw(grant), "aria-label": `Withdraw ${grant.name}` }, "Withdraw") },
    ];
  }

  async #grant() {
    const id = await this.field.id();
    if (id === null) {
      this.field.complain("There is no junction of that name.");
      this.field.control.focus();
      return null;
    }
    const known = this.granted.find((grant) => grant.id === id);
    try {
      return await this.context.ask(`${this.path}/${id}`, { method: "PUT", body: { level: this.level.value }, version: known?.version });
    } catch (error) {
      if (error.code !== "changed_meanwhile") throw error;
      await this.read();
      this.level.complain("Somebody else has changed this access meanwhile: see the list, and grant it again.");
      return null;
    }
  }

  #granted(answer) {
    if (answer === null) return;
    this.field.control.value = "";
    this.context.toast("Granted.");
    this.changed();
    this.read();
  }

  async #withdraw(grant) {
    try {
      await this.context.ask(`${this.path}/${grant.id}`, { method: "DELETE", version: grant.version });
      this.context.toast(`${grant.name} was withdrawn.`);
      this.changed();
    } catch (error) {
      if (error.code === "changed_meanwhile") this.context.toast(`Somebody else has changed what they may at ${grant.name}: see the list. Nothing was withdrawn.`, "bad");
      else this.context.fail(error);
    }
    await this.read();
  }
}
