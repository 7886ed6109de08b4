// What somebody does for themself: password and API tokens, and what they may.

import { h } from "../shell/dom.js";
import { Field, Form, select } from "../shell/form.js";
import { secret, Tokens, whose } from "../users/tokens.js";
import { ROLES, roleOf } from "../users/words.js";

const RANKS = ["viewer", "operator", "admin"];

export function page(root, context) {
  context.title("Account");
  const { user } = context;
  if (user === null) {
    root.append(h("h1", {}, "Account"), h("p", { class: "quiet" }, "Nobody is signed in."));
    return;
  }
  root.append(
    h("div", { class: "page-head" }, h("div", {}, h("h1", {}, user.display_name ?? user.name), h("p", { class: "quiet" }, `${roleOf(user)}; signs in as ${user.name}`))),
    h("div", { class: "halves" }, sight(user), password(context, user)),
    tokens(context, user),
    h("div", { class: "actions phone-only" }, h("button", { type: "button", onclick: () => document.getElementById("sign-out").click() }, "Sign out")),
  );
}

function sight(user) {
  const granted = user.junctions ?? [];
  const card = h("section", { class: "card" }, h("h2", {}, "What I see"));
  if (user.role === "admin" || user.all_junctions) card.append(h("p", {}, "All junctions."));
  else if (granted.length === 0) card.append(h("p", {}, "No junction yet. An admin can grant some."));
  const items = granted.map((each) =>
    h("li", {}, h("a", { href: `/junctions/${each.id}` }, each.name), h("span", { class: "quiet" }, each.level === "operate" && user.role !== "viewer" ? " may operate" : " may see")),
  );
  if (items.length) card.append(h("ul", { class: "plain" }, ...items));
  return card;
}

function password(context, user) {
  const old = new Field("Present password", { name: "old_password", type: "password", autocomplete: "current-password", required: true });
  const fresh = new Field("New password", { name: "new_password", type: "password", autocomplete: "new-password", required: true }, { hint: "A few words that belong together only for you are better than one with digits." });
  const form = new Form({
    fields: [old, fresh],
    submit: "Change it",
    send: () => context.ask("/api/users/me/password", { body: { old_password: old.control.value, new_password: fresh.control.value } }),
    done: () => {
      form.root.reset();
      context.toast("The password is changed. Everywhere else you have to sign in anew.");
    },
  });
  form.root.prepend(whose(user.name));
  return h("section", { class: "card" }, h("h2", {}, "Password"), form.root);
}

function tokens(context, user) {
  const list = new Tokens(context, "/api/users/me/tokens");
  const name = new Field("For what", { name: "name", required: true, maxlength: 100, placeholder: "nightly export" });
  const roles = ROLES.filter(([role]) => RANKS.indexOf(role) <= RANKS.indexOf(user.role));
  const role = new Field("Role", { name: "role" }, { control: select(roles, "viewer") });
  const days = new Field("Holds for", { name: "days", type: "number", min: "1", max: "3650", value: "365" }, { unit: "days" });
  const once = h("div", {});
  const form = new Form({
    fields: [name, role, days],
    submit: "Make a token",
    send: () => context.ask("/api/users/me/tokens", { body: { name: name.value, role: role.value, days: days.number } }),
    done: ({ token }) => {
      once.replaceChildren(secret("Token", token, "It is shown this once. Programs send it as Authorization: Bearer."));
      name.control.value = "";
      list.read();
    },
  });
  form.root.classList.add("in-line");
  list.read();
  const about = h("p", { class: "quiet" }, "For programs: with my rights or fewer, for my junctions.");
  return h("section", { class: "card" }, h("h2", {}, "API tokens"), about, list.root, form.root, once);
}
