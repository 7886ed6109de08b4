// All users, who is invited, and who did what. For admins.

import { h } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { Pager, Table } from "../shell/table.js";
import { AuditLog } from "./audit.js";
import { invite } from "./invite.js";
import { roleOf, sightOf } from "./words.js";

const LIMIT = 50;
const TYPED_MS = 250;

export class UserList {
  constructor(root, context) {
    this.context = context;
    this.offset = 0;
    this.sort = "name";
    this.search = h("input", { type: "search", placeholder: "Part of a name", "aria-label": "Search" });
    const button = h("button", { type: "button", class: "primary", onclick: () => invite(context, () => this.readInvitations()) }, "Invite\u2026");
    this.table = new Table({ caption: "Users", stacks: true, columns: COLUMNS, sorted: (by) => this.#sortBy(by), empty: "Nobody fits." });
    this.pager = new Pager((offset) => this.#turn(offset));
    this.invitations = new Table({ caption: "Invitations", stacks: true, columns: this.#invitationColumns(), empty: "Nobody is invited at the moment." });
    this.audit = new AuditLog(context);
    context.title("Users");
    root.append(
      h("div", { class: "page-head" }, h("h1", {}, "Users"), button),
      h("div", { class: "tools" }, this.search),
      h("div", { class: "card rows" }, this.table.root, this.pager.root),
      h("section", { class: "card" }, h("h2", {}, "Open invitations"), this.invitations.root),
      this.audit.root,
    );
  }

  begin() {
    let typed = null;
    this.context.on(this.search, "input", () => {
      clearTimeout(typed);
      typed = setTimeout(() => this.#turn(0), TYPED_MS);
    });
    this.table.sortedBy(this.sort);
    this.read();
    this.readInvitations();
    this.audit.read();
  }

  async read() {
    const mine = (this.asked = {});
    try {
      const query = { q: this.search.value.trim(), sort: this.sort, limit: LIMIT, offset: this.offset };
      const { users, next_offset: next } = await this.context.ask("/api/users", { query });
      if (this.asked !== mine) return;
      this.table.update(users);
      this.pager.update({ offset: this.offset, limit: LIMIT, next, n: users.length });
    } catch (error) {
      this.context.fail(error);
    }
  }

  async readInvitations() {
    try {
      this.invitations.update((await this.context.ask("/api/users/invitations")).invitations);
    } catch (error) {
      this.context.fail(error);
    }
  }

  #invitationColumns() {
    return [
      { name: "role", label: "As", cell: (each) => roleOf(each) },
      { name: "sees", label: "Sees", cell: (each) => (each.all_junctions ? "all junctions" : junctionsInWords(each.n_junctions)) },
      { name: "by", label: "Invited by", cell: (each) => each.invited_by },
      { name: "until", label: "Holds until", cell: (each) => format.date(Date.parse(each.expires_at)) },
      { name: "back", label: "", cell: (each) => h("button", { type: "button", class: "small", onclick: () => this.#takeBack(each) }, "Take back") },
    ];
  }

  async #takeBack(invitation) {
    try {
      await this.context.ask(`/api/users/invitations/${invitation.id}`, { method: "DELETE" });
      this.context.toast("The invitation was taken back.");
      await this.readInvitations();
    } catch (error) {
      this.context.fail(error);
    }
  }

  #sortBy(by) {
    this.sort = by;
    this.table.sortedBy(by);
    this.#turn(0);
  }

  #turn(offset) {
    this.offset = offset;
    this.read();
  }
}

const COLUMNS = [
  { name: "name", label: "User", sort: "name", cell: (user) => nameOf(user) },
  { name: "role", label: "Role", cell: (user) => roleOf(user) },
  { name: "sees", label: "Sees", cell: (user) => sightOf(user) },
  { name: "status", label: "May sign in", cell: (user) => h("span", { class: "state", "data-state": user.status === "active" ? "good" : "never" }, user.status === "active" ? "yes" : "disabled") },
  { name: "signed_in", label: "Last signed in", sort: "signed_in_at", cell: (user) => format.ago(format.ms(user.signed_in_at), Date.now()) },
];

function nameOf(user) {
  const link = h("a", { href: `/users/${user.id}` }, user.display_name ?? user.name);
  return user.display_name ? h("span", { class: "pair" }, link, h("span", { class: "quiet" }, user.name)) : link;
}

function junctionsInWords(n) {
  if (n === 0) return "none yet";
  return n === 1 ? "1 junction" : `${n} junctions`;
}
