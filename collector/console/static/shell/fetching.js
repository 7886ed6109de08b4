// Asking the collector: JSON in, JSON out, and problems in words.

import { reach, SignInNeeded } from "./session.js";

const PATIENCE_MS = 15_000;

/**
 * What the collector said instead of an answer: an RFC 9457 problem.
 *
 * `message` is for people; `status` and `code` are to act on; `fields` says what is wrong with which field, by name.
 */
export class Problem extends Error {
  constructor(message, { status = 0, code = "", fields = new Map(), body = {} } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = fields;
    this.body = body;
  }
}

/**
 * Ask for JSON: `await ask("/api/junctions", {query: {limit: 50, state: ["live", "late"]}, signal})`.
 *
 * `query`: what is null, undefined or "" is left out; lists are repeated. `body` is sent as JSON, `method` is then
 * POST unless it is given. `version`: it is changed only if it still has that one, as read; else the code of the
 * problem is `changed_meanwhile`. Answers what the collector answers, or null where that has no content.
 *
 * Throws `Problem`; `TypeError` where nobody answers; `SignInNeeded` where something should have been changed and
 * nobody is signed in, by when the form is shown. A question waits until somebody has signed in.
 */
export async function ask(path, { query = {}, method, body, version, signal } = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, one);
    }
  }
  const options = { method: method ?? (body === undefined ? "GET" : "POST"), headers: {}, signal, patienceMs: PATIENCE_MS };
  // A browser asks whether what it has still holds, where the collector says by what to know it.
  options.cache = "no-cache";
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  if (version !== undefined) options.headers["If-Match"] = `"${version}"`;
  const response = await reach(url, options);
  if (!response.ok) throw await problemOf(response);
  return response.headers.get("Content-Type")?.includes("json") ? confirmed(await response.json(), response) : null;
}

/** What the collector confirms without sending it again (304) says when it was sent; it is as of the confirmation. */
function confirmed(answer, response) {
  const saidMs = Date.parse(response.headers.get("Date"));
  if (answer?.as_of && saidMs > Date.parse(answer.as_of)) answer.as_of = new Date(saidMs).toISOString();
  return answer;
}

export async function problemOf(response) {
  const text = await response.text();
  try {
    const body = JSON.parse(text);
    const { title, detail, code, status } = body;
    const message = detail ? `${title}: ${detail}` : title;
    return new Problem(message, { status: status ?? response.status, code, fields: fieldsOf(body), body });
  } catch {
    return new Problem(`The collector answers ${response.status} ${response.statusText}`, { status: response.status });
  }
}

/** `errors` of the problem, or else a detail that begins with the field's name: `cycle_s: at most 240`. */
function fieldsOf({ detail, errors }) {
  const fields = new Map();
  for (const { key, message } of Array.isArray(errors) ? errors : []) {
    if (key) fields.set(key, message);
  }
  if (fields.size > 0) return fields;
  for (const part of String(detail ?? "").split("; ")) {
    const found = /^([a-z][a-z0-9_.]*): (.+)$/s.exec(part);
    if (found) fields.set(found[1], found[2]);
  }
  return fields;
}

/** Whether asking ended since nobody wants the answer any more: the page was left. */
export function isAborted(error) {
  return error?.name === "AbortError";
}

/** What went wrong, in words for people. */
export function inWords(error) {
  if (error instanceof Problem || error instanceof SignInNeeded) return error.message;
  return "The collector cannot be reached. What is shown may be old.";
}
