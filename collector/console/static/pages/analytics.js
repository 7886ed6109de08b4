// What a junction's counts and lights add up to, over some days.

import { h } from "../shell/dom.js";
import { JunctionField } from "../shell/junction_field.js";
import { CHANGE, DAYS, WEEK } from "../analytics/counts.js";
import { ARRIVALS, CYCLES, LANES, SATURATION, SPLIT_FAILURES, WAITS } from "../analytics/lights.js";
import { ExportCard } from "../analytics/export.js";
import { Panel } from "../analytics/panel.js";
import { OVERRIDES } from "../analytics/people.js";
import { Range } from "../analytics/range.js";

const PANELS = [DAYS, WEEK, LANES, SATURATION, SPLIT_FAILURES, ARRIVALS, WAITS, CYCLES, CHANGE, OVERRIDES];
const WIDE = new Set(["days", "week"]);
const PICKED = 24;

export function page(root, context) {
  const shown = new Analytics(root, context);
  shown.begin();
  return shown;
}

class Analytics {
  constructor(root, context) {
    this.context = context;
    this.id = context.params.id ?? null;
    this.heading = h("h1", {}, "Analytics");
    this.ways = h("p", { class: "eyebrow ways", hidden: true });
    const placeholder = this.id ? "Another: part of its name" : "Part of its name";
    const field = new JunctionField(context, { placeholder, chosen: ({ id }) => context.go(`/analytics/${id}`) });
    this.chooser = h("div", { class: "chooser" }, field.root);
    this.controls = h("div", {});
    this.base = `/api/analytics/junction/${encodeURIComponent(this.id)}`;
    this.files = new ExportCard(context, this.base);
    this.panels = this.id ? PANELS.map((described) => new Panel(described, context, (answer) => described === DAYS && this.files.update(answer))) : [];
    for (const panel of this.panels) panel.root.classList.toggle("wide", WIDE.has(panel.described.id));
    this.board = h("div", { class: "panels" }, ...this.panels.map((panel) => panel.root), this.files.root);
    context.title("Analytics");
    root.append(
      this.ways,
      h("div", { class: "page-head" }, this.heading, this.chooser),
      this.controls,
      this.board,
    );
  }

  async begin() {
    try {
      if (this.id === null) {
        const { junctions, next_offset: next } = await this.context.ask("/api/junctions", { query: { limit: PICKED } });
        this.#pick(junctions, next !== null);
        return;
      }
      const [junction] = (await this.context.ask("/api/junctions", { query: { junction: this.id } })).junctions;
      if (junction) return this.#show(junction);
      this.context.notice("There is no such junction, or you may not see it.");
      this.board.remove(); // It would look as if nothing had been counted there.
    } catch (error) {
      this.context.fail(error);
    }
  }

  /** The first ones, for cities of a few. */
  #pick(junctions, isMore) {
    if (junctions.length === 0) {
      const how = this.context.can("admin") ? "There is no junction yet. The page of Junctions tells how the first one comes." : "You see no junction yet. An admin grants them, on the page of Users.";
      this.controls.replaceChildren(h("p", { class: "empty" }, how));
      return;
    }
    const more = isMore && h("p", { class: "quiet" }, "There are more: find one by its name, above.");
    this.controls.replaceChildren(h("ul", { class: "pick" }, ...junctions.map(pickOf)), more || "");
  }

  #show(junction) {
    this.heading.textContent = junction.name;
    const id = encodeURIComponent(junction.id);
    this.ways.replaceChildren(h("a", { href: `/junctions/${id}` }, "The junction now"), h("a", { href: `/devices?junction=${id}` }, "Its devices"));
    this.ways.hidden = false;
    this.context.title(`Analytics of ${junction.name}`);
    this.range = new Range({ timezone: junction.timezone, query: this.context.query }, () => this.#load());
    this.controls.replaceChildren(this.range.root);
    this.#load();
    const dark = matchMedia("(prefers-color-scheme: dark)");
    this.context.on(dark, "change", () => this.panels.forEach((panel) => panel.redraw()));
  }

  #load() {
    this.context.remember(this.range.remembered);
    for (const panel of this.panels) panel.load(this.base, this.range.value);
  }

  stop() {
    for (const panel of this.panels) panel.stop();
  }
}

function pickOf(junction) {
  return h("li", {}, h("a", { class: "card", href: `/analytics/${junction.id}` }, junction.name));
}
