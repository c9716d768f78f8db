// Alerts: rules made and removed, and what they fired, as it fires.

import { ask } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { count, time } from "../core/format.js";
import { subscribe } from "../core/live.js";
import { asCode, py } from "../parts/requests.js";
import { empty, failed } from "../parts/states.js";

const COMPARE = ["crosses", "crosses_up", "crosses_down", "above", "below"];
const SEVERITIES = ["medium", "low", "high", "critical"];
const KINDS = {
  price: (form) => ({ compare: form.compare, value: Number(form.value) }),
  change: (form) => ({ compare: form.compare, value: Number(form.value), window_minutes: 60 }),
  volume: (form) => ({ compare: form.compare, value: Number(form.value), timeframe: "1m" }),
  stale: (form) => ({ after_s: Number(form.value) }),
  quality: (form) => ({ below: Number(form.value) }),
};
const MEANINGS = { price: "price", change: "change in an hour (0.01 is 1 %)", volume: "volume of a minute", stale: "seconds without a trade", quality: "quality score below" };

/** The panel for rules on `instruments`. */
export async function alertsPanel(instruments, signal) {
  const panel = h("section", { class: "panel", "aria-label": "Alerts" });
  const said = h("div", {});
  const rules = h("div", {});
  const fired = h("div", { "aria-live": "polite" });
  const code = h("div", {});
  const form = h("form", { class: "row body", onsubmit: add, oninput: tellCode },
    field("Instrument", h("select", { name: "instrument" }, instruments.map((id) => h("option", { value: id }, id)))),
    field("When", h("select", { name: "kind" }, Object.keys(KINDS).map((kind) => h("option", { value: kind }, MEANINGS[kind])))),
    field("Is", h("select", { name: "compare" }, COMPARE.map((each) => h("option", { value: each }, each.replace("_", " "))))),
    field("Value", h("input", { name: "value", type: "number", step: "any", required: true })),
    field("Severity", h("select", { name: "severity" }, SEVERITIES.map((each) => h("option", { value: each }, each)))),
    h("button", { class: "main" }, "Set alert"));
  put(panel, h("header", {}, h("h2", {}, "Alerts")), form, said, h("div", { class: "columns" }, h("section", {}, h("h3", {}, "Rules"), rules), h("section", {}, h("h3", {}, "Fired"), fired)), code);
  await draw();
  tellCode();
  const quiet = subscribe("alerts", "", "", () => draw().catch(() => null));
  signal.addEventListener("abort", quiet);
  return panel;

  function body() {
    const given = Object.fromEntries(new FormData(form));
    const condition = { kind: given.kind, ...KINDS[given.kind](given) };
    return { name: `${given.instrument} ${wordsOf(condition)}`, instrument: given.instrument, condition, severity: given.severity };
  }
  function tellCode() {
    const isOpen = code.querySelector("details")?.open ?? false;
    const wanted = body();
    form.querySelector("[name=compare]").disabled = ["stale", "quality"].includes(wanted.condition.kind);
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
      : empty("Nothing has fired", `What fires shows here at once. ${count(known.length)} rules look.`));
  }
  async function remove(rule) {
    await ask(`alerts/${rule.id}`, {}, { method: "DELETE", signal });
    await draw();
  }
}

const field = (name, control) => h("label", { class: "field" }, name, control);
const badgeOf = (severity) => h("span", { class: "tag" }, severity);

function wordsOf({ kind, compare, value, after_s: after, below }) {
  if (kind === "stale") return `stale for ${after} s`;
  if (kind === "quality") return `quality below ${below}`;
  return `${kind} ${compare.replace("_", " ")} ${value}`;
}
