// The reader's choices live in the address, "#section?name=value&...", so that a link shares them.
"use strict";
const state = (() => {
  const listeners = [];
  const read = () => {
    const hash = location.hash.slice(1), at = hash.indexOf("?");
    return at < 0
      ? { section: hash, values: null }
      : { section: hash.slice(0, at), values: new URLSearchParams(hash.slice(at + 1)) };
  };
  let { section, values } = read();
  values ??= new URLSearchParams();
  const write = () => {
    const query = values.toString();
    try {
      history.replaceState(null, "", section || query ? `#${section}${query && `?${query}`}` : " ");
    } catch { /* a page without an address */ }
  };
  const goTo = () => {
    const target = section && document.getElementById(section);
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", () => {
    const now = read();
    section = now.section;
    if (now.values) { values = now.values; listeners.forEach((listener) => listener()); } else write();
    goTo();
  });
  return {
    get: (name) => values.get(name) ?? "",
    set(name, value) {
      if (value) values.set(name, value); else values.delete(name);
      write();
    },
    /** Call now, and whenever another address is opened. */
    follow(listener) { listeners.push(listener); listener(); },
    goTo,
  };
})();

/** An element with attributes, properties (with a leading dot) and children (texts are texts). */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith(".")) element[name.slice(1)] = value;
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

{
  const button = document.getElementById("theme");
  const show = () => { button.textContent = `Theme: ${theme.now()}`; };
  button.hidden = false;
  button.addEventListener("click", () => { theme.next(); show(); });
  show();
}
