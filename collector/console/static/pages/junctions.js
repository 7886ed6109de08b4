// All junctions that the user may see.

import { h } from "../shell/dom.js";

export function page(root, context) {
  context.title("Junctions");
  root.append(h("h1", {}, "Junctions"));
}
