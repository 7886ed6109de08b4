// What the page asks of the preview. Every answer that is an error becomes a `Fault` with words for people.

export class Fault extends Error {
  constructor(status, message, complaints = []) {
    super(message);
    this.status = status;
    this.complaints = complaints;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Fault(0, "the Pi does not answer; is it running, and is this phone in its network?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Fault(response.status, answer.error ?? `error ${response.status}`, answer.complaints ?? []);
}

export const get = (path) => ask(path, {});

export const post = (path, body = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
