// Elements from data. Text only ever becomes text, never markup.

/** An element: `h("p", {class: "quiet"}, "words", otherElement)`. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Set an element's text; untouched where it is that already, so that nothing is drawn or read out again. */
export function say(element, text) {
  const told = String(text);
  if (element.textContent === told) return false;
  element.textContent = told;
  return true;
}

/** Make the children of `parent` these, in this order, moving only what is elsewhere. */
export function arrange(parent, children) {
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  while (parent.children.length > children.length) parent.lastElementChild.remove();
}
