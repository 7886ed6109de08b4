// Elements from data. Text only ever becomes text, never markup.

/**
 * An element: `h("p", {class: "quiet"}, "words", otherElement)`.
 *
 * An attribute that is a function is called on that event (`onclick`); true is an attribute without a value; false,
 * null and undefined are none. Children that are null or false are left out.
 */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set an element's text; untouched where it is that already, so that nothing is drawn or read out again. */
export function say(element, text) {
  const told = String(text);
  if (element.textContent === told) return false;
  element.textContent = told;
  return true;
}

/** Make the children of `parent` these, in this order. What only others go from before stays, and keeps the focus. */
export function arrange(parent, children) {
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

let made = 0;
/** A name for an element that no other has, for labels and what describes them. */
export function freshId(word) {
  made += 1;
  return `${word}-${made}`;
}
