// Forms whose mistakes stand at the fields that they are about, in the collector's words.

import { freshId, h, say } from "./dom.js";
import { Problem, inWords, isAborted } from "./fetching.js";

/**
 * A labelled field: `new Field("Cycle", {name: "cycle_s", type: "number", min: 20}, {hint: "seconds"})`.
 *
 * `control`: another element than an input, such as a select. What is wrong is told by `complain(words)`.
 */
export class Field {
  constructor(label, attributes, { hint = "", control = null, unit = "" } = {}) {
    const id = freshId("field");
    this.name = attributes.name;
    this.control = control ?? h("input", attributes);
    this.control.id = id;
    this.control.name = attributes.name;
    this.hint = h("span", { id: `${id}-hint`, class: "hint", hidden: !hint }, hint);
    this.fault = h("span", { id: `${id}-fault`, class: "fault", hidden: true });
    this.control.setAttribute("aria-describedby", `${id}-hint ${id}-fault`);
    const inner = unit ? h("span", { class: "with-unit" }, this.control, h("span", { class: "unit" }, unit)) : this.control;
    this.root = h("div", { class: "field" }, h("label", { for: id }, label), inner, this.hint, this.fault);
  }

  get value() {
    return this.control.value.trim();
  }

  /** A number, or null where nothing is written. */
  get number() {
    return this.value === "" ? null : Number(this.value);
  }

  /** Something that should be known, and is no fault of what is in it. */
  tell(words) {
    say(this.fault, words ?? "");
    this.fault.hidden = !words;
    this.fault.classList.add("told");
  }

  complain(words) {
    this.tell(words);
    this.fault.classList.remove("told");
    if (words) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }
}

/** A select's options: [[value, words], ...]. */
export function select(options, chosen = "") {
  const items = options.map(([value, words]) => h("option", { value, selected: value === chosen }, words));
  return h("select", {}, ...items);
}

/**
 * A form: `new Form({fields, submit: "Save", send: () => ask(...), done: (answer) => ...})`.
 *
 * While it is sent its button waits. A problem about fields is told at them, and the first gets the focus; any other
 * stands above the button.
 *
 * `renew`: reads anew what is edited, where somebody else has changed it, and answers the fields' values by name. What
 * was typed stays, and what they changed is told; sent again, it is put over theirs.
 */
export class Form {
  constructor({ fields, submit, send, done, renew = null, before = [], after = [] }) {
    this.fields = fields;
    this.send = send;
    this.done = done;
    this.renew = renew;
    this.shown = new Map(fields.map((field) => [field.name, field.control.value]));
    this.button = h("button", { type: "submit", class: "primary" }, submit);
    this.fault = h("p", { class: "fault", role: "alert", hidden: true });
    const actions = h("div", { class: "actions" }, this.button, ...after);
    this.root = h("form", { class: "form", novalidate: true }, ...fields.map((field) => field.root), ...before, this.fault, actions);
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    // What is being mended is no longer complained about.
    this.root.addEventListener("input", ({ target }) => this.fields.find((field) => field.control === target)?.complain(null));
  }

  async submit() {
    this.complain(null);
    if (!this.#filled()) return;
    const { activeElement } = document;
    this.button.disabled = true;
    try {
      this.done(await this.send());
    } catch (error) {
      if (error.code === "changed_meanwhile" && this.renew) await this.#bring();
      else if (!isAborted(error)) this.complain(error);
    } finally {
      this.button.disabled = false;
      // A button that waits loses the focus.
      if (document.activeElement === document.body && activeElement?.isConnected) activeElement.focus();
    }
  }

  /** Somebody else was first: what they changed is brought in, but for what is being changed here. */
  async #bring() {
    try {
      const values = await this.renew();
      const changed = this.fields.filter((field) => values[field.name] !== this.shown.get(field.name));
      for (const field of changed) {
        const { control, name } = field;
        const [before, now] = [this.shown.get(name), values[name]];
        if (control.value === before) control.value = now;
        const words = control.value === now ? `Somebody else has changed this; it was ${told(control, before)}.` : `Somebody else has made this ${told(control, now)}. Save again to have yours.`;
        field.tell(words);
        this.shown.set(name, now);
      }
      const what = changed.length > 0 ? "See what they changed" : "They changed nothing of what is asked here";
      say(this.fault, `Somebody else has saved changes meanwhile, and yours are not saved yet. ${what}, and save again.`);
      this.fault.hidden = false;
      changed[0]?.control.focus();
    } catch (error) {
      if (!isAborted(error)) this.complain(error);
    }
  }

  /** What the browser itself can tell: what is required, numbers out of range. */
  #filled() {
    const wrong = this.fields.filter((field) => !field.control.checkValidity());
    for (const field of wrong) field.complain(field.control.validationMessage);
    wrong[0]?.control.focus();
    return wrong.length === 0;
  }

  /** Tell what is wrong; null: nothing. */
  complain(error) {
    for (const field of this.fields) field.complain(null);
    let rest = error ? inWords(error) : "";
    const told = error instanceof Problem ? this.fields.filter((field) => wordsFor(field, error.fields)) : [];
    for (const field of told) field.complain(wordsFor(field, error.fields));
    if (told.length > 0) {
      told[0].control.focus();
      if (error.fields.size === told.length) rest = "";
    }
    say(this.fault, rest);
    this.fault.hidden = !rest;
  }
}

/** A value as it is seen in a control: a select shows words for it. */
function told(control, value) {
  const words = control.matches("select") ? [...control.options].find((one) => one.value === value)?.text : value;
  return words ? `\u201c${words}\u201d` : "empty";
}

function wordsFor(field, fields) {
  return fields.get(field.name) ?? fields.get(`data.${field.name}`) ?? null;
}
