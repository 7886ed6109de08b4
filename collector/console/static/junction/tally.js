// A number on the page that the store knows, and that live counts move between two readings of the store.
//
// A count is stored before it is told. So a reading holds all that was told before it was asked for; of what was told
// while it was on its way, nobody can say. The truth lies between what was read and that plus the young ones: what is
// shown stays where it is as long as it lies there, and is moved to the nearer end if not.

export class Tally {
  constructor() {
    this.shown = 0;
    this.young = [];
  }

  /** One more was told; `now` as performance.now() gives it. */
  add(now) {
    this.shown += 1;
    this.young.push(now);
  }

  /** The store said `stored`, asked at `askedAt`. */
  settle(stored, askedAt) {
    this.young = this.young.filter((at) => at >= askedAt);
    this.shown = Math.max(stored, Math.min(this.shown, stored + this.young.length));
  }
}
