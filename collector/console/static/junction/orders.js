// What became of an order, what is overridden now and until when, and what was ordered before.

import { arrange, h, say } from "../shell/dom.js";
import { confirmed } from "../shell/dialog.js";
import * as format from "../shell/format.js";
import { Table } from "../shell/table.js";
import { MODES } from "./modes.js";
import { seconds } from "./plan_bar.js";

const SETTLED = ["applied", "refused", "expired", "failed"];
const WORDS = { queued: "Queued", delivered: "With the lights", applied: "In force", refused: "Refused", expired: "Came too late", failed: "Not known what came of it" };
/** So long it stays told that an order is in force, if it is; why one is not stays until the next. */
const APPLIED_SHOWN_MS = 30_000;
const ENDED = { expiry: "by itself", order: "by another order", fault: "by a fault", restart: "by a restart", refusal: "refused", exit: "the vehicle had passed", too_long: "it stayed for too long", untold: "its end is not known", cleared: "the fault was over", another: "by another fault" };

/** How far the last order has come. */
export class OrderProgress {
  constructor() {
    this.item = null;
    this.began = false;
    this.words = h("p", { class: "order-words" });
    this.steps = ["queued", "delivered", "applied"].map((state) => h("li", { "data-step": state }));
    this.detail = h("p", { class: "order-detail" });
    this.root = h("section", { class: "order", role: "status", "aria-label": "The last order", hidden: true }, this.words, h("ol", { class: "steps" }, ...this.steps), this.detail);
  }

  get isOpen() {
    return this.item !== null && !SETTLED.includes(this.item.state);
  }

  /** What is done needs no telling for long, nor what is over; what waits, until when. `mode`: of the lights. */
  draw(nowMs, timezone, mode) {
    if (this.item?.state === "queued") {
      this.#tell(`Waits until ${format.clock(format.ms(this.item.expires_at), timezone)} for the lights to fetch it, and is given up then.`);
    }
    if (this.item?.state !== "applied") return;
    this.began ||= mode === this.item.mode;
    const isOver = this.began && mode !== null && mode !== this.item.mode;
    if (isOver || nowMs - format.ms(this.item.settled_at) > APPLIED_SHOWN_MS) this.root.hidden = true;
  }

  /** Take in an order, from an answer or told live; an older one changes nothing. */
  update(item) {
    if (this.item && this.item.id !== item.id && item.issued_at < this.item.issued_at) return;
    if (this.item?.id === item.id && SETTLED.includes(this.item.state) && !SETTLED.includes(item.state)) return;
    if (this.item?.id !== item.id) this.began = false;
    this.item = item;
    this.root.hidden = false;
    this.root.dataset.state = item.state;
    say(this.words, `${MODES[item.mode] ?? item.mode}, ordered by ${item.by}`);
    const at = { queued: 0, delivered: 1 }[item.state] ?? 2;
    this.steps[1].hidden = item.state === "expired" && item.delivered_at === null; // They never had it.
    this.steps.forEach((step, index) => {
      step.className = index < at || item.state === "applied" ? "done" : index === at ? "now" : "";
      say(step, index === 2 && at === 2 ? WORDS[item.state] : WORDS[step.dataset.step]);
    });
    if (item.state !== "queued") this.#tell(item.state === "applied" ? "" : (item.detail ?? ""));
  }

  #tell(detail) {
    say(this.detail, detail);
    this.detail.hidden = !detail;
  }
}

/** What is in force that is not automatic: whose, why, for how much longer; and the way back. */
const FAULTY = "By a fault, which no order from here ends. See to the junction; then, on its Pi: stopline-agent lights clear-fault.";

export class Running {
  constructor({ ask, path, ordered, fail }) {
    this.ask = ask;
    this.path = path;
    this.ordered = ordered;
    this.fail = fail;
    this.what = h("p", { class: "running-what" });
    this.why = h("p", { class: "running-why" });
    this.lead = h("span");
    this.left = h("strong", { class: "running-left" });
    this.until = h("p", { class: "running-until" }, this.lead, this.left);
    this.back = h("button", { type: "button", onclick: () => this.#end() }, "Back to automatic");
    this.root = h("section", { class: "running", "aria-label": "In force", hidden: true }, h("div", {}, this.what, this.why), h("div", { class: "running-end" }, this.until, this.back));
  }

  /** `own`: of the history, null: none is told to be in force. `lights`: as they tell. */
  update(own, { mode, flash }, junction, nowMs) {
    const isOther = mode !== null && mode !== "automatic";
    this.root.hidden = !isOther;
    if (!isOther) return;
    this.junction = junction;
    const since = own ? ` since ${format.moment(format.ms(own.began_at), nowMs, junction.timezone)}` : "";
    const by = own ? (own.origin === "preemption" ? ` (${who(own)})` : `, ordered by ${who(own)}`) : "";
    say(this.what, `${MODES[mode] ?? mode}${by}${since}`);
    const faulty = ["fault", "monitor"].includes(flash);
    say(this.why, faulty ? FAULTY : (own?.why ?? ""));
    const ends = own && own.origin !== "preemption" ? endOf(own) : null;
    this.until.hidden = ends === null;
    if (ends !== null) {
      const isOver = nowMs >= ends;
      say(this.lead, isOver ? `Over since ${format.clock(ends, junction.timezone)}, but the lights have not told so yet` : "Automatic again in ");
      say(this.left, isOver ? "" : format.countdown(ends - nowMs));
    }
    this.back.hidden = faulty || junction.access !== "operate" || !["manual_override", "fixed", "flash", "off"].includes(mode);
  }

  async #end() {
    const body = [h("p", {}, "The lights go on by their schedule and what the sensors tell, from the end of the stage that runs.")];
    if (!(await confirmed({ title: `Back to automatic at ${this.junction.name}?`, body, yes: "Back to automatic" }))) return;
    try {
      this.ordered(await this.ask(`${this.path}/mode`, { method: "PUT", body: { mode: "automatic", why: "Back to automatic" } }));
    } catch (error) {
      this.fail(error);
    }
  }
}

/** Who took the lights out of automatic, when, why, and for how long. */
export class History {
  constructor() {
    this.zone = "UTC";
    this.table = new Table({
      caption: "Overrides",
      stacks: true,
      columns: [
        { label: "When", cell: (one) => format.moment(format.ms(one.began_at ?? one.ordered_at ?? one.at), Date.now(), this.zone) },
        { label: "What", cell: (one) => this.#what(one) },
        { label: "Who", cell: (one) => h("span", {}, who(one), one.origin === "beside" && h("span", { class: "quiet sub" }, "beside the junction")) },
        { label: "Why", cell: (one) => one.why || "\u2013" },
        { label: "Lasted", number: true, cell: lasted },
      ],
      empty: "The lights were never taken out of automatic.",
    });
    this.root = h("section", { class: "card history", hidden: true }, h("h2", {}, "Overrides"), this.table.root);
  }

  update(overrides, timezone) {
    this.zone = timezone;
    this.root.hidden = false;
    this.table.update(overrides);
  }

  #what({ mode, origin, settings }) {
    const greens = Object.entries(settings?.lane_green_s ?? {}).map(([lane, green]) => `${lane} ${seconds(green)}`);
    const words = settings?.cycle_s ? `${seconds(settings.cycle_s)} cycle: ${greens.join(", ")}` : (settings?.plan ?? (origin === "fault" ? "by a fault" : ""));
    return h("span", {}, MODES[mode] ?? mode, words ? h("span", { class: "quiet sub" }, words) : null);
  }
}

/** The latest lines of the log. */
export class Log {
  constructor() {
    this.list = h("ol", { class: "log" });
    const scroll = h("div", { class: "log-scroll", tabindex: "0", role: "region", "aria-label": "Log" }, this.list);
    this.root = h("section", { class: "card", hidden: true }, h("h2", {}, "Log"), scroll);
  }

  update(lines, nowMs, timezone) {
    this.root.hidden = lines.length === 0;
    arrange(
      this.list,
      lines.map((line) =>
        h(
          "li",
          { "data-level": line.level },
          h("time", { datetime: line.at }, format.moment(format.ms(line.at), nowMs, timezone)),
          h("span", {}, h("span", {}, line.message || line.action.replaceAll("_", " ")), teller(line)),
        ),
      ),
    );
  }
}

function teller({ device, said_by: user }) {
  const name = device?.name ?? user?.name;
  return name ? h("span", { class: "quiet" }, " \u00b7 ", h("span", {}, name)) : null;
}

/**
 * The order that is in force by the history, where the lights say so too; null: none. A fault is nobody's order. One
 * whose time is over is in force until the lights tell that they are automatic again.
 */
export function inForce(overrides, mode) {
  const own = overrides.filter((one) => one.mode === mode && one.origin !== "fault" && one.began_at);
  return own.find((one) => !one.ended_at) ?? (own[0] === overrides[0] && own[0]?.ended_by === "expiry" ? own[0] : null);
}

function who(override) {
  return override.by ?? override.user_name ?? override.user?.name ?? "\u2013";
}

function endOf(override) {
  if (override.expires_at) return format.ms(override.expires_at);
  const lasts = override.settings?.expires_s;
  return lasts ? format.ms(override.began_at) + lasts * 1000 : null;
}

function lasted({ began_at: began, ended_at: ended, ended_by: by, duration_s: durationS }) {
  if (by === "refusal") return "refused";
  if (!began) return !ended ? "not yet" : by === "restart" ? "not known whether it began" : "never began";
  if (!ended) return "in force";
  const took = durationS ?? (format.ms(ended) - format.ms(began)) / 1000;
  return h("span", {}, format.duration(took * 1000), h("span", { class: "quiet sub" }, ENDED[by] ?? ""));
}
