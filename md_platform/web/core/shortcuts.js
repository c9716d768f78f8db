// Keys in, what they do out. Never while somebody types.

const known = new Map();

/** `key` does `action`, with `meaning` in the help; the answer takes it back. */
export function shortcut(key, meaning, action) {
  known.set(key, { meaning, action });
  return () => known.get(key)?.action === action && known.delete(key);
}

export const shortcuts = () => [...known].map(([key, { meaning }]) => ({ key, meaning }));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const found = known.get(event.key);
  if (found) {
    event.preventDefault();
    found.action();
  }
});
