// The list of lines and zones: counts, names, and what can be done to each.

import { least } from "./model.js";
import { h, say } from "./svg.js";

export class Panel {
  constructor(list, editor, on) {
    Object.assign(this, { list, editor, on });
    this.shown = "";
  }

  /** Anew where shapes or the selection changed; else only the figures, so that nothing jumps while one types. */
  render(faults) {
    const { drawing, selected, point } = this.editor;
    const told = JSON.stringify([
      drawing.shapes.map(({ key, kind, name, points }) => [key, kind, key === selected ? "" : name, points.length]),
      selected, point, faults,
    ]);
    if (told !== this.shown) {
      this.shown = told;
      const focus = this.list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
      this.list.replaceChildren(...drawing.shapes.map((one) => this.item(one, faults.filter((f) => f.key === one.key))));
      if (focus) this.list.querySelector(`[data-id="${focus}"]`)?.focus();
    }
    for (const one of drawing.shapes) this.figures(one);
  }

  item(one, faults) {
    const selected = one.key === this.editor.selected;
    const css = [selected && "selected", faults.length && "faulty"].filter(Boolean).join(" ");
    const item = h("li", { "data-key": one.key, class: css }, this.head(one, selected));
    if (selected) item.append(this.edit(one, faults));
    else for (const fault of faults) item.append(h("p", { class: "fault edit" }, fault.message));
    return item;
  }

  head(one, selected) {
    const head = h(
      "button",
      { class: "head", "aria-expanded": String(selected), "data-id": `h${one.key}` },
      h("span", { class: "name" }, one.name),
    );
    if (one.kind === "lines")
      head.append(
        h("span", { class: "count in" }, h("small", {}, "in"), h("span", {}, "0")),
        h("span", { class: "count out" }, h("small", {}, "out"), h("span", {}, "0")),
      );
    else head.append(h("span", { class: "count" }, h("small", { class: "quiet" }, "inside"), h("span", {}, "0")));
    head.addEventListener("click", () => this.editor.select(selected ? null : one.key));
    return head;
  }

  figures(one) {
    const figures = this.list.querySelectorAll(`[data-key="${one.key}"] .count span`);
    const counts = this.editor.counts.get(one.name) ?? ["\u2013", "\u2013"];
    figures.forEach((figure, i) => say(figure, counts[i]));
  }

  edit(one, faults) {
    const box = h("div", { class: "edit" });
    const wrongName = faults.some((fault) => fault.field === "name");
    const input = h("input", {
      value: one.name, maxlength: 100, "data-id": `n${one.key}`, "aria-invalid": String(wrongName), autocomplete: "off",
    });
    input.addEventListener("focus", () => this.editor.drawing.mark());
    input.addEventListener("input", () => {
      one.name = input.value;
      this.on.renamed();
    });
    input.addEventListener("change", () => this.on.renamed());
    box.append(h("label", {}, "Name", input));
    for (const fault of faults) box.append(h("p", { class: "fault" }, fault.message));
    box.append(this.buttons(one));
    return box;
  }

  buttons(one) {
    const row = h("div", { class: "row" });
    const add = (id, words, act, css = "") => {
      const button = h("button", { "data-id": `${id}${one.key}`, class: css }, words);
      button.addEventListener("click", act);
      row.append(button);
      return button;
    };
    if (one.kind === "lines")
      add("w", "Swap in/out", () => {
        this.editor.drawing.swap(one.key);
        if (this.editor.point !== null) this.editor.point = one.points.length - 1 - this.editor.point;
        this.editor.changed();
      });
    add("a", "Add point", () => this.editor.addPoint());
    if (this.editor.point !== null && one.points.length > least(one.kind))
      add("r", "Delete point", () => this.editor.removePoint());
    add("d", "Delete", () => {
      this.editor.drawing.remove(one.key);
      this.editor.selected = null;
      this.editor.changed();
    }, "delete");
    return row;
  }
}
