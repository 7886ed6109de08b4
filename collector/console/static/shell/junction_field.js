// A field in which a junction is found by part of its name, however many there are.

import { freshId, h, say } from "./dom.js";
import { Field } from "./form.js";

const SHOWN = 12;
const TYPED_MS = 150;

/**
 * `new JunctionField(context, {label, hint, chosen})`: `chosen({id, name})` is called when one is taken.
 *
 * By keys as in any such list: the arrows go through what was found, Enter takes one, Escape closes.
 */
export class JunctionField extends Field {
  constructor(context, { label = "Junction", hint = "", placeholder = "Part of its name", chosen = () => {} } = {}) {
    const list = h("ul", { id: freshId("junctions"), role: "listbox", "aria-label": "What fits" });
    super(label, { name: "junction", role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id, autocomplete: "off", spellcheck: "false", placeholder }, { hint });
    this.context = context;
    this.chosen = chosen;
    this.list = list;
    this.more = h("p", { class: "quiet", role: "status" });
    this.box = h("div", { class: "suggestions", hidden: true }, list, this.more);
    this.root.classList.add("found-by-name");
    this.control.after(this.box);
    this.found = [];
    this.known = new Map();
    this.active = -1;
    this.asked = null;
    this.#listen();
  }

  #listen() {
    let typed = null;
    const { control } = this;
    control.addEventListener("input", () => {
      clearTimeout(typed);
      typed = setTimeout(() => this.#suggest(), TYPED_MS);
    });
    control.addEventListener("click", () => this.box.hidden && this.#suggest());
    control.addEventListener("keydown", (event) => this.#key(event));
    control.addEventListener("blur", () => {
      clearTimeout(typed);
      this.#close();
    });
    // The focus stays in the field while one is pressed.
    this.box.addEventListener("pointerdown", (event) => event.preventDefault());
  }

  /** The id of the junction that is named; null: there is none, or none is. */
  async id() {
    if (!this.value) return null;
    if (this.known.has(this.value)) return this.known.get(this.value);
    const { junctions } = await this.context.ask("/api/junctions", { query: { junction: this.value } });
    return junctions[0]?.id ?? null;
  }

  async #suggest() {
    const asked = (this.asked = {});
    try {
      const { junctions, next_offset: next } = await this.context.ask("/api/junctions", { query: { q: this.value, limit: SHOWN } });
      if (this.asked !== asked || document.activeElement !== this.control) return;
      this.#show(junctions, next !== null);
    } catch (error) {
      this.context.fail(error);
    }
  }

  #show(junctions, isMore) {
    this.found = junctions;
    for (const { id, name } of junctions) this.known.set(name, id);
    this.list.replaceChildren(...junctions.map((junction, index) => this.#option(junction, index)));
    const words = junctions.length === 0 ? "No junction has that in its name." : isMore ? "There are more: type on." : "";
    say(this.more, words);
    this.more.hidden = !words;
    this.box.hidden = false;
    this.control.setAttribute("aria-expanded", "true");
    this.#activate(-1);
  }

  #option(junction, index) {
    return h("li", { id: `${this.list.id}-${index}`, role: "option", "aria-selected": "false", onclick: () => this.#take(junction) }, junction.name);
  }

  #key(event) {
    const open = !this.box.hidden;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      if (!open) this.#suggest();
      else if (this.found.length > 0) this.#activate((this.active + step + this.found.length + (this.active < 0 && step < 0)) % this.found.length);
    } else if (event.key === "Escape" && open) {
      // It closes the list, and not the dialog around it.
      event.preventDefault();
      event.stopPropagation();
      this.#close();
    } else if (event.key === "Enter" && open) {
      const one = this.found[this.active] ?? (this.found.length === 1 ? this.found[0] : null);
      if (one === null || one === undefined) return;
      event.preventDefault();
      this.#take(one);
    }
  }

  #activate(index) {
    this.active = index;
    [...this.list.children].forEach((option, place) => option.setAttribute("aria-selected", String(place === index)));
    const option = this.list.children[index];
    option?.scrollIntoView({ block: "nearest" });
    if (option) this.control.setAttribute("aria-activedescendant", option.id);
    else this.control.removeAttribute("aria-activedescendant");
  }

  #take(junction) {
    this.control.value = junction.name;
    this.complain(null);
    this.#close();
    this.chosen(junction);
  }

  #close() {
    this.asked = null;
    this.box.hidden = true;
    this.control.setAttribute("aria-expanded", "false");
    this.control.removeAttribute("aria-activedescendant");
  }
}
