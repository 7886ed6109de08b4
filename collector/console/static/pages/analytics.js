// What a junction's counts and lights add up to, over some days.

import { h } from "../shell/dom.js";
import { select } from "../shell/form.js";
import { CHANGE, DAYS, WEEK } from "../analytics/counts.js";
import { ARRIVALS, CYCLES, LANES, SATURATION, SPLIT_FAILURES, WAITS } from "../analytics/lights.js";
import { ExportCard } from "../analytics/export.js";
import { Panel } from "../analytics/panel.js";
import { OVERRIDES } from "../analytics/people.js";
import { Range } from "../analytics/range.js";

const PANELS = [DAYS, WEEK, LANES, SATURATION, SPLIT_FAILURES, ARRIVALS, WAITS, CYCLES, CHANGE, OVERRIDES];
const WIDE = new Set(["days", "week"]);
const MOST_JUNCTIONS = 1000;

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
    this.chooser = h("div", { class: "chooser" });
    this.controls = h("div", {});
    this.base = `/api/analytics/junction/${encodeURIComponent(this.id)}`;
    this.files = new ExportCard(context, this.base);
    this.panels = this.id ? PANELS.map((described) => new Panel(described, context, (answer) => described === DAYS && this.files.update(answer))) : [];
    for (const panel of this.panels) panel.root.classList.toggle("wide", WIDE.has(panel.described.id));
    context.title("Analytics");
    root.append(
      this.ways,
      h("div", { class: "page-head" }, this.heading, this.chooser),
      this.controls,
      h("div", { class: "panels" }, ...this.panels.map((panel) => panel.root), this.files.root),
    );
  }

  async begin() {
    try {
      const { junctions } = await this.context.ask("/api/junctions", { query: { limit: MOST_JUNCTIONS } });
      this.#choose(junctions);
      if (this.id === null) return;
      const [junction] = (await this.context.ask("/api/junctions", { query: { junction: this.id } })).junctions;
      if (junction) this.#show(junction);
      else this.context.notice("There is no such junction, or you may not see it.");
    } catch (error) {
      this.context.fail(error);
    }
  }

  #choose(junctions) {
    if (this.id === null && junctions.length === 0) {
      this.controls.replaceChildren(h("p", { class: "empty" }, "There is no junction yet."));
      return;
    }
    const options = junctions.map(({ id, name }) => [id, name]);
    if (!junctions.some(({ id }) => id === this.id)) options.unshift([this.id ?? "", this.id ? "this junction" : "Choose a junction"]);
    const control = select(options, this.id ?? "");
    control.setAttribute("aria-label", "Junction");
    control.addEventListener("change", () => control.value && this.context.go(`/analytics/${control.value}`));
    this.chooser.replaceChildren(control);
    if (this.id === null) this.controls.replaceChildren(h("ul", { class: "pick" }, ...junctions.slice(0, 60).map(pickOf)));
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
