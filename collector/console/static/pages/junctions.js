// All junctions that the user may see: as a list, and on a map where they have coordinates.

import { h, say } from "../shell/dom.js";
import * as format from "../shell/format.js";
import { Pager, Table } from "../shell/table.js";
import { isAborted } from "../shell/fetching.js";
import { MODES } from "../junction/modes.js";
import { JunctionMap } from "../junctions/map.js";

const PAGE = 50;
const READ_EVERY_MS = 15_000;
const MAP_EVERY_MS = 30_000;
const TYPED_AFTER_MS = 250;
const STATES = [
  ["", "All"],
  ["live", "Live"],
  ["late", "Late"],
  ["silent", "Silent"],
  ["never", "Never"],
];
export function page(root, context) {
  const list = new Junctions(context);
  context.title("Junctions");
  root.append(...list.parts);
  list.read();
  context.every(READ_EVERY_MS, () => list.readList());
  context.every(MAP_EVERY_MS, () => list.readMap(list.view ?? {}));
}

class Junctions {
  constructor(context) {
    this.context = context;
    this.chosen = {
      q: context.query.get("q") ?? "",
      state: context.query.get("state") ?? "",
      sort: context.query.get("sort") ?? "name",
      offset: Math.max(0, Number.parseInt(context.query.get("offset") ?? "0", 10) || 0),
    };
    this.table = new Table({
      caption: "Junctions",
      columns: COLUMNS,
      sorted: (sort) => this.choose({ sort }),
    });
    this.pager = new Pager((offset) => this.choose({ offset }, true));
    this.map = new JunctionMap((query) => this.readMap(query));
    this.view = null;
    this.asked = 0;
    this.readAt = Infinity;
    this.sum = h("p", { class: "quiet", role: "status" });
    this.unplaced = h("p", { class: "quiet map-words", hidden: true });
    const side = h("div", { class: "map-side" }, this.map.root, this.unplaced);
    this.body = h("div", { class: "junctions", "data-shown": context.query.get("show") === "map" ? "map" : "list" });
    const today = h("p", { class: "elsewhere quiet" }, "Today: all that was counted since midnight there, at any line, people too.");
    const elsewhere = h("p", { class: "elsewhere" }, h("a", { href: "/junctions/none" }, "What stands at no junction"));
    this.body.append(h("div", { class: "card list-side" }, this.table.root, this.pager.root, today, elsewhere), side);
    const head = h("div", { class: "page-head" }, h("h1", {}, "Junctions"), this.sum);
    this.parts = [head, this.#tools(), this.body];
  }

  #tools() {
    const search = h("input", { type: "search", value: this.chosen.q, maxlength: "100", placeholder: "Name", "aria-label": "Only names with" });
    search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.choose({ q: search.value.trim() }), TYPED_AFTER_MS);
    });
    const states = choices("Only those that are", "state", STATES, this.chosen.state, (state) => this.choose({ state }));
    const shown = choices("Show as", "show", [["list", "List"], ["map", "Map"]], this.body.dataset.shown, (show) => {
      this.body.dataset.shown = show;
      this.context.remember({ show: show === "map" ? "map" : null });
    });
    states.classList.add("states");
    shown.classList.add("show-as");
    this.shownAs = shown;
    return h("div", { class: "tools" }, search, states, shown);
  }

  /** Ask for something else; a filter begins with the first page. */
  choose(change, keepsPlace = false) {
    Object.assign(this.chosen, keepsPlace ? {} : { offset: 0 }, change);
    const { q, state, sort, offset } = this.chosen;
    this.context.remember({ q, state, sort: sort === "name" ? null : sort, offset: offset || null });
    this.read();
  }

  read() {
    this.readList();
    this.readMap(this.view ?? {});
  }

  async readList() {
    this.asked += 1;
    const mine = this.asked;
    const { q, state, sort, offset } = this.chosen;
    // After the computer slept, what is shown is as old as that.
    if (Date.now() - this.readAt > 2 * READ_EVERY_MS) this.context.link("reconnecting", "asking");
    try {
      const answer = await this.context.ask("/api/junctions", { query: { q, state, sort, offset, limit: PAGE } });
      if (mine !== this.asked) return;
      this.readAt = Date.now();
      this.context.notice(null);
      this.context.link("live", "up to date");
      this.lostAt = null;
      this.show(answer);
    } catch (error) {
      if (isAborted(error) || mine !== this.asked) return;
      this.lostAt ??= Date.now();
      this.context.link("stopped", `no answer since ${format.clock(this.lostAt)}`);
      this.context.fail(error);
    }
  }

  show({ junctions, next_offset: next }) {
    this.table.sortedBy(this.chosen.sort);
    this.table.update(junctions);
    if (junctions.length === 0) this.table.tellEmpty(...this.#whyNone());
    this.pager.update({ offset: this.chosen.offset, limit: PAGE, next, n: junctions.length });
  }

  #whyNone() {
    const { q, state, offset } = this.chosen;
    if (q || state || offset) return ["No junction is like that."];
    if (!this.context.can("admin")) return ["You see no junction yet. An admin grants them, on the page of Users."];
    return [
      "There is no junction yet. The first comes with its first Pi, whose file the collector's machine is given: ",
      h("code", {}, "stopline-collector device add device.json"),
      ". Or it is described in a file: ",
      h("code", {}, "stopline-collector junction template \"Market Square\" > market.toml"),
      ", then ",
      h("code", {}, "stopline-collector junction import market.toml"),
      ".",
    ];
  }

  async readMap(view) {
    this.view = view;
    const { q, state } = this.chosen;
    try {
      const answer = await this.context.ask("/api/junctions/map", { query: { ...view, q, state } });
      if (view !== this.view) return;
      const words = { one: "1 junction", other: `${format.count(answer.placed + answer.unplaced)} junctions` };
      say(this.sum, answer.placed + answer.unplaced === 1 ? words.one : words.other);
      const any = answer.placed > 0 || this.map.fitted !== null;
      this.body.classList.toggle("without-map", !any);
      this.shownAs.hidden = !any;
      this.unplaced.hidden = answer.unplaced === 0;
      say(this.unplaced, `${format.count(answer.unplaced)} without coordinates: in the list alone.`);
      this.map.update(answer);
    } catch {
      // The list tells.
    }
  }
}

const COLUMNS = [
  { label: "Name", sort: "name", cell: nameCell },
  { label: "State", sort: "received_at", cell: stateCell },
  { label: "Lights", cell: modeCell },
  { label: "Today", number: true, sort: "counts_today", cell: todayCell },
];

function nameCell({ id, name, location, mode }) {
  const link = h("a", { href: `/junctions/${id}` }, name);
  const place = location && location !== name ? h("span", { class: "quiet sub" }, location) : null;
  return h("span", {}, link, place, isUnusual(mode) ? h("span", { class: "badge" }, MODES[mode]) : null);
}

function stateCell({ state, received_at: receivedAt }) {
  const words = { live: "live", late: "late", silent: "silent", never: "never heard" }[state] ?? state;
  const since = receivedAt === null ? "" : format.duration(Date.now() - format.ms(receivedAt));
  const chip = h("span", { class: "state", "data-state": state }, words);
  return ["late", "silent"].includes(state) ? h("span", {}, chip, h("span", { class: "quiet sub" }, `for ${since}`)) : chip;
}

function modeCell({ has_lights: hasLights, mode }) {
  if (!hasLights) return h("span", { class: "quiet" }, "none");
  return h("span", { class: isUnusual(mode) ? "badge" : "" }, MODES[mode] ?? "not known");
}

function isUnusual(mode) {
  return mode in MODES && !["automatic", "fixed"].includes(mode);
}

function todayCell({ counts_today: n }) {
  if (n === null) return h("span", { class: "quiet", title: "Nothing was measured since midnight there" }, "\u2013");
  return format.count(n);
}

/** One of several, as buttons: [[value, words], ...]. */
function choices(legend, name, options, chosen, changed) {
  const items = options.map(([value, words]) => {
    const input = h("input", { type: "radio", name, value, checked: value === chosen, onchange: () => changed(value) });
    return h("label", {}, input, h("span", {}, words));
  });
  return h("fieldset", { class: "choices" }, h("legend", { class: "aside" }, legend), ...items);
}
