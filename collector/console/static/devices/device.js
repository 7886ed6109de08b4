// One device: what is wrong and what to do about it, its sensors, its last day, its gaps, and what was put aside.

import { confirmed, formDialog } from "../shell/dialog.js";
import { h } from "../shell/dom.js";
import { Field } from "../shell/form.js";
import { JunctionField } from "../shell/junction_field.js";
import * as format from "../shell/format.js";
import { Table } from "../shell/table.js";
import { dayChart } from "./day.js";
import { upChart } from "./days.js";
import { gapInWords, REJECTS, since, STATES, troubles } from "./words.js";

const READ_EVERY_MS = 15_000;
const UP_DAYS = 14;
const MOST_AT_JUNCTION = 1000;
const MOST_GAPS = 20;
const MOST_REJECTS = 20;

export class DevicePage {
  constructor(root, context) {
    this.context = context;
    this.path = `/api/fleet/devices/${encodeURIComponent(context.params.id)}`;
    this.heading = h("h1", {}, "Device");
    this.where = h("p", { class: "quiet" });
    this.state = h("p", {});
    this.care = h("div", { class: "card care" });
    this.facts = h("dl", { class: "facts card" });
    this.sensors = new Table({ caption: "Sensors", stacks: true, columns: SENSOR_COLUMNS, empty: "It has told of no sensor yet." });
    this.day = h("div", { class: "day" });
    this.ran = section("The last two weeks", (this.days = h("div", {})));
    this.ran.hidden = true;
    this.changes = h("ul", { class: "story" });
    this.gaps = h("ul", { class: "story" });
    this.streams = new Table({ caption: "Streams", stacks: true, columns: STREAM_COLUMNS, empty: "It has sent nothing yet." });
    this.rejects = h("div", {});
    this.actions = h("div", { class: "actions" });
    context.title("Device");
    root.append(
      h("p", { class: "eyebrow" }, h("a", { href: "/devices" }, "Devices")),
      h("div", { class: "page-head" }, h("div", {}, this.heading, this.where), this.state),
      this.care,
      this.facts,
      section("Sensors", this.sensors.root, this.changes),
      section("The last day", this.day),
      this.ran,
      section("What is missing", this.gaps),
      section("What was put aside", this.rejects),
      section("Records", h("p", { class: "quiet" }, "Each record has a number. All of them are stored, put aside, or told as lost."), this.streams.root),
      this.actions,
    );
  }

  begin() {
    this.context.every(READ_EVERY_MS, () => this.read());
    this.read().then((device) => device && this.#readDays(device));
  }

  /** How much of each day it ran: told beside, so the page is shown without it. */
  async #readDays(device) {
    try {
      const query = { junction: device.junction?.id, days: UP_DAYS, limit: MOST_AT_JUNCTION };
      const { devices } = await this.context.ask("/api/analytics/devices", { query });
      const found = devices.find(({ id }) => id === device.id);
      this.ran.hidden = found === undefined;
      if (found) this.days.replaceChildren(upChart(found));
    } catch {
      this.ran.hidden = true;
    }
  }

  async read() {
    try {
      const [story, rejects] = await Promise.all([this.context.ask(this.path), this.#askRejects({})]);
      this.context.notice(null);
      this.show(story);
      this.#showRejects(rejects, story.device);
      return story.device;
    } catch (error) {
      this.context.fail(error);
      return null;
    }
  }

  show(story) {
    const { device } = story;
    const nowMs = Date.parse(story.as_of);
    this.context.title(device.name);
    if (this.heading.textContent !== device.name) this.heading.textContent = device.name;
    this.where.replaceChildren(...place(device));
    const { mark, words } = STATES[device.state];
    const revoked = device.status === "revoked";
    this.state.replaceChildren(h("span", { class: "state", "data-state": revoked ? "never" : mark }, revoked ? "revoked" : words));
    this.#showCare(device, nowMs);
    this.facts.replaceChildren(...facts(device, nowMs));
    this.sensors.update(device.sensors.map((sensor) => ({ id: sensor.name, ...sensor })));
    this.day.replaceChildren(dayChart(story.health, nowMs));
    this.changes.replaceChildren(...sensorStory(story.sensor_history));
    this.gaps.replaceChildren(...gapStory(story.streams, nowMs));
    this.streams.update(story.streams.map((stream) => ({ id: `${stream.stream} ${stream.epoch}`, nowMs, ...stream })));
    this.#showActions(device);
  }

  #showCare(device, nowMs) {
    const found = troubles(device, nowMs);
    this.care.dataset.mark = found[0]?.mark ?? "good";
    if (found.length === 0) {
      this.care.replaceChildren(h("p", { class: "state", "data-state": "good" }, "Nothing is wrong with it."));
      return;
    }
    const items = found.map(({ mark, words, mend }) => h("li", { "data-mark": mark }, h("strong", {}, words), h("span", {}, mend)));
    this.care.replaceChildren(h("h2", {}, found.length === 1 ? "One thing to look at" : `${found.length} things to look at`), h("ul", {}, ...items));
  }

  #askRejects(more) {
    return this.context.ask("/api/fleet/rejects", { query: { device: this.context.params.id, limit: MOST_REJECTS, ...more } });
  }

  /** Drawn anew only where something is new: what somebody opened stays open. */
  #showRejects(answer, device) {
    const told = JSON.stringify([answer, device.rejects_open]);
    if (told === this.toldRejects) return;
    this.toldRejects = told;
    this.#drawRejects(answer, device);
  }

  #drawRejects({ rejects, next }, device) {
    if (rejects.length === 0) {
      this.rejects.replaceChildren(h("p", { class: "quiet" }, "Nothing: all that came could be stored."));
      return;
    }
    const items = rejects.map((reject) => rejectItem(reject));
    const parts = [h("ul", { class: "rejects" }, ...items)];
    if (next) parts.push(h("p", { class: "quiet" }, `These are the latest ${items.length}; the API has all: /api/fleet/rejects.`));
    if (this.context.can("admin")) parts.push(h("div", { class: "actions" }, ...this.#rejectActions(rejects, device)));
    this.rejects.replaceChildren(...parts);
  }

  #rejectActions(rejects, device) {
    const withheld = rejects.some((reject) => reject.raw === null);
    const seen = () => this.#do("POST", "/rejects/seen", { until: rejects[0].received_at }, "Marked as seen.");
    return [
      device.rejects_open > 0 && h("button", { type: "button", onclick: seen }, "Mark all as seen"),
      withheld && h("button", { type: "button", onclick: () => this.#showTags(device) }, "Show what is withheld"),
    ];
  }

  /** Once, by an admin's own click: each time is written down in the log. */
  async #showTags(device) {
    try {
      this.#drawRejects(await this.#askRejects({ tags: true }), device);
      this.context.toast("Shown, and written down in the log.");
    } catch (error) {
      this.context.fail(error);
    }
  }

  /** Made once: a reading must not take a form away under somebody's hands. */
  #showActions(device) {
    if (!this.context.can("admin") || this.actions.dataset.status === device.status) return;
    this.actions.dataset.status = device.status;
    const change = h("button", { type: "button", onclick: () => this.#change(device) }, "Name and place\u2026");
    const revoke = h("button", { type: "button", class: "danger", onclick: () => this.#revoke(device) }, "Revoke\u2026");
    this.actions.replaceChildren(change, device.status === "active" ? revoke : "");
  }

  #change(device) {
    const name = new Field("Name", { name: "name", value: device.name, required: true, maxlength: 100 });
    const hint = "It cannot be changed later: what is counted belongs there.";
    const place = device.junction === null ? new JunctionField(this.context, { label: "Junction (may be left empty)", hint }) : null;
    formDialog(place ? "Name and place" : "Name", {
      fields: [name, place].filter(Boolean),
      submit: "Save",
      send: async () => {
        const junction = place?.value ? await place.id() : undefined;
        if (junction !== null) return this.context.ask(this.path, { method: "PATCH", body: { name: name.value, junction } });
        place.complain("There is no junction of that name.");
        return null;
      },
      done: (story) => {
        this.actions.dataset.status = "";
        this.show(story);
        this.context.toast("Saved.");
      },
    });
  }

  async #revoke(device) {
    const body = [h("p", {}, `The collector takes nothing more from ${device.name}, from its next request on. What it sent stays.`)];
    if (await confirmed({ title: `Revoke ${device.name}?`, body, yes: "Revoke it", danger: true })) {
      await this.#do("POST", "/revoke", undefined, "Revoked.");
    }
  }

  async #do(method, path, body, words) {
    try {
      this.show(await this.context.ask(this.path + path, { method, body }));
      this.context.toast(words);
      this.read();
    } catch (error) {
      this.context.fail(error);
    }
  }
}

const SENSOR_COLUMNS = [
  { name: "name", label: "Sensor", cell: (sensor) => sensor.name },
  { name: "state", label: "State", cell: (sensor) => h("span", { class: "state", "data-state": sensor.state === "ok" ? "good" : "bad" }, sensor.state) },
  { name: "fps", label: "Pictures per second", number: true, cell: (sensor) => sensor.fps?.toFixed(1) },
  { name: "latency", label: "Delay", number: true, cell: (sensor) => (sensor.latency_ms === null ? null : `${Math.round(sensor.latency_ms)}\u202fms`) },
  { name: "dropped", label: "Left out", number: true, cell: (sensor) => format.count(sensor.dropped) },
  { name: "restarts", label: "Restarts", number: true, cell: (sensor) => format.count(sensor.restarts) },
];

const STREAM_COLUMNS = [
  { name: "stream", label: "Stream", cell: (stream) => stream.stream },
  ...["last_seq", "stored", "rejected", "lost"].map((name) => ({
    name,
    label: { last_seq: "Made", stored: "Stored", rejected: "Put aside", lost: "Lost" }[name],
    number: true,
    cell: (stream) => format.count(stream[name]),
  })),
  { name: "adds_up", label: "Adds up", cell: (stream) => h("span", { class: stream.adds_up ? "whole" : "broken" }, stream.adds_up ? "yes" : "no") },
  { name: "heard", label: "Last heard", cell: (stream) => `${since(stream.last_received_at, stream.nowMs)} ago` },
];

function section(title, ...parts) {
  return h("section", { class: "card" }, h("h2", {}, title), ...parts);
}

function place(device) {
  if (device.junction === null) return ["at no junction"];
  return ["at ", h("a", { href: `/junctions/${device.junction.id}` }, device.junction.name)];
}

function facts(device, nowMs) {
  const { clock, outbox } = device;
  const told = [
    ["Last heard", device.received_at === null ? "never" : `${since(device.received_at, nowMs)} ago`],
    ["Release", device.version],
    ["Runs for", device.uptime_s === null ? null : format.duration(device.uptime_s * 1000)],
    ["Clock", clock && clockInWords(clock)],
    ["Temperature", device.temperature_c === null ? null : `${Math.round(device.temperature_c)}\u202f\u00b0C`],
    ["Memory", device.memory_percent === null ? null : `${Math.round(device.memory_percent)}\u202f% used`],
    ["Disk", device.disk_free_mb === null ? null : `${(device.disk_free_mb / 1000).toFixed(1)}\u202fGB free`],
    ["Outbox", outbox && (outbox.records === 0 ? "empty" : `${format.plural(outbox.records, "record")} waiting`)],
  ];
  return told.map(([name, words]) => h("div", {}, h("dt", {}, name), h("dd", {}, words ?? "not told")));
}

function clockInWords(clock) {
  if (!clock.synced) return "not synchronised";
  return clock.error_ms === null ? "synchronised" : `right to ${format.count(clock.error_ms)}\u202fms`;
}

function sensorStory(history) {
  const bad = history.filter((each) => each.state !== "ok").slice(0, MOST_GAPS);
  return bad.map((each) => storyItem(each.at, `${each.sensor}: ${each.state}${each.detail ? `, ${each.detail}` : ""}`));
}

function gapStory(streams, nowMs) {
  const gaps = streams.flatMap((stream) => stream.gaps).sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  if (gaps.length === 0) return [h("li", { class: "quiet" }, "Nothing is known to be missing.")];
  const items = gaps.slice(0, MOST_GAPS).map((gap) => storyItem(gap.at, gapInWords(gap), nowMs));
  const more = streams.reduce((sum, stream) => sum + stream.n_gaps, 0) - items.length;
  if (more > 0) items.push(h("li", { class: "quiet" }, `and ${format.plural(more, "gap")} before.`));
  return items;
}

function storyItem(at, words, nowMs = Date.now()) {
  return h("li", {}, h("time", { datetime: at }, format.moment(Date.parse(at), nowMs)), h("span", {}, words));
}

function rejectItem(reject) {
  const head = h(
    "p",
    { class: "reject-head" },
    h("strong", {}, `Record ${format.count(reject.seq)}`),
    h("span", {}, reject.detail),
    h("time", { class: "quiet", datetime: reject.received_at }, format.moment(Date.parse(reject.received_at), Date.now())),
    reject.seen && h("span", { class: "quiet" }, "seen"),
  );
  return h("li", { class: reject.seen ? "seen" : null }, head, h("p", { class: "quiet" }, REJECTS[reject.code] ?? reject.code), rawText(reject));
}

function rawText({ raw, raw_length: length }) {
  if (raw === null) return h("p", { class: "quiet" }, "Its text may name the tag of a vehicle. Admins alone can read it.");
  const cut = length > raw.length ? ` (the first ${format.count(raw.length)} of ${format.count(length)} characters)` : "";
  return h("details", {}, h("summary", {}, `As it came${cut}`), h("pre", { tabindex: "0" }, raw));
}
