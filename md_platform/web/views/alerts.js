// Alerts: rules made and removed, and what they fired, as it fires.

import { ask } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { time } from "../core/format.js";
import { subscribe } from "../core/live.js";
import { asCode, py } from "../parts/requests.js";
import { failed } from "../parts/states.js";

const COMPARE = ["crosses", "crosses_up", "crosses_down", "above", "below"];
const SEVERITIES = ["medium", "low", "high", "critical"];
/** Conditions: in words, which fields they need, what the value is called, and what the API gets. */
const KINDS = {
  price: { words: "price", needs: ["compare", "value"], value: "Price", of: ({ compare, value }) => ({ compare, value }) },
  change: { words: "change in an hour", needs: ["compare", "value"], value: "Per cent", of: ({ compare, value }) => ({ compare, value: value / 100, window_minutes: 60 }) },
  volume: { words: "volume of a minute", needs: ["compare", "value"], value: "Volume", of: ({ compare, value }) => ({ compare, value, timeframe: "1m" }) },
  indicator: { words: "indicator of a minute", needs: ["column", "compare", "value"], value: "Value", of: ({ column, compare, value }) => ({ column, compare, value, timeframe: "1m" }) },
  stale: { words: "no trade", needs: ["value"], value: "For seconds", of: ({ value }) => ({ after_s: value }) },
  quality: { words: "quality of a day", needs: ["value"], value: "Below per cent", of: ({ value }) => ({ below: value / 100 }) },
  feed: { words: "trouble of its feed", needs: [], value: "", of: () => ({ events: ["disconnected", "gap", "stalled"] }) },
};

/** The panel for rules on `instruments`. */
export async function alertsPanel(instruments, signal) {
  const panel = h("section", { class: "panel", "aria-label": "Alerts" });
  const said = h("div", {});
  const rules = h("div", {});
  const fired = h("div", { "aria-live": "polite" });
  const code = h("div", {});
  const valueName = h("span", {});
  const form = h("form", { class: "row body", onsubmit: add, oninput: tellCode },
    field("Instrument", h("select", { name: "instrument" }, instruments.map((id) => h("option", { value: id }, id)))),
    field("When", h("select", { name: "kind" }, Object.entries(KINDS).map(([kind, { words }]) => h("option", { value: kind }, words)))),
    field("Column", h("input", { name: "column", value: "rsi_14", size: 8, required: true })),
    field("Is", h("select", { name: "compare" }, COMPARE.map((each) => h("option", { value: each }, each.replace("_", " "))))),
    h("label", { class: "field" }, valueName, h("input", { name: "value", type: "number", step: "any", required: true })),
    field("Severity", h("select", { name: "severity" }, SEVERITIES.map((each) => h("option", { value: each }, each)))),
    h("button", { class: "main" }, "Set alert"));
  put(panel, h("header", {}, h("h2", {}, "Alerts")), form, said, h("div", { class: "columns" }, h("section", {}, h("h3", {}, "Rules"), rules), h("section", {}, h("h3", {}, "Fired"), fired)), code);
  await draw();
  tellCode();
  const quiet = subscribe("alerts", "", "", () => draw().catch(() => null));
  signal.addEventListener("abort", quiet);
  return panel;

  function body() {
    const given = Object.fromEntries(["instrument", "kind", "column", "compare", "severity"].map((name) => [name, form.elements[name].value]));
    const condition = { kind: given.kind, ...KINDS[given.kind].of({ ...given, value: Number(form.elements.value.value) }) };
    return { name: `${given.instrument} ${wordsOf(condition)}`, instrument: given.instrument, condition, severity: given.severity };
  }
  function tellCode() {
    const isOpen = code.querySelector("details")?.open ?? false;
    const wanted = body();
    const { needs, value } = KINDS[wanted.condition.kind];
    valueName.textContent = value;
    for (const name of ["column", "compare", "value"]) {
      form.elements[name].disabled = !needs.includes(name);
      form.elements[name].parentElement.hidden = !needs.includes(name);
    }
    put(code, asCode({ path: "alerts", method: "POST", body: wanted, python: `md.add_alert(${py(wanted.name)}, ${JSON.stringify(wanted.condition)}, ${py(wanted.instrument)}, severity=${py(wanted.severity)})\nmd.fired_alerts()` }));
    code.querySelector("details").open = isOpen;
  }
  async function add(event) {
    event.preventDefault();
    try {
      await ask("alerts", {}, { method: "POST", body: body(), signal });
      put(said);
      await draw();
    } catch (error) {
      if (!signal.aborted) put(said, failed(error));
    }
  }
  async function draw() {
    const [known, found] = await Promise.all([ask("alerts", {}, { signal }), ask("fired-alerts", { limit: 20 }, { signal })]);
    put(rules, known.length ? h("ul", { class: "plain" }, known.map((rule) => h("li", {},
      h("span", {}, rule.name, " ", h("span", { class: "muted" }, rule.last_fired_at ? `fired ${time(rule.last_fired_at, true)}` : "has not fired")),
      h("button", { class: "quiet", "aria-label": `Remove ${rule.name}`, onclick: () => remove(rule) }, "Remove"))))
      : h("p", { class: "muted" }, "No rule yet: set one above."));
    put(fired, found.length ? h("ul", { class: "plain fired" }, found.map((alert) => h("li", {},
      h("span", { class: "mono muted" }, time(alert.fired_at, true).slice(5)), h("span", {}, alert.name, ": ", alert.message), badgeOf(alert.severity))))
      : h("p", { class: "muted" }, "Nothing yet: what fires shows here at once."));
  }
  async function remove(rule) {
    await ask(`alerts/${rule.id}`, {}, { method: "DELETE", signal });
    await draw();
  }
}

const field = (name, control) => h("label", { class: "field" }, name, control);
const badgeOf = (severity) => h("span", { class: "tag" }, severity);

function wordsOf({ kind, column, compare, value, after_s: after, below }) {
  if (kind === "stale") return `stale for ${after} s`;
  if (kind === "quality") return `quality below ${below}`;
  if (kind === "feed") return "feed in trouble";
  return `${column ?? kind} ${compare.replace("_", " ")} ${value}`;
}
