// Tables that are changed in place, sorted by their heads, and turned page by page.

import { arrange, h, say } from "./dom.js";

/**
 * `new Table({caption, columns, sorted})`, with `columns`: [{name, label, number, sort, cell}]. `cell(row)` answers
 * text or an element for a row; `sort`: the word that the collector sorts by; `number`: set to the right. `stacks`: on
 * a phone each row is a list of its cells with their labels, so that nothing is out of sight.
 *
 * `sorted(word)` is called with what to sort by now, as the API has it: `name`, or `-name` for downwards.
 */
export class Table {
  constructor({ caption, columns, sorted = null, empty = "Nothing here.", stacks = false }) {
    this.columns = columns;
    this.sorted = sorted;
    this.rows = new Map();
    this.heads = columns.map((column) => this.#head(column));
    this.body = h("tbody");
    this.empty = h("p", { class: "empty", hidden: true }, empty);
    const table = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, ...this.heads)), this.body);
    const scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
    this.root = h("div", { class: stacks ? "table stacks" : "table" }, scroll, this.empty);
  }

  #head(column) {
    const head = h("th", { scope: "col", class: column.number ? "number" : null });
    if (!column.sort || !this.sorted) {
      head.append(column.label);
      return head;
    }
    const button = h("button", { type: "button", class: "sort" }, column.label);
    button.addEventListener("click", () => this.sorted(this.order === column.sort ? `-${column.sort}` : column.sort));
    head.append(button);
    return head;
  }

  /** Show by what the rows are sorted, as the API has it. */
  sortedBy(order) {
    this.order = order;
    this.columns.forEach((column, index) => {
      const way = { [column.sort]: "ascending", [`-${column.sort}`]: "descending" }[order];
      if (way && column.sort) this.heads[index].setAttribute("aria-sort", way);
      else this.heads[index].removeAttribute("aria-sort");
    });
  }

  /** What is told where there are no rows. */
  tellEmpty(...words) {
    this.empty.replaceChildren(...words);
  }

  /** Show these rows; what has the same `id` as before is changed where it stands. */
  update(rows) {
    const kept = new Map(rows.map((row) => [row.id, this.rows.get(row.id) ?? this.#row()]));
    this.rows = kept;
    for (const row of rows) this.#fill(kept.get(row.id), row);
    arrange(this.body, [...kept.values()].map((parts) => parts.root));
    this.empty.hidden = rows.length > 0;
  }

  #row() {
    const cells = this.columns.map((column, index) =>
      h(index ? "td" : "th", { scope: index ? null : "row", class: column.number ? "number" : null, "data-label": column.label }),
    );
    return { root: h("tr", {}, ...cells), cells };
  }

  #fill(parts, row) {
    this.columns.forEach((column, index) => {
      const told = column.cell(row);
      const cell = parts.cells[index];
      if (!(told instanceof Node)) say(cell, told ?? "\u2013");
      else if (!cell.firstChild?.isEqualNode(told) || cell.childNodes.length > 1) cell.replaceChildren(told);
    });
  }
}

/** Turns pages: `new Pager((offset) => ...)`, told by `update({offset, limit, next})` where it stands. */
export class Pager {
  constructor(turned) {
    this.back = h("button", { type: "button", onclick: () => turned(Math.max(0, this.at.offset - this.at.limit)) }, "Back");
    this.on = h("button", { type: "button", onclick: () => turned(this.at.next) }, "Next");
    this.words = h("span", { class: "quiet", role: "status" });
    this.root = h("nav", { class: "pager", "aria-label": "Pages of the list" }, this.back, this.words, this.on);
    this.at = { offset: 0, limit: 1, next: null };
  }

  /** `next`: the offset of the next page, null: there is none; `n`: how many are on this one. */
  update({ offset, limit, next, n }) {
    this.at = { offset, limit, next };
    this.root.hidden = offset === 0 && next === null;
    this.back.disabled = offset === 0;
    this.on.disabled = next === null;
    say(this.words, n ? `${offset + 1} to ${offset + n}` : "none");
  }
}
