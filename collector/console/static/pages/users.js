// Users, and one of them; for admins.

import { h } from "../shell/dom.js";
import { UserList } from "../users/list.js";
import { UserPage } from "../users/user.js";

export function page(root, context) {
  if (!context.can("admin")) {
    context.title("Users");
    root.append(h("h1", {}, "Users"), h("p", { class: "quiet" }, "Only admins see who there is, and grant access."));
    return;
  }
  const shown = context.params.id ? new UserPage(root, context) : new UserList(root, context);
  shown.begin();
}
