// Inviting somebody: what they may, and the link by which they register.

import { h } from "../shell/dom.js";
import { Field, Form, select } from "../shell/form.js";
import { JunctionField } from "../shell/junction_field.js";
import { secret } from "./tokens.js";
import { LEVELS, ROLES } from "./words.js";

/** Shows the dialog; `done()` is called when there is a new invitation. */
export function invite(context, done) {
  const role = new Field("Role", { name: "role" }, { control: select(ROLES, "viewer") });
  const sight = new Field("Sees", { name: "all_junctions" }, { control: select([["", "one junction, or none for now"], ["all", "all junctions"]]) });
  const junction = new JunctionField(context, { label: "Junction (may be left empty)" });
  const level = new Field("Access", { name: "level" }, { control: select(LEVELS, "read") });
  const days = new Field("Holds for", { name: "days", type: "number", value: "7", min: "1", max: "365", required: true }, { unit: "days" });
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "invite-heading" });
  const heading = h("h2", { id: "invite-heading" }, "Invite somebody");
  sight.control.addEventListener("change", () => {
    junction.root.hidden = level.root.hidden = sight.value === "all";
  });

  const send = async () => {
    const id = sight.value === "all" ? null : await junction.id();
    if (sight.value !== "all" && junction.value && id === null) {
      junction.complain("There is no junction of that name.");
      return null;
    }
    const junctions = id === null ? [] : [{ junction: id, level: level.value }];
    return context.ask("/api/users/invitations", { body: { role: role.value, days: days.number, all_junctions: sight.value === "all", junctions } });
  };
  const show = (invitation) => {
    if (invitation === null) return;
    // Behind `#` it is not sent to the collector, nor written into anybody's log.
    const link = `${location.origin}/register#${invitation.invitation}`;
    const close = h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Done");
    dialog.replaceChildren(heading, secret("Link", link, "Send them this link. It is shown this once, and works once."), h("div", { class: "actions" }, close));
    done();
  };
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = new Form({ fields: [role, sight, junction, level, days], submit: "Make a link", after: [cancel], send, done: show });
  dialog.append(heading, form.root);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
