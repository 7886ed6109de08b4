// Figures of the analytics as people read them. Null is "not measured", never a zero.

import * as format from "../shell/format.js";

export const NOT_MEASURED = "not measured";
/** What is measured for a share below this is told to be measured in part. */
export const WHOLE = 0.98;
const MOST_NAMED = 8;
export const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

export function number(value, digits = 0) {
  if (value === null || value === undefined) return NOT_MEASURED;
  return digits === 0 ? format.count(Math.round(value)) : value.toFixed(digits);
}

/** "1 day", "3 days" */
export function several(n, one, more = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : more}`;
}

export function percent(share, digits = 0) {
  return share === null || share === undefined ? NOT_MEASURED : `${(100 * share).toFixed(digits)}\u202f%`;
}

/** What is in no sum: which lines were not counted all the time, and how much of it they were. Each line has a `name`. */
export function partly(lines) {
  const some = lines.filter(({ measured_share: share }) => share !== null && share < WHOLE);
  if (some.length === 0) return "";
  const told = some.slice(0, MOST_NAMED).map(({ name, measured_share: share }) => `${name} (${percent(share)})`);
  const more = some.length > MOST_NAMED ? ` and ${some.length - MOST_NAMED} more` : "";
  return ` Not counted all the time: ${told.join(", ")}${more}.`;
}

export function seconds(value, digits = 0) {
  return value === null || value === undefined ? NOT_MEASURED : `${value.toFixed(digits)}\u202fs`;
}

export function signed(value, digits = 1) {
  return `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(digits)}`;
}

/** Mon 4 May */
export function shortDate(date) {
  return new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" }).format(Date.parse(date));
}

export function hour(n) {
  return `${String(n).padStart(2, "0")}:00`;
}

/** A share for files: 0.123, or null. */
export function rounded(value, digits = 4) {
  return value === null || value === undefined ? null : Number(value.toFixed(digits));
}
