// Becoming a user, with the link of an invitation or, where that is allowed, without one.

import { h } from "../shell/dom.js";
import { Field, Form } from "../shell/form.js";

export function page(root, context) {
  context.title("Register");
  const invitation = decodeURIComponent(location.hash.slice(1));
  // It works once; nobody who looks over a shoulder or into the history shall have it.
  if (invitation) history.replaceState(null, "", "/register");
  const name = new Field("Name", { name: "name", autocomplete: "username", autocapitalize: "none", required: true, maxlength: 100 }, { hint: "With it you sign in." });
  const shown = new Field("Shown as", { name: "display_name", autocomplete: "name", maxlength: 100 }, { hint: "May be left empty." });
  const password = new Field("Password", { name: "password", type: "password", autocomplete: "new-password", required: true });
  const code = new Field("Invitation", { name: "invitation", autocomplete: "off", value: invitation });
  code.root.hidden = invitation !== "";
  const form = new Form({ fields: [name, shown, password, code], submit: "Register", send, done: () => location.assign("/") });
  root.append(h("section", { class: "card register" }, h("h1", {}, "Register"), h("p", { class: "quiet" }, invitation ? "You are invited." : "With the code of an invitation."), form.root));

  async function send() {
    const body = { name: name.value, password: password.control.value, display_name: shown.value || null, invitation: code.value || null };
    await context.ask("/api/users/register", { body });
    return context.ask("/api/users/login", { body: { name: name.value, password: password.control.value } });
  }
}
