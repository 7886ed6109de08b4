// One junction: reads the store, follows what is told live, and draws what both say.

import { h } from "../shell/dom.js";
import { isAborted } from "../shell/fetching.js";
import * as format from "../shell/format.js";
import { follow } from "../shell/live.js";
import { Model } from "../junction/model.js";
import { asCycle, NOWHERE, Store } from "../junction/store.js";
import { View } from "../junction/view.js";

const READ_EVERY_MS = 15_000;
const SOON_MS = 1500;
const LIGHTS_SOON_MS = 200;
const ORDER_EVERY_MS = 1000;
/** A connection that stays away so long is no hiccup: what is shown is old. */
const STOPPED_AFTER_MS = 6000;
const MOST_OVERRIDES = 20;
const MOST_LINES = 30;
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function page(root, context) {
  context.title("Junction");
  const junction = new JunctionPage(root, context);
  junction.begin();
}

class JunctionPage {
  constructor(root, context) {
    this.root = root;
    this.context = context;
    this.store = new Store(context.ask, context.params.id);
    this.model = new Model();
    this.summary = null;
    this.overrides = [];
    this.link = { open: false, everOpen: false, lostAt: Date.now() };
    this.reading = null;
    this.asking = false;
    this.gone = new AbortController();
    const { ask, can, fail } = context;
    this.view = new View({
      ask,
      can,
      fail,
      path: this.store.path,
      ordered: (item) => this.ordered(item),
      edited: () => this.edited(),
      deleted: (name) => this.deleted(name),
      now: () => this.store.now(),
    });
    root.append(...this.view.parts);
  }

  begin() {
    const { context } = this;
    if (this.store.id !== NOWHERE && !ID.test(this.store.id)) return this.nowhere();
    const path = this.store.id === NOWHERE ? "/api/live" : `/api/live?junction=${encodeURIComponent(this.store.id)}`;
    this.read();
    const live = follow(path, this, AbortSignal.any([context.signal, this.gone.signal]));
    context.every(READ_EVERY_MS, () => this.link.open && !this.gone.signal.aborted && this.read());
    context.every(1000, () => this.draw());
    context.every(ORDER_EVERY_MS, () => this.view.progress.isOpen && this.readOrder());
    context.on(window, "online", () => live.retry());
    context.on(document, "visibilitychange", () => document.visibilityState === "visible" && live.retry());
    return undefined;
  }

  // What `follow` calls.

  opened() {
    Object.assign(this.link, { open: true, everOpen: true });
    this.read();
    this.draw();
  }

  lost(problem) {
    if (this.link.open) this.link.lostAt = Date.now();
    this.link.open = false;
    if (problem) this.context.fail(problem);
    this.draw();
  }

  event(kind, data) {
    const { model } = this;
    if (kind === "paused") return this.lost(null); // The collector hears nothing itself; a reset ends it.
    if (kind === "reset") return this.opened();
    if (!model.read) return;
    if (this.store.id === NOWHERE && data.junction) return; // Of somewhere.
    if (kind === "count") this.counted(data);
    else if (kind === "signal") this.signalled(data);
    else if (kind === "cycle") model.lights.cycle(asCycle(data, data.at));
    else if (kind === "occupancy") model.lights.occupancy(data);
    else if (kind === "mode") this.ordered(data.order ?? data);
    else if (kind === "log") this.readSoon();
    this.draw();
  }

  counted(count) {
    if (!this.model.count(count, performance.now())) this.readSoon();
  }

  signalled(event) {
    if (!this.model.lights.any) this.readSoon();
    if (!this.model.lights.signal(event)) this.readLightsSoon();
  }

  edited() {
    this.context.toast("Saved.");
    this.read();
  }

  deleted(name) {
    this.context.toast(`${name} was deleted.`);
    this.context.go("/");
  }

  // What is asked.

  /** Read the store; while a reading is under way, another is made after it. */
  async read() {
    if (this.reading) {
      this.reading.again = true;
      return;
    }
    const mine = { again: false };
    this.reading = mine;
    try {
      await this.#readAll();
    } catch (error) {
      if (!isAborted(error) && error.status) this.context.fail(error);
      // A network that is away is told by the link.
    } finally {
      this.reading = null;
      this.draw();
      if (mine.again) this.read();
    }
  }

  async #readAll() {
    const askedAt = performance.now();
    const summary = await this.store.summary();
    if (summary === null) return this.nowhere();
    this.summary = summary;
    this.model.settle(await this.store.read(summary), askedAt);
    this.context.title(summary.name);
    const { pendingMinutes } = this.model;
    this.context.notice(pendingMinutes > 0 ? `The collector is catching up: ${format.count(pendingMinutes)} minutes or more are not in these sums yet.` : null);
    this.draw();
    if (this.store.id !== NOWHERE) await this.readPast();
  }

  /** What was ordered, and the log; a collector that keeps no such thing answers 404. */
  async readPast() {
    const query = { limit: MOST_OVERRIDES };
    const { ask } = this.context;
    const [overrides, logs] = await Promise.all([
      this.summary.has_lights ? orNothing(ask(`${this.store.path}/overrides`, { query })) : null,
      orNothing(ask("/api/logs", { query: { junction: this.store.id, limit: MOST_LINES } })),
    ]);
    const { timezone } = this.model.junction;
    if (overrides) {
      this.overrides = overrides.overrides;
      this.view.history.update(this.overrides, timezone);
    }
    if (logs) this.view.log.update(logs.logs, this.store.now(), timezone);
  }

  nowhere() {
    this.gone.abort();
    this.context.link(null);
    const words = "There is no such junction, or it is not among those that you may see.";
    this.root.replaceChildren(h("h1", {}, "Not found"), h("p", {}, words), h("p", {}, h("a", { href: "/" }, "All junctions")));
  }

  readSoon() {
    this.soon ??= setTimeout(() => {
      this.soon = null;
      if (!this.context.signal.aborted) this.read();
    }, SOON_MS);
  }

  /** Something changed for the whole junction: several such changes are one question. */
  readLightsSoon() {
    if (this.asking) return;
    this.asking = true;
    setTimeout(async () => {
      this.asking = false;
      try {
        this.model.lights.settle(await this.store.lights());
        this.draw();
      } catch {
        // The next reading of the store tells.
      }
    }, LIGHTS_SOON_MS);
  }

  async readOrder() {
    try {
      this.ordered(await this.context.ask(`${this.store.path}/commands/${this.view.progress.item.id}`));
    } catch {
      // It is asked again.
    }
  }

  /** Something became of an order. */
  ordered(item) {
    const before = this.view.progress.item?.state;
    this.view.progress.update(item);
    if (item.state === before) return;
    if (item.state === "applied") this.readLightsSoon();
    if (["applied", "refused", "expired", "failed"].includes(item.state)) this.readSoon();
    this.draw();
  }

  // What is drawn.

  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      if (this.context.signal.aborted || this.gone.signal.aborted) return;
      this.#drawLink();
      if (this.summary) this.view.render(this, this.store.now(), this.#isStopped() ? this.link.lostAt + this.store.aheadMs : null);
    });
  }

  #isStopped() {
    return !this.link.open && Date.now() - this.link.lostAt >= STOPPED_AFTER_MS;
  }

  #drawLink() {
    const { open, everOpen, lostAt } = this.link;
    if (open) this.context.link("live");
    else if (this.#isStopped()) this.context.link("stopped", `data stopped since ${format.clock(lostAt)}`);
    else this.context.link(everOpen ? "reconnecting" : "connecting");
  }
}

/** What is answered, or null where the collector has no such thing. */
async function orNothing(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error.status === 404 || error.status === 403) return null;
    throw error;
  }
}
