// Which part of the city a map shows: degrees to pixels and back. Nothing here touches the document.
//
// Within a city the globe is flat enough: a degree of longitude is as wide as it is in the middle of the junctions.

const M_PER_DEGREE = 111_195;
/** The largest mark has room beside the edge. */
const MARGIN_PX = { high: 44, wide: 44 };
const MOST_PX_PER_M = 2;
/** So far one junction alone, or several at one place, are shown from. */
const LEAST_SPAN_DEGREES = 0.02;
const CELL_PX = 60;
/** Of a mark of one junction: so far apart, either can be hit without the other (WCAG 2.5.8 asks for 24 px). */
const LEAST_RADIUS_PX = 12;

/** The room that the mark of `n` junctions takes around its middle, in px. */
export function radiusOf(n) {
  return n === 1 ? LEAST_RADIUS_PX : Math.min(27, 14 + 2.6 * Math.log2(n));
}

export class MapView {
  constructor() {
    this.width = 0;
    this.height = 0;
    this.latitude = 0;
    this.longitude = 0;
    /** Pixels per degree of latitude. */
    this.scale = 1;
    this.narrowing = 1;
    this.least = 1;
  }

  /** Show all of `bounds`; null: nothing is known of where anything is. */
  fit(bounds) {
    if (!bounds) return;
    this.latitude = (bounds.north + bounds.south) / 2;
    this.longitude = (bounds.east + bounds.west) / 2;
    this.narrowing = Math.max(0.05, Math.cos((this.latitude * Math.PI) / 180));
    this.scale = this.#scaleOf(bounds);
    this.least = this.scale / 4;
  }

  /** Zoom in on a part. */
  show(bounds) {
    this.latitude = (bounds.north + bounds.south) / 2;
    this.longitude = (bounds.east + bounds.west) / 2;
    this.scale = this.#bounded(Math.max(this.#scaleOf(bounds, 0), this.scale * 1.5));
  }

  /** Whether it cannot be shown from any nearer. */
  get isNearest() {
    return this.scale >= MOST_PX_PER_M * M_PER_DEGREE;
  }

  #scaleOf({ west, south, east, north }, least = LEAST_SPAN_DEGREES) {
    const high = Math.max(north - south, least, 1e-6);
    const wide = Math.max(east - west, least, 1e-6) * this.narrowing;
    const room = [this.height - 2 * MARGIN_PX.high, this.width - 2 * MARGIN_PX.wide].map((px) => Math.max(80, px));
    return Math.min(room[0] / high, room[1] / wide);
  }

  #bounded(scale) {
    return Math.min(MOST_PX_PER_M * M_PER_DEGREE, Math.max(this.least, scale));
  }

  /** `factor` above 1 comes nearer; what is at (x, y) stays there. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const [longitude, latitude] = this.place(x, y);
    this.scale = this.#bounded(this.scale * factor);
    const [nowX, nowY] = this.point(longitude, latitude);
    this.pan(nowX - x, nowY - y);
  }

  /** Move what is seen by pixels. */
  pan(dx, dy) {
    this.longitude += dx / (this.scale * this.narrowing);
    this.latitude -= dy / this.scale;
  }

  /** Move as far as it takes to have what is at `x`, `y` clear of the edge; false: it is already. */
  bring(x, y) {
    const beyond = (at, margin, size) => at - Math.min(Math.max(at, margin), Math.max(margin, size - margin));
    const [dx, dy] = [beyond(x, MARGIN_PX.wide, this.width), beyond(y, MARGIN_PX.high, this.height)];
    this.pan(dx, dy);
    return dx !== 0 || dy !== 0;
  }

  point(longitude, latitude) {
    return [
      this.width / 2 + (longitude - this.longitude) * this.scale * this.narrowing,
      this.height / 2 - (latitude - this.latitude) * this.scale,
    ];
  }

  place(x, y) {
    return [
      this.longitude + (x - this.width / 2) / (this.scale * this.narrowing),
      this.latitude - (y - this.height / 2) / this.scale,
    ];
  }

  /**
   * The same cells, of which those whose marks would lie over each other are one. What the collector puts together
   * goes by a grid, and neighbours on both sides of its lines may be at the same place.
   */
  apart(cells) {
    const left = [...cells];
    for (let joined = true; joined; ) {
      joined = false;
      for (let i = 0; i < left.length; i += 1) {
        for (let j = left.length - 1; j > i; j -= 1) {
          if (!this.#touch(left[i], left[j])) continue;
          left[i] = together(left[i], left[j]);
          left.splice(j, 1);
          joined = true;
        }
      }
    }
    return left;
  }

  #touch(one, other) {
    const x = (one.longitude - other.longitude) * this.scale * this.narrowing;
    const y = (one.latitude - other.latitude) * this.scale;
    return Math.hypot(x, y) < radiusOf(one.n) + radiusOf(other.n);
  }

  /** What the collector is to tell: some more than is seen, in cells that stay the same while the map is moved. */
  query() {
    const [mx, my] = [this.width * 0.25, this.height * 0.25];
    const [west, north] = this.place(-mx, -my);
    const [east, south] = this.place(this.width + mx, this.height + my);
    const high = 2 ** Math.round(Math.log2(CELL_PX / this.scale));
    const clamp = (value, most) => Math.min(most, Math.max(-most, value));
    return {
      west: clamp(west, 180),
      south: clamp(south, 90),
      east: clamp(east, 180),
      north: clamp(north, 90),
      cell_latitude: Math.max(high, 0.00001),
      cell_longitude: Math.min(360, Math.max(high / this.narrowing, 0.00001)),
    };
  }

  /** A round distance that is about `px` long: [metres, its pixels]. */
  ruler(px) {
    const perM = this.scale / M_PER_DEGREE;
    const most = px / perM;
    const power = 10 ** Math.floor(Math.log10(most));
    const metres = [5, 2, 1].map((n) => n * power).find((m) => m <= most) ?? power;
    return [metres, metres * perM];
  }
}

function together(one, other) {
  const n = one.n + other.n;
  const mean = (name) => (one[name] * one.n + other[name] * other.n) / n;
  const [a, b] = [one.bounds, other.bounds];
  return {
    n,
    latitude: mean("latitude"),
    longitude: mean("longitude"),
    states: Object.fromEntries(Object.entries(one.states).map(([state, of]) => [state, of + other.states[state]])),
    bounds: { west: Math.min(a.west, b.west), south: Math.min(a.south, b.south), east: Math.max(a.east, b.east), north: Math.max(a.north, b.north) },
    junction: null,
  };
}
