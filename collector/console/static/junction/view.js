// The page of one junction. Elements are made once and then only changed, so that nothing jumps and focus stays.

import { arrange, h, say } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { Card } from "./card.js";
import { Crossings } from "./crossings.js";
import { Cycles } from "./cycles.js";
import { EditButton } from "./edit.js";
import { LightsCard } from "./lights_card.js";
import { History, inForce, Log, OrderProgress, Running } from "./orders.js";
import { OverrideForm } from "./override.js";
import { Unmatched } from "./unmatched.js";

const STATES = { live: "live", late: "late", silent: "silent", never: "never heard" };

export class View {
  /** `means`: {ask, path, can, ordered, edited, deleted, fail, now}, for what can be ordered and changed here. */
  constructor(means) {
    this.heading = h("h1", {}, "Junction");
    this.state = h("span", { class: "state" });
    this.day = h("p", { class: "quiet" });
    this.more = h("a", { class: "button", hidden: true }, "Analytics");
    this.edit = new EditButton(means);
    this.old = h("p", { class: "old-words", role: "status", hidden: true });
    this.progress = new OrderProgress();
    this.running = new Running(means);
    this.override = new OverrideForm(means);
    this.unmatched = new Unmatched();
    this.lights = new LightsCard();
    this.cycles = new Cycles();
    this.cards = new Map();
    this.lines = h("div", { class: "cards" });
    this.waiting = h("p", { class: "empty" }, "Reading\u2026");
    this.crossings = new Crossings();
    this.history = new History();
    this.log = new Log();
    this.parts = this.#arranged();
  }

  #arranged() {
    const title = h("div", {}, this.heading, h("p", { class: "under" }, this.state, this.day));
    const head = h("div", { class: "page-head" }, title, h("div", { class: "actions" }, this.more, this.edit.root, this.override.open));
    const orders = h("div", { class: "orders" }, this.running.root, this.progress.root, this.override.root);
    this.counts = h("div", { class: "counts" }, h("div", {}, h("h2", { class: "section-head" }, "Today"), this.waiting, this.lines), this.crossings.root);
    return [head, this.old, orders, this.unmatched.root, this.lights.root, this.counts, this.cycles.root, this.history.root, this.log.root];
  }

  /** `stopped`: since when nothing comes from the collector, in ms; null: it does. */
  render({ model, summary, overrides }, nowMs, stopped) {
    if (!model.read) return;
    const { lights, junction } = model;
    const known = stopped === null && !lights.isSilent(nowMs);
    this.#head(summary, junction, nowMs);
    this.#old(lights, stopped, nowMs, junction.timezone);
    this.unmatched.update(summary.unmatched ?? []);
    this.lights.root.hidden = !lights.any;
    if (lights.any) this.lights.update(model, { ...junction, ...summary }, nowMs, known);
    this.#orders(lights, { ...junction, ...summary }, overrides, nowMs);
    this.cycles.update(lights, junction.timezone);
    this.#lines(model, nowMs, stopped);
    this.crossings.update(model);
  }

  #head(summary, junction, nowMs) {
    say(this.heading, summary.name);
    this.state.hidden = !summary.state;
    this.state.dataset.state = summary.state ?? "";
    say(this.state, STATES[summary.state] ?? "");
    const place = summary.location && summary.location !== summary.name ? ` \u00b7 ${summary.location}` : "";
    say(this.day, `${format.day(nowMs, junction.timezone)}, ${format.minute(nowMs, junction.timezone)} there${place}`);
    this.more.hidden = !summary.state;
    this.edit.root.hidden = summary.access !== "operate";
    if (summary.state) this.more.href = `/analytics/${summary.id}`;
  }

  /** Where what is shown may hold no more, that is said before anything else. */
  #old(lights, stopped, nowMs, timezone) {
    const silent = lights.any && lights.isSilent(nowMs);
    this.old.hidden = stopped === null && !silent;
    if (stopped !== null) {
      say(this.old, `Nothing comes from the collector since ${format.moment(stopped, nowMs, timezone)}. What is shown is how it was then.`);
    } else if (silent) {
      say(this.old, `No word from the lights since ${format.moment(lights.heardAt, nowMs, timezone)}: what they show is not known.`);
    }
  }

  #orders(lights, junction, overrides, nowMs) {
    this.running.update(inForce(overrides, lights.mode), lights, junction, nowMs);
    this.progress.draw(nowMs, junction.timezone, lights.mode);
    const may = lights.any && junction.access === "operate" && lights.description !== null;
    this.override.allow(may);
    if (may) this.override.update(junction, lights);
    this.progress.root.parentNode.hidden = !lights.any;
  }

  #lines(model, nowMs, stopped) {
    this.lines.classList.toggle("old", stopped !== null);
    const cards = model.lines().map((line) => {
      if (!this.cards.has(line.source.id)) this.cards.set(line.source.id, new Card());
      const card = this.cards.get(line.source.id);
      card.update(model, line, model.junction, nowMs);
      return card.root;
    });
    arrange(this.lines, cards);
    this.waiting.hidden = cards.length > 0;
    say(this.waiting, "Nothing was counted here yet. Lines appear with their first crossing.");
  }
}
