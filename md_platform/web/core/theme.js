// Light or dark: what was chosen, else what the system prefers.

const STORED = "mdp-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();

export const theme = () => localStorage.getItem(STORED) ?? (system.matches ? "dark" : "light");

export function chooseTheme(name) {
  localStorage.setItem(STORED, name);
  apply();
}

/** Call `listener` when colours change; the answer stops that. */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function apply() {
  document.documentElement.dataset.theme = theme();
  for (const listener of listeners) listener();
}

system.addEventListener("change", apply);
