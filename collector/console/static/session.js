// Who is signed in: goes on with a session by itself, and shows the form where there is none.

const $ = (id) => document.getElementById(id);
const REFRESHED_ELSEWHERE = "refresh_raced";

/** Nobody is signed in, and the collector answers only those who are. */
export class SignInNeeded extends Error {}

let refreshing = null;

/** As `fetch`; an access token that is over is refreshed first. Throws `SignInNeeded`. */
export async function reach(url, options) {
  const response = await fetch(url, options);
  if (response.status !== 401) return response;
  refreshing ??= refresh().finally(() => (refreshing = null));
  if (!(await refreshing)) throw new SignInNeeded();
  const second = await fetch(url, options);
  if (second.status === 401) throw new SignInNeeded();
  return second;
}

async function refresh() {
  const response = await post("refresh");
  if (response.ok) return true;
  const { code } = await response.json();
  return code === REFRESHED_ELSEWHERE;
}

function post(what, body) {
  const headers = { "X-CSRF-Token": cookie("stopline_csrf") };
  if (body) headers["Content-Type"] = "application/json";
  return fetch(`/api/users/${what}`, { method: "POST", headers, body: body && JSON.stringify(body) });
}

function cookie(name) {
  const found = document.cookie.split("; ").find((each) => each.startsWith(`${name}=`));
  return found ? found.slice(name.length + 1) : "";
}

/** Wires the form and the button; `changed` is called when somebody has signed in. */
export class Session {
  constructor(changed) {
    this.changed = changed;
    $("sign-in-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.signIn();
    });
    $("sign-in").addEventListener("cancel", (event) => event.preventDefault());
    $("sign-out").addEventListener("click", () => this.signOut());
  }

  /** Show the form. */
  ask() {
    this.forget();
    if ($("sign-in").open) return;
    $("sign-in").showModal();
    ($("sign-in-name").value ? $("sign-in-password") : $("sign-in-name")).focus();
  }

  /** Show who is signed in, if the collector knows anybody by this browser. */
  async show() {
    if (!cookie("stopline_csrf")) return;
    try {
      const response = await reach("/api/users/me", { cache: "no-store" });
      if (!response.ok) return;
      const user = await response.json();
      $("user-name").textContent = user.display_name ?? user.name;
      $("user").hidden = false;
    } catch {
      // Where nobody needs to sign in, nobody has to be.
    }
  }

  forget() {
    $("user").hidden = true;
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
      $("sign-in").close();
      this.changed();
      this.show();
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
      location.reload();
    }
  }

  complain(words) {
    $("sign-in-fault").textContent = words;
    $("sign-in-fault").hidden = !words;
  }
}
