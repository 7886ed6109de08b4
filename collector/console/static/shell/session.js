// Who is signed in: goes on with a session by itself, and shows the form where there is none.

const $ = (id) => document.getElementById(id);
const REFRESHED_ELSEWHERE = "refresh_raced";

/** Nobody is signed in any more, and so what should have changed something was not done. The form is shown by then. */
export class SignInNeeded extends Error {
  constructor() {
    super("The session had ended, and nothing was sent. Sign in, and send it again.");
  }
}

let refreshing = null;
/** Shows the form, and answers when somebody has signed in. */
let askToSignIn = () => Promise.resolve();

/**
 * As `fetch`; an access token that is over is refreshed first, and what changes something bears the proof that this
 * page sent it. `patienceMs`: how long an answer is waited for; left out: for ever.
 *
 * Where nobody is signed in, a question waits until somebody is. What changes something does not: an order that was
 * given an hour ago is not sent then. It throws `SignInNeeded`.
 */
export async function reach(url, options = {}) {
  for (;;) {
    const response = await send(url, options);
    if (response.status !== 401) return response;
    refreshing ??= refresh().finally(() => (refreshing = null));
    const second = (await refreshing) ? await send(url, options) : response;
    if (second.status !== 401) return second;
    const signedIn = askToSignIn();
    if (!isQuestion(options)) throw new SignInNeeded();
    await Promise.race([signedIn, ended(options.signal)]);
  }
}

function send(url, { patienceMs, ...options }) {
  const signals = [options.signal, patienceMs && AbortSignal.timeout(patienceMs)].filter(Boolean);
  const all = { ...options, signal: AbortSignal.any(signals) };
  if (isQuestion(options)) return fetch(url, all);
  return fetch(url, { ...all, headers: { ...options.headers, "X-CSRF-Token": cookie("stopline_csrf") } });
}

function isQuestion({ method }) {
  return (method ?? "GET") === "GET";
}

/** Never answers; throws when the signal ends. */
function ended(signal) {
  return new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

async function refresh() {
  const response = await post("refresh");
  if (response.ok) return true;
  const { code } = await response.json();
  return code === REFRESHED_ELSEWHERE;
}

function post(what, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  return send(`/api/users/${what}`, { method: "POST", headers, body: body && JSON.stringify(body) });
}

function cookie(name) {
  const found = document.cookie.split("; ").find((each) => each.startsWith(`${name}=`));
  return found ? found.slice(name.length + 1) : "";
}

/** Wires the form and the button; `changed` is called when somebody has signed in who was not before. */
export class Session {
  constructor(changed) {
    this.changed = changed;
    /** As `GET /api/users/me` tells; null: nobody, who may read all the same where reading is open. */
    this.user = null;
    /** Who was signed in when the form was shown. */
    this.left = null;
    this.isNeeded = false;
    $("sign-in-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.signIn();
    });
    $("sign-in").addEventListener("cancel", (event) => this.isNeeded && event.preventDefault());
    $("sign-in-later").addEventListener("click", () => $("sign-in").close());
    $("sign-out").addEventListener("click", () => this.signOut());
    $("sign-in-open").addEventListener("click", () => this.ask({ isNeeded: false }));
    askToSignIn = () => this.ask({ isNeeded: true });
    this.#await();
  }

  #await() {
    this.signedIn = new Promise((resolve) => (this.release = resolve));
  }

  /** Show the form. `isNeeded`: there is no way around it. Answers when somebody has signed in. */
  ask({ isNeeded }) {
    if (!$("sign-in").open) {
      this.left = this.user;
      $("sign-in").showModal();
      ($("sign-in-name").value ? $("sign-in-password") : $("sign-in-name")).focus();
    }
    this.isNeeded = isNeeded;
    $("sign-in-later").hidden = isNeeded;
    this.#is(null);
    return this.signedIn;
  }

  /** Whether the page stands there for the same person as before. */
  get #isSame() {
    return this.left !== null && this.user?.id === this.left.id && this.user.role === this.left.role;
  }

  /** Find out who is signed in, if the collector knows anybody by this browser. */
  async load() {
    if (!cookie("stopline_csrf")) return this.#is(null);
    try {
      const response = await send("/api/users/me", { cache: "no-store" });
      if (response.ok) return this.#is(await response.json());
      // An access token that is over; where reading is open, nobody has to be signed in.
      if (response.status !== 401 || !(await refresh())) return this.#is(null);
      const second = await send("/api/users/me", { cache: "no-store" });
      return this.#is(second.ok ? await second.json() : null);
    } catch {
      return undefined; // The collector is away; whoever asks next tells.
    }
  }

  #is(user) {
    this.user = user;
    $("user-name").textContent = user ? (user.display_name ?? user.name) : "";
    document.body.dataset.role = user?.role ?? "none";
    for (const element of document.querySelectorAll("[data-for]")) {
      element.hidden = !allows(user, element.dataset.for);
    }
  }

  async signIn() {
    const button = $("sign-in-button");
    button.disabled = true;
    this.complain("");
    try {
      const body = { name: $("sign-in-name").value.trim(), password: $("sign-in-password").value };
      const response = await post("login", body);
      if (!response.ok) {
        const { title, detail } = await response.json();
        this.complain(`${title}: ${detail}.`);
        $("sign-in-password").select();
        return;
      }
      $("sign-in-password").value = "";
      await this.load();
      $("sign-in").close();
      // What somebody was about to write stays: their page goes on where it was.
      if (!this.#isSame) this.changed();
      this.release();
      this.#await();
    } catch {
      this.complain("The collector cannot be reached. Try again.");
    } finally {
      button.disabled = false;
    }
  }

  async signOut() {
    try {
      await post("logout");
    } finally {
      location.assign("/");
    }
  }

  complain(words) {
    $("sign-in-fault").textContent = words;
    $("sign-in-fault").hidden = !words;
  }
}

/** `nobody`: only who is not signed in; `user`: everybody who is; `admin`, `operator`: those and above. */
function allows(user, whom) {
  const rank = ["viewer", "operator", "admin"];
  if (whom === "nobody") return user === null;
  if (user === null) return false;
  return whom === "user" || rank.indexOf(user.role) >= rank.indexOf(whom);
}
