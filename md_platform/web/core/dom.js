// Elements out of names, properties and children. Nothing is parsed as HTML, so data cannot become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `on…` are listeners, `class`, `data-…`, `aria-…` and the like attributes; false and null leave one out. */
export function h(name, properties = {}, ...children) {
  return filled(document.createElement(name), properties, children);
}

/** The same of SVG. */
export function svg(name, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, name), properties, children);
}

/** Replace what `element` holds. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat(9).filter((each) => each != null && each !== false));
  return element;
}

/** The value of a CSS colour token, for canvases. */
export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else if (name === "css") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((each) => each != null && each !== false));
  return element;
}
