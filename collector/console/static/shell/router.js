// Which page is shown, told by the path of the address. The collector serves the same document for all of them.
//
// A page is a module in `pages/` with
//
//     export function page(root, context) { ...; return { stop() {} }; }
//
// It fills `root` (an empty element) and puts an `<h1>` into it before it returns: the focus goes there when somebody
// comes by a link. What is returned may be left out; `stop()` is called once, when the page is left. What began with
// `context.signal`, `context.every` or `context.on` ends by itself. `context` has
//
//     params    of the path: {id} in `/junctions/:id`
//     query     URLSearchParams, as they were when the page was opened
//     user      who is signed in, as `GET /api/users/me` tells; null: nobody (who may read where reading is open)
//     can(role) whether the user has at least the role `viewer`, `operator` or `admin`
//     signal    AbortSignal that ends with the page; for `ask` and `follow`
//     ask(path, options)   as `fetching.ask`, ended with the page
//     every(ms, call)      calls while the page is there and seen, and at once when it is seen again; not while
//                          somebody has to sign in
//     on(target, event, call)
//     go(path)             shows another page; a plain <a href="/..."> does so too
//     remember({name: value})  keeps what was chosen in the address (null: no longer), without leaving the page
//     title(words)         of the window
//     fail(error)          tells above the page what went wrong; ended requests are left out
//     notice(words)        the same with words; null: nothing any more
//     link(state, words)   the pill in the bar: `connecting`, `live`, `reconnecting`, `stopped`; null: none
//     toast(words, kind)   short words about what just happened; kind `bad`: they stay
//
// After somebody else signed in, the page that stands there is begun anew.

import { ask, inWords, isAborted } from "./fetching.js";
import { h, say } from "./dom.js";
import { toast } from "./toast.js";

const $ = (id) => document.getElementById(id);
const RANKS = ["viewer", "operator", "admin"];

/** In this order; `:name` is one part of the path. `style`: of `styles/`, for this page alone. */
const ROUTES = [
  { path: "/", style: "junctions", load: () => import("../pages/junctions.js") },
  { path: "/junctions/:id", style: "junction", load: () => import("../pages/junction.js") },
  { path: "/analytics", style: "analytics", load: () => import("../pages/analytics.js") },
  { path: "/analytics/:id", style: "analytics", load: () => import("../pages/analytics.js") },
  { path: "/devices", style: "devices", load: () => import("../pages/devices.js") },
  { path: "/devices/:id", style: "devices", load: () => import("../pages/devices.js") },
  { path: "/users", style: "users", load: () => import("../pages/users.js") },
  { path: "/users/:id", style: "users", load: () => import("../pages/users.js") },
  { path: "/account", style: "account", load: () => import("../pages/account.js") },
  { path: "/register", style: "account", load: () => import("../pages/register.js") },
].map((route) => ({ ...route, parts: route.path.split("/") }));

export class Router {
  constructor(session) {
    this.session = session;
    this.shown = null;
    this.places = new Map();
    addEventListener("popstate", () => this.#show({ moveFocus: true, scrollTo: this.places.get(location.href) ?? 0 }));
    document.addEventListener("click", (event) => this.#follow(event));
  }

  /** Have the page's files fetched while it is found out who is signed in. */
  prepare() {
    const found = match(location.pathname);
    if (found) load(found.route);
  }

  /** Show the page of the present address, as when the window was just opened. */
  begin() {
    return this.#show({ moveFocus: false });
  }

  /** Show the page that stands there anew, as somebody else. */
  renew() {
    return this.#show({ moveFocus: true });
  }

  go(path) {
    this.places.set(location.href, scrollY);
    history.pushState(null, "", path);
    return this.#show({ moveFocus: true });
  }

  /** Links to our own pages need nothing loaded; with a key held down they are the browser's. */
  #follow(event) {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const url = new URL(link.getAttribute("href"), location.href);
    if (url.origin !== location.origin || link.target || link.hasAttribute("download")) return;
    if (url.hash && url.pathname === location.pathname) {
      event.preventDefault(); // A place on this page is none to come back to.
      document.querySelector(url.hash)?.focus();
      return;
    }
    if (!match(url.pathname)) return;
    event.preventDefault();
    this.go(url.pathname + url.search);
  }

  async #show({ moveFocus, scrollTo = 0 }) {
    this.#leave();
    const ending = new AbortController();
    const mine = { ending, page: null };
    this.shown = mine;
    const found = match(location.pathname);
    markPlace(location.pathname);
    const loaded = found ? await load(found.route) : null;
    if (this.shown !== mine) return; // Somebody went on meanwhile.
    const root = h("div", { class: "page" });
    const context = this.#context(found?.params ?? {}, ending.signal);
    context.notice(null);
    context.link(null);
    $("page").replaceChildren(root);
    mine.page = loaded ? loaded.page(root, context) : nowhere(root, context, found !== null);
    scroll(0, scrollTo);
    if (moveFocus) focusOn(root.querySelector("h1"));
  }

  #leave() {
    this.shown?.ending.abort();
    this.shown?.page?.stop?.();
    this.shown = null;
  }

  #context(params, signal) {
    const { user } = this.session;
    const while_ = (call) => (...given) => (signal.aborted ? undefined : call(...given));
    return {
      params,
      query: new URLSearchParams(location.search),
      user,
      can: (role) => user !== null && RANKS.indexOf(user.role) >= RANKS.indexOf(role),
      signal,
      ask: (path, options) => ask(path, { ...options, signal }),
      every: (ms, call) => every(ms, call, signal),
      on: (target, event, call) => target.addEventListener(event, call, { signal }),
      go: (path) => this.go(path),
      remember: while_(remember),
      title: while_((words) => (document.title = words ? `${words} \u00b7 Stopline` : "Stopline")),
      fail: while_(fail),
      notice: while_(notice),
      link: while_(tellLink),
      toast,
    };
  }
}

/** The route of a path and what stands for its names; null: there is no such page. */
function match(path) {
  const parts = path.length > 1 ? path.replace(/\/$/, "").split("/") : path.split("/");
  for (const route of ROUTES) {
    if (route.parts.length !== parts.length) continue;
    if (!route.parts.every((part, index) => part.startsWith(":") || part === parts[index])) continue;
    const named = route.parts.map((part, index) => [part.slice(1), parts[index], part.startsWith(":")]);
    const params = named.filter(([, , isName]) => isName).map(([name, text]) => [name, decodeURIComponent(text)]);
    return { route, params: Object.fromEntries(params) };
  }
  return null;
}

async function load(route) {
  try {
    const [module] = await Promise.all([route.load(), dress(route.style)]);
    return module;
  } catch (error) {
    console.warn(`The page ${route.path} cannot be loaded: ${error.message}`);
    return null;
  }
}

/** Load a page's styles, once; a page that stands there undressed is better than none. */
function dress(name) {
  const { href } = new URL(`../styles/${name}.css`, import.meta.url);
  if (document.querySelector(`link[href="${href}"]`)) return undefined;
  const link = h("link", { rel: "stylesheet", href });
  const loaded = new Promise((resolve) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve);
  });
  document.head.append(link);
  return loaded;
}

function nowhere(root, context, isKnown) {
  const heading = isKnown ? "This page cannot be loaded" : "There is no such page";
  context.title(heading);
  root.append(h("h1", {}, heading), h("p", {}, h("a", { href: "/" }, "All junctions")));
}

/** Which entry of the navigation the path belongs to. */
function markPlace(path) {
  const place = path.startsWith("/junctions") ? "/" : `/${path.split("/")[1]}`;
  for (const link of document.querySelectorAll("[data-place]")) {
    if (link.dataset.place === place) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function focusOn(heading) {
  if (!heading || $("sign-in").open) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function every(ms, call, signal) {
  const seen = () => document.visibilityState === "visible" && !$("sign-in").open && call();
  const timer = setInterval(seen, ms);
  document.addEventListener("visibilitychange", seen, { signal });
  signal.addEventListener("abort", () => clearInterval(timer));
}

function remember(chosen) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(chosen)) {
    if (value === null || value === undefined || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  if (url.href !== location.href) history.replaceState(null, "", url);
}

function fail(error) {
  if (isAborted(error)) return;
  notice(inWords(error));
}

function notice(words) {
  $("notice").hidden = !words;
  say($("notice"), words ?? "");
}

function tellLink(state, words = "") {
  $("link").hidden = state === null;
  $("link").dataset.state = state ?? "";
  say($("link-text"), words || (state ?? ""));
}
