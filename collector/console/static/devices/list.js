// All devices that the user may see: how each is, and what is wrong with it.

import { h, say } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { Pager, Table } from "../shell/table.js";
import { since, STATES, troubles } from "./words.js";

const READ_EVERY_MS = 15_000;
const TOTALS_EVERY_MS = 60_000;
const TYPED_MS = 250;
const LIMIT = 50;
const MOST_TROUBLES = 2;

const VIEWS = [
  ["", "All", []],
  ["trouble", "Not healthy", ["warning", "critical", "never"]],
  ["critical", "Silent", ["critical"]],
  ["never", "Never heard", ["never"]],
];

export class DeviceList {
  constructor(root, context) {
    this.context = context;
    const { query } = context;
    this.view = query.get("show") ?? "";
    this.sort = query.get("sort") ?? "name";
    this.junction = query.get("junction");
    this.offset = 0;
    this.nowMs = Date.now();
    this.search = h("input", { type: "search", placeholder: "Name of a device or junction", "aria-label": "Search", value: query.get("q") ?? "" });
    this.search.value = query.get("q") ?? "";
    this.choices = h("fieldset", { class: "choices" }, h("legend", { class: "aside" }, "Which devices"), ...VIEWS.map((view) => this.#choice(view)));
    this.table = new Table({ caption: "Devices", columns: this.#columns(), sorted: (by) => this.#sortBy(by) });
    this.pager = new Pager((offset) => this.#turn(offset));
    this.totals = h("p", { class: "quiet", role: "status" });
    context.title("Devices");
    root.append(
      h("div", { class: "page-head" }, h("h1", {}, "Devices"), this.totals, this.junction && this.#onlyJunction()),
      h("div", { class: "tools" }, this.choices, this.search),
      h("div", { class: "card devices" }, this.table.root, this.pager.root),
    );
  }

  begin() {
    let typed = null;
    this.context.on(this.search, "input", () => {
      clearTimeout(typed);
      typed = setTimeout(() => this.#turn(0), TYPED_MS);
    });
    this.table.sortedBy(this.sort);
    this.context.every(READ_EVERY_MS, () => this.read());
    this.context.every(TOTALS_EVERY_MS, () => this.#readTotals());
    this.read();
    this.#readTotals();
  }

  #choice([name, words]) {
    const input = h("input", { type: "radio", name: "show", value: name, checked: name === this.view });
    input.addEventListener("change", () => {
      this.view = name;
      this.#turn(0);
    });
    return h("label", {}, input, h("span", {}, words));
  }

  #onlyJunction() {
    return h("p", { class: "quiet" }, "At one junction. ", h("a", { href: "/devices" }, "Show all"));
  }

  #columns() {
    return [
      { name: "name", label: "Device", sort: "name", cell: (device) => nameOf(device) },
      { name: "state", label: "State", sort: "received_at", cell: (device) => this.#state(device) },
      { name: "trouble", label: "What to look at", cell: (device) => this.#troubles(device) },
      { name: "records", label: "Records", cell: (device) => recordsOf(device) },
      { name: "waiting", label: "Waiting", number: true, cell: (device) => device.outbox && format.count(device.outbox.records) },
      { name: "heat", label: "Heat", number: true, cell: (device) => celsius(device.temperature_c) },
      { name: "version", label: "Release", cell: (device) => device.version },
    ];
  }

  #state(device) {
    const { mark, words } = STATES[device.state];
    const revoked = device.status === "revoked";
    const told = device.received_at === null ? "" : `${since(device.received_at, this.nowMs)} ago`;
    return h(
      "span",
      { class: "pair" },
      h("span", { class: "state", "data-state": revoked ? "never" : mark }, revoked ? "revoked" : words),
      h("span", { class: "quiet" }, told),
    );
  }

  #troubles(device) {
    const all = troubles(device, this.nowMs);
    // The state stands in a column of its own; here, what to do about it.
    const found = all.filter((each) => !each.isState);
    if (found.length === 0) return h("span", { class: "quiet" }, all[0]?.mend ?? wellInWords(device));
    const more = found.length - MOST_TROUBLES;
    const items = found.slice(0, MOST_TROUBLES).map(({ mark, words }) => h("li", { "data-mark": mark }, words));
    return h("ul", { class: "troubles" }, ...items, more > 0 && h("li", { class: "quiet" }, `and ${more} more`));
  }

  #sortBy(by) {
    this.sort = by;
    this.table.sortedBy(by);
    this.#turn(0);
  }

  #turn(offset) {
    this.offset = offset;
    this.context.remember({ q: this.search.value.trim(), show: this.view, sort: this.sort === "name" ? null : this.sort });
    this.read();
  }

  /** How many are in which state, of all; told beside, so a list is shown without it. */
  async #readTotals() {
    try {
      const query = { junction: this.junction, days: 1, limit: 1 };
      const { totals } = await this.context.ask("/api/analytics/devices", { query });
      const told = Object.entries(STATES).filter(([state]) => totals[state] > 0);
      say(this.totals, told.map(([state, { words }]) => `${format.count(totals[state])} ${words}`).join(", "));
    } catch {
      say(this.totals, "");
    }
  }

  #whyNone() {
    if (this.search.value.trim() || this.junction || this.view || this.offset) return ["No device fits."];
    if (!this.context.can("admin")) return ["No device stands at the junctions that you see."];
    const command = h("code", {}, "stopline-collector device add device.json");
    return ["There is no device yet. Installing a Pi writes a file, device.json. On the collector's machine: ", command, "."];
  }

  async read() {
    const asked = (this.asked = {});
    const [, , state] = VIEWS.find(([name]) => name === this.view) ?? VIEWS[0];
    const query = { q: this.search.value.trim(), junction: this.junction, state, sort: this.sort, limit: LIMIT, offset: this.offset };
    try {
      const answer = await this.context.ask("/api/fleet/devices", { query });
      if (this.asked !== asked) return;
      this.context.notice(null);
      this.nowMs = Date.parse(answer.as_of);
      this.table.update(answer.devices);
      if (answer.devices.length === 0) this.table.tellEmpty(...this.#whyNone());
      this.pager.update({ offset: this.offset, limit: LIMIT, next: answer.next_offset, n: answer.devices.length });
    } catch (error) {
      this.context.fail(error);
    }
  }
}

function nameOf(device) {
  const link = h("a", { href: `/devices/${device.id}` }, device.name);
  return h("span", { class: "pair" }, link, h("span", { class: "quiet" }, device.junction?.name ?? "at no junction"));
}

function recordsOf(device) {
  if (device.made === 0) return h("span", { class: "quiet" }, "no records yet");
  const proof = device.adds_up
    ? h("span", { class: "whole" }, `${format.count(device.made)} add up`)
    : h("span", { class: "broken" }, `${format.count(device.made)} do not add up`);
  const parts = [device.lost > 0 && `${format.count(device.lost)} lost`, device.rejected > 0 && `${format.count(device.rejected)} put aside`];
  return h("span", { class: "pair" }, proof, h("span", { class: "quiet" }, parts.filter(Boolean).join(", ")));
}

function wellInWords(device) {
  const n = device.sensors.length;
  return n === 0 ? "all well" : `all well, ${format.plural(n, "sensor")}`;
}

function celsius(degrees) {
  return degrees === null ? null : `${Math.round(degrees)}\u202f\u00b0C`;
}
