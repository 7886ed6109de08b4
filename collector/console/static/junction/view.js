// Draws the model. Elements are made once and then only changed, so that nothing jumps and focus stays where it is.

import { arrange, h, say } from "./dom.js";
import * as format from "./format.js";
import { Card } from "./card.js";
import { LightsCard } from "./junction.js";

const $ = (id) => document.getElementById(id);

export class View {
  constructor() {
    this.sections = new Map();
    this.cards = new Map();
    this.lights = new Map();
    this.rows = new Map();
  }

  /** `state`: `connecting`, `live`, `reconnecting` or `stopped`. */
  link(state, words) {
    $("link").dataset.state = state;
    $("lines").classList.toggle("old", state === "stopped");
    say($("link-text"), words);
  }

  /** What stands in the way, in words; null: nothing. */
  notice(words) {
    $("notice").hidden = words === null;
    say($("notice"), words ?? "");
  }

  /** `stopped`: since when nothing comes from the collector, in ms; null: it does. */
  render(model, nowMs, stopped) {
    if (!model.read) return;
    const lines = model.lines();
    this.#junctions(model, lines, nowMs, stopped);
    this.#crossings(model);
    this.#proof(model, nowMs);
  }

  #junctions(model, lines, nowMs, stopped) {
    const byJunction = new Map([...model.lights.keys()].map((id) => [id, []]));
    for (const line of lines) {
      const id = line.source.junction;
      if (!byJunction.has(id)) byJunction.set(id, []);
      byJunction.get(id).push(line);
    }
    const places = [...byJunction].map(([id, own]) => [model.junctions.get(id), own]).filter(([junction]) => junction);
    places.sort(([a], [b]) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    const sections = places.map(([junction, own]) => this.#junction(model, junction, own, nowMs, stopped));
    if (sections.length === 0) {
      say($("waiting"), "Nothing was counted yet. Lines appear here with their first crossing.");
      sections.push($("waiting"));
    }
    arrange($("lines"), sections);
  }

  #junction(model, junction, lines, nowMs, stopped) {
    if (!this.sections.has(junction.id)) {
      const parts = { name: h("h2"), day: h("p", { class: "quiet" }), cards: h("div", { class: "cards" }) };
      parts.lit = h("div", {});
      parts.root = h("section", { class: "junction" }, h("header", {}, parts.name, parts.day), parts.lit, parts.cards);
      this.sections.set(junction.id, parts);
    }
    const parts = this.sections.get(junction.id);
    say(parts.name, junction.name);
    say(parts.day, `since midnight, ${format.day(nowMs, junction.timezone)}`);
    const cards = lines.map((line) => {
      if (!this.cards.has(line.source.id)) this.cards.set(line.source.id, new Card());
      const card = this.cards.get(line.source.id);
      card.update(model, line, junction, nowMs);
      return card.root;
    });
    arrange(parts.cards, cards);
    arrange(parts.lit, this.#lightsCards(model.lights.get(junction.id), junction, nowMs, stopped));
    return parts.root;
  }

  #lightsCards(lights, junction, nowMs, stopped) {
    if (!lights) return [];
    if (!this.lights.has(junction.id)) this.lights.set(junction.id, new LightsCard());
    const card = this.lights.get(junction.id);
    card.update(lights, junction, nowMs, stopped);
    return [card.root];
  }

  #crossings(model) {
    $("latest").hidden = model.lines().length === 0;
    const items = model.crossings.map((count) => {
      count.item ??= crossingItem(count, model);
      return count.item;
    });
    arrange($("crossings"), items);
  }

  #proof(model, nowMs) {
    $("proof").hidden = model.devices.length === 0;
    const sum = { made: 0, stored: 0, rejected: 0, lost: 0 };
    for (const device of model.devices) {
      for (const name of Object.keys(sum)) sum[name] += device[name];
    }
    const whole = model.devices.every((device) => device.addsUp);
    const parts = ["stored", "rejected", "lost"].map((name) => `${format.count(sum[name])} ${name}`).join(" + ");
    $("proof-summary").classList.toggle("broken", !whole);
    say(
      $("proof-summary"),
      whole
        ? `Every record is accounted for: ${format.count(sum.made)} made = ${parts}.`
        : `Records are unaccounted for: ${format.count(sum.made)} made, but ${parts}.`,
    );
    arrange($("proof-rows"), model.devices.map((device) => this.#device(device, nowMs)));
  }

  #device(device, nowMs) {
    if (!this.rows.has(device.id)) {
      const cells = Array.from({ length: 6 }, () => h("td"));
      const name = h("th", { scope: "row" });
      this.rows.set(device.id, { root: h("tr", {}, name, ...cells), name, cells });
    }
    const { root, name, cells } = this.rows.get(device.id);
    say(name, device.name);
    ["made", "stored", "rejected", "lost"].forEach((part, index) => say(cells[index], format.count(device[part])));
    say(cells[4], device.addsUp ? "yes" : "no");
    cells[4].className = device.addsUp ? "yes" : "no";
    say(cells[5], format.moment(device.heardAt, nowMs));
    return root;
  }
}

function crossingItem(count, model) {
  const source = model.sources.get(count.source_id);
  const junction = model.junctions.get(source?.junction ?? count.junction ?? "");
  const way = count.direction === "none" ? "\u00b7" : count.direction;
  const what = count.cls === "object" ? "vehicle" : count.cls;
  const place = source && model.devices.length > 1 ? `${count.source} \u00b7 ${source.deviceName}` : count.source;
  return h(
    "li",
    { title: `${what}, ${place}${count.inferred ? " (inferred: first seen past the line)" : ""}` },
    h("time", { datetime: new Date(count.at).toISOString() }, format.clock(count.at, junction?.timezone)),
    h("span", { class: `way ${count.direction}` }, way),
    h("span", {}, `${what}, `, h("span", { class: "quiet" }, place)),
  );
}
