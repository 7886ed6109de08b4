// Shapes from data.

const SVG = "http://www.w3.org/2000/svg";

/** A shape: `svg("rect", {x: 1, y: 2})`. */
export function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  set(element, attributes);
  return element;
}

/** Set attributes; untouched where they are so already. */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
}
