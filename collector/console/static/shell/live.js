// Follows the collector's event stream, and never gives up.
//
// The stream is read with fetch instead of EventSource: the collector's heartbeats are seen, so that a connection
// that hangs is noticed, and what an error says can be shown.

import { Problem, problemOf } from "./fetching.js";
import { reach } from "./session.js";

const SILENCE_MS = 25_000; // The collector says something every 10 s.
/** After a sleep, in which no time passes for timers. */
const SLEPT_MS = 13_000;
const WAIT_MS = [300, 1000, 2000, 4000, 8000];

/**
 * @param {object} on what to call: `opened()` after each connection; `event(kind, data)` for `count` (data: the
 *   count), `reset`, `paused` (nothing comes until a reset) and `dropped`; `lost(problem)` when a connection ends, with a `Problem` where it is known why.
 * @param {AbortSignal} signal ends it.
 * @returns {{retry: function(): void}} `retry` tries again at once instead of waiting, and gives up a connection that
 *   nothing came by for long: for whoever looks again, after the computer slept.
 */
export function follow(path, on, signal) {
  let lastId = null;
  let failures = 0;
  let wake = () => {};
  let watch = null;

  const pause = (ms) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  const connect = async () => {
    const url = new URL(path, location.origin);
    if (lastId !== null) url.searchParams.set("last_id", lastId);
    watch = new Watch(SILENCE_MS);
    try {
      const ended = AbortSignal.any([watch.signal, signal]);
      const response = await reach(url, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal: ended });
      if (!response.ok) throw await problemOf(response);
      failures = 0;
      on.opened();
      await readEvents(response.body, watch, (event) => {
        if (event.id !== null) lastId = event.id;
        if (event.data !== null) on.event(event.kind, JSON.parse(event.data));
      });
    } finally {
      watch.stop();
    }
  };

  const run = async () => {
    while (!signal.aborted) {
      let why = null;
      try {
        await connect();
      } catch (error) {
        why = error instanceof Problem ? error : null;
      }
      if (signal.aborted) return;
      on.lost(why);
      const wait = WAIT_MS[Math.min(failures, WAIT_MS.length - 1)];
      failures += 1;
      await pause(wait * (0.5 + Math.random()));
    }
  };
  signal.addEventListener("abort", () => wake());
  run();
  const retry = () => {
    watch?.endAfter(SLEPT_MS);
    wake();
  };
  return { retry };
}

/** Aborts when nothing was heard for too long. */
class Watch {
  constructor(silenceMs) {
    this.silenceMs = silenceMs;
    this.controller = new AbortController();
    this.signal = this.controller.signal;
    this.heard();
  }

  heard() {
    this.stop();
    this.heardAt = Date.now();
    this.timer = setTimeout(() => this.controller.abort(), this.silenceMs);
  }

  /** Abort now where nothing was heard for `ms`, also if those passed in sleep. */
  endAfter(ms) {
    if (Date.now() - this.heardAt > ms) this.controller.abort();
  }

  stop() {
    clearTimeout(this.timer);
  }
}

async function readEvents(body, watch, deliver) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    watch.heard();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    blocks.map(parseEvent).forEach(deliver);
  }
}

/** An event of the stream from its lines. A heartbeat has neither id nor data, the greeting an id only. */
function parseEvent(block) {
  const event = { id: null, kind: "message", data: null };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const field = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (field === "id") event.id = value;
    else if (field === "event") event.kind = value;
    else if (field === "data") event.data = event.data === null ? value : `${event.data}\n${value}`;
  }
  return event;
}
