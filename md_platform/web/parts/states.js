// What stands where there is nothing to show yet, nothing at all, or an error: always with what can be done.

import { link } from "../core/address.js";
import { h } from "../core/dom.js";

export function loading(lines = 6) {
  return h("div", { "aria-busy": "true", "aria-label": "Loading" }, Array.from({ length: lines }, () => h("div", { class: "skeleton" })));
}

export function empty(title, detail, ...actions) {
  return h("div", { class: "state" }, h("strong", {}, title), h("p", {}, detail), actions.length > 0 && h("div", { class: "row" }, actions));
}

/** An error, with its trace id, and a way on: `again`, or signing in. */
export function failed(error, again) {
  const needsSignIn = error.status === 401;
  return h("div", { class: "state", role: "alert" },
    h("strong", {}, error.title ?? "This view failed"),
    h("p", {}, error.message),
    error.trace && h("p", { class: "muted mono" }, `trace ${error.trace}`),
    h("div", { class: "row" },
      needsSignIn
        ? h("a", { class: "button", href: link("sign-in") }, "Sign in")
        : again && h("button", { onclick: again }, "Try again")));
}

export function badge(status) {
  return h("span", { class: "badge", "data-status": status }, status);
}
