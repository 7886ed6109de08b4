// The live picture: one long answer of many JPEGs where the browser can show that, else one after the other.

import { Fault } from "./api.js";

const PATIENCE_MS = 5000;
const STILL_MS = 150;
const AGAIN_MS = 1500;

export class Live {
  constructor(img, onRefused) {
    this.img = img;
    this.onRefused = onRefused;
    this.running = false;
    this.stills = !("decode" in img);
    document.addEventListener("visibilitychange", () => this.renew());
  }

  start() {
    this.running = true;
    this.renew();
  }

  stop() {
    this.running = false;
    this.renew();
  }

  /** Another camera, or the page is seen again: ask anew. Nothing is asked for while nobody looks. */
  renew() {
    clearTimeout(this.timer);
    this.turn = (this.turn ?? 0) + 1;
    // What another camera showed must not stand there any longer.
    this.img.removeAttribute("src");
    if (!this.running || document.hidden) return;
    if (this.stills) this.still(this.turn, "");
    else this.stream(this.turn);
  }

  stream(turn) {
    this.img.onerror = () => this.later(turn, AGAIN_MS, true);
    this.img.src = `/api/stream.mjpg?${Date.now()}`;
    this.timer = setTimeout(() => {
      if (turn === this.turn && !this.img.naturalWidth && this.alive) this.fallBack();
    }, PATIENCE_MS);
  }

  /** Pictures come to the Pi, but not to this page: one after the other, then. */
  fallBack() {
    this.stills = true;
    this.renew();
  }

  later(turn, wait, failed) {
    if (turn !== this.turn || !this.running) return;
    this.failures = failed ? (this.failures ?? 0) + 1 : 0;
    if (this.failures > 3 && this.alive) this.fallBack();
    else this.timer = setTimeout(() => this.renew(), wait);
  }

  async still(turn, seen) {
    let wait = STILL_MS;
    let next = seen;
    try {
      const response = await fetch(`/api/still.jpg?seen=${seen}`, { cache: "no-store" });
      if (response.status === 401) throw new Fault(401, "");
      if (response.ok) {
        next = response.headers.get("X-Picture");
        this.show(await response.blob());
      } else wait = AGAIN_MS;
    } catch (fault) {
      if (fault.status === 401) {
        this.onRefused();
        return;
      }
      wait = AGAIN_MS;
    }
    if (turn === this.turn) this.timer = setTimeout(() => this.still(turn, next), wait);
  }

  show(blob) {
    const url = URL.createObjectURL(blob);
    this.img.onload = () => URL.revokeObjectURL(url);
    this.img.onerror = this.img.onload;
    this.img.src = url;
  }
}
