// One user: role and sight, junctions, password, tokens, and what they did. For admins.

import { confirmed, formDialog } from "../shell/dialog.js";
import { h, say } from "../shell/dom.js";
import { Field, Form, select } from "../shell/form.js";
import * as format from "../shell/format.js";
import { AuditLog } from "./audit.js";
import { UserJunctions } from "./junctions.js";
import { Tokens, whose } from "./tokens.js";
import { ROLES, roleOf } from "./words.js";

export class UserPage {
  constructor(root, context) {
    this.context = context;
    this.id = context.params.id;
    this.path = `/api/users/${encodeURIComponent(this.id)}`;
    this.heading = h("h1", {}, "User");
    this.about = h("p", { class: "quiet" });
    this.open = h("p", { class: "quiet" });
    this.state = h("p", { class: "state" });
    this.rights = h("section", { class: "card" });
    this.junctions = new UserJunctions(context, this.id, () => this.audit.read());
    this.tokens = new Tokens(context, `${this.path}/tokens`);
    this.audit = new AuditLog(context, { user: this.id });
    this.actions = h("div", { class: "actions" });
    context.title("User");
    root.append(
      h("p", { class: "eyebrow" }, h("a", { href: "/users" }, "Users")),
      h("div", { class: "page-head" }, h("div", {}, this.heading, this.about, this.open), this.state),
      h("div", { class: "halves" }, this.rights, this.junctions.root),
      h("section", { class: "card" }, h("h2", {}, "API tokens"), this.tokens.root),
      this.audit.root,
      this.actions,
    );
  }

  async begin() {
    this.junctions.read();
    this.tokens.read();
    this.audit.read();
    try {
      const user = await this.context.ask(this.path);
      this.show(user);
      this.#showOpen(user);
    } catch (error) {
      this.context.fail(error);
    }
  }

  /** How much is open to them by now. */
  #showOpen({ n_sessions: sessions, n_api_tokens: tokens }) {
    const told = [format.plural(sessions, "session"), format.plural(tokens, "API token")].join(" and ");
    say(this.open, sessions + tokens === 0 ? "Nothing is open to them: no session, no API token." : `Open to them: ${told}.`);
  }

  show(user) {
    this.user = user;
    const name = user.display_name ?? user.name;
    this.context.title(name);
    say(this.heading, name);
    const seen = user.signed_in_at === null ? "never signed in" : `last signed in ${format.ago(Date.parse(user.signed_in_at), Date.now())}`;
    say(this.about, `${roleOf(user)}; signs in as ${user.name}; ${seen}`);
    this.state.dataset.state = user.status === "active" ? "good" : "never";
    say(this.state, user.status === "active" ? "may sign in" : "disabled");
    this.#showRights(user);
    const isActive = user.status === "active";
    this.actions.replaceChildren(
      h("button", { type: "button", onclick: () => this.#resetPassword() }, "Set a new password\u2026"),
      h("button", { type: "button", class: isActive ? "danger" : "", onclick: () => this.#setStatus(isActive ? "disabled" : "active") }, isActive ? "Disable\u2026" : "Let them sign in again"),
    );
  }

  #showRights(user) {
    const name = new Field("Shown as", { name: "display_name", value: user.display_name ?? "", maxlength: 100 }, { hint: "Left empty, it stays as it is." });
    const role = new Field("Role", { name: "role" }, { control: select(ROLES, user.role) });
    const sight = new Field("Sees", { name: "all_junctions" }, { control: select([["no", "junctions that were granted"], ["yes", "all junctions"]], user.all_junctions ? "yes" : "no") });
    const form = new Form({
      fields: [name, role, sight],
      submit: "Save",
      send: () => this.#patch({ role: role.value, all_junctions: sight.value === "yes", display_name: name.value || null }),
      renew: async () => {
        const now = (this.user = await this.context.ask(this.path));
        return { display_name: now.display_name ?? "", role: now.role, all_junctions: now.all_junctions ? "yes" : "no" };
      },
      done: (changed) => this.#changed(changed, "Saved."),
    });
    this.rights.replaceChildren(h("h2", {}, "Rights"), form.root);
  }

  #patch(body) {
    return this.context.ask(this.path, { method: "PATCH", body, version: this.user.version });
  }

  async #setStatus(status) {
    const body = [h("p", {}, "All their sessions and tokens end. What they did stays in the log.")];
    const name = this.user.display_name ?? this.user.name;
    if (status === "disabled" && !(await confirmed({ title: `Disable ${name}?`, body, yes: "Disable", danger: true }))) return;
    try {
      this.#changed(await this.#patch({ status }), status === "disabled" ? "Disabled." : "May sign in again.");
    } catch (error) {
      this.context.fail(error);
      if (error.code === "changed_meanwhile") this.begin();
    }
  }

  #resetPassword() {
    const password = new Field("New password", { name: "password", type: "password", autocomplete: "new-password", required: true }, { hint: "Tell it to them; they change it under Account." });
    const { form } = formDialog("Set a new password", {
      fields: [password],
      submit: "Set it",
      send: async () => {
        await this.context.ask(`${this.path}/password`, { body: { password: password.control.value } });
        return true;
      },
      done: () => {
        this.context.toast("The password is set; their sessions ended.");
        this.audit.read();
      },
    });
    form.root.prepend(whose(this.user.name));
  }

  #changed(user, words) {
    this.show(user);
    this.context.toast(words);
    this.begin();
  }
}
