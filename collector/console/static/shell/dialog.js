// Questions that have to be answered before anything else.

import { freshId, h } from "./dom.js";
import { Form } from "./form.js";

/**
 * A form over the page, as `Form` takes it: `formDialog("Name and place", {fields, submit: "Save", send, done})`. What
 * `send` answers is done with, unless it is null: then something is still to be mended, and the form stays.
 */
export function formDialog(title, { after = [], done, ...parts }) {
  const id = freshId("dialog");
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": id });
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = new Form({
    ...parts,
    after: [cancel, ...after],
    done: (answer) => {
      if (answer === null) return;
      dialog.close();
      done(answer);
    },
  });
  dialog.append(h("h2", { id }, title), form.root);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, form };
}

/**
 * Ask yes or no: `await confirmed({title, body: [elements], yes: "Revoke it", danger: true})`. Escape is no. Focus
 * goes back to where it was.
 */
export function confirmed({ title, body = [], yes = "Yes", no = "Cancel", danger = false }) {
  const id = freshId("dialog");
  const back = document.activeElement;
  const agree = h("button", { type: "submit", value: "yes", class: danger ? "primary danger" : "primary" }, yes);
  const refuse = h("button", { type: "submit", value: "no", formnovalidate: true, autofocus: true }, no);
  const form = h("form", { method: "dialog" }, h("h2", { id }, title), ...body, h("div", { class: "actions" }, agree, refuse));
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": id }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      back?.focus();
      resolve(dialog.returnValue === "yes");
    });
  });
}
