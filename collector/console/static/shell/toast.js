// Short words about what just happened, read out by screen readers and gone after a while.

import { h } from "./dom.js";

const SHOWN_MS = 6000;

/** `kind`: `good` or `bad`. What is bad stays until it is closed. */
export function toast(words, kind = "good") {
  const close = h("button", { type: "button", class: "toast-close", "aria-label": "Close" }, "\u00d7");
  const item = h("div", { class: `toast ${kind}` }, h("span", {}, words), close);
  close.addEventListener("click", () => item.remove());
  document.getElementById("toasts").append(item);
  if (kind === "good") setTimeout(() => item.remove(), SHOWN_MS);
}
