// Requests of a view and the same in Python in; a panel that shows and copies them out.

import { address } from "../core/api.js";
import { h } from "../core/dom.js";

/** `path`, `parameters`, `method` and `body` of a request; `python` is what follows `md.` in the client's words. */
export function asCode({ path, parameters, method = "GET", body, python }) {
  const url = `${location.origin}${address(path, parameters)}`;
  const sent = body ? ` \\\n  -H 'Content-Type: application/json' -d '${JSON.stringify(body)}'` : "";
  const curl = `curl ${method === "GET" ? "" : `-X ${method} `}'${url}'${sent}`;
  const client = `from md_platform.client import MarketData\n\nmd = MarketData("${location.origin}")\n${python}`;
  return h("details", { class: "code" },
    h("summary", {}, "Request and Python"),
    snippet(curl), snippet(client));
}

/** A value as Python writes it. */
export const py = (value) => (value == null ? "None" : JSON.stringify(value));

function snippet(text) {
  const copy = h("button", { class: "quiet", onclick: async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  } }, "Copy");
  return h("div", {}, h("pre", { tabindex: "0" }, text), h("div", { class: "row" }, copy));
}
