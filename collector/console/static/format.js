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

/** A time with its day, where it is not today. */
export function moment(ms, nowMs) {
  const sameDay = new Date(ms).toDateString() === new Date(nowMs).toDateString();
  return sameDay ? clock(ms) : `${day(ms)}, ${minute(ms)}`;
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
