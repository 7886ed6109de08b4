// API tokens, somebody's own or those of a user that an admin looks at.

import { confirmed } from "../shell/dialog.js";
import { h } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { Table } from "../shell/table.js";
import { roleOf } from "./words.js";

export class Tokens {
  /** `path`: `/api/users/me/tokens`, or a user's. */
  constructor(context, path) {
    this.context = context;
    this.path = path;
    this.table = new Table({ caption: "API tokens", stacks: true, columns: this.#columns(), empty: "There is none." });
    this.root = this.table.root;
  }

  async read() {
    try {
      this.table.update(await this.context.ask(this.path));
    } catch (error) {
      this.context.fail(error);
    }
  }

  #columns() {
    return [
      { name: "name", label: "Token", cell: (token) => token.name },
      { name: "role", label: "Role", cell: (token) => roleOf(token) },
      { name: "expires", label: "Holds until", cell: (token) => (token.expires_at === null ? "it is revoked" : format.date(Date.parse(token.expires_at))) },
      { name: "used", label: "Last used", cell: (token) => format.ago(format.ms(token.used_at), Date.now()) },
      { name: "revoke", label: "", cell: (token) => h("button", { type: "button", class: "small", onclick: () => this.#revoke(token), "aria-label": `Revoke ${token.name}` }, "Revoke\u2026") },
    ];
  }

  async #revoke(token) {
    const body = [h("p", {}, "Whoever uses it is refused from now on.")];
    if (!(await confirmed({ title: `Revoke ${token.name}?`, body, yes: "Revoke it", danger: true }))) return;
    try {
      await this.context.ask(`${this.path}/${token.id}`, { method: "DELETE" });
      this.context.toast(`${token.name} was revoked.`);
      await this.read();
    } catch (error) {
      this.context.fail(error);
    }
  }
}

/** For what keeps passwords: whose the one in this form is. */
export function whose(name) {
  return h("input", { type: "text", name: "username", autocomplete: "username", value: name, hidden: true, readonly: true });
}

/** What is shown this once: a secret with a button that copies it. */
export function secret(label, text, hint) {
  const input = h("input", { readonly: true, value: text, "aria-label": label, class: "secret" });
  input.addEventListener("focus", () => input.select());
  const copy = h("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    input.focus();
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Press Ctrl+C"; // A page without TLS has no clipboard.
    }
  });
  return h("div", { class: "once" }, h("p", {}, hint), h("div", { class: "with-unit" }, input, copy));
}
