// Numbers and times as people read them.

const numbers = new Intl.NumberFormat("en", { useGrouping: true });
const clocks = new Map();

/** 12 345, with thin spaces, which no language takes for a decimal sign. */
export function count(n) {
  return numbers.format(n).replaceAll(",", "\u202f");
}

export function signed(n) {
  if (n === 0) return "equal";
  return n > 0 ? `+${count(n)}` : `\u2212${count(-n)}`;
}

/** hh:mm:ss in a time zone; without one, in the reader's own. */
export function clock(ms, timezone) {
  return formatter(timezone, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(ms);
}

/** hh:mm */
export function minute(ms, timezone) {
  return formatter(timezone, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);
}

/** Friday 21 November */
export function day(ms, timezone) {
  return formatter(timezone, { weekday: "long", day: "numeric", month: "long" }).format(ms);
}

/** 21 Nov 2026 */
export function date(ms, timezone) {
  return formatter(timezone, { day: "numeric", month: "short", year: "numeric" }).format(ms);
}

/** A time with its day, where that is not today there. */
export function moment(ms, nowMs, timezone) {
  const today = date(ms, timezone) === date(nowMs, timezone);
  return today ? clock(ms, timezone) : `${date(ms, timezone)}, ${minute(ms, timezone)}`;
}

/** What the API writes as RFC 3339, in ms since 1970; null stays null. */
export function ms(iso) {
  return iso === null || iso === undefined ? null : Date.parse(iso);
}

/** 12 s ago; "never" for null. */
export function ago(ms, nowMs) {
  return ms === null ? "never" : `${duration(nowMs - ms)} ago`;
}

/** 4:05, 1:04:05: what is left of a time. */
export function countdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** 1 record, 2 records */
export function plural(n, word) {
  return `${count(n)}\u00a0${word}${n === 1 ? "" : "s"}`;
}

/** How long something has been so: 12 s, 3 min, 5 h. */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 100) return `${seconds}\u202fs`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 100 ? `${minutes}\u202fmin` : `${Math.floor(minutes / 60)}\u202fh`;
}

function formatter(timezone, options) {
  const id = JSON.stringify([timezone, options]);
  if (!clocks.has(id)) clocks.set(id, new Intl.DateTimeFormat("en-GB", { timeZone: timezone, ...options }));
  return clocks.get(id);
}
