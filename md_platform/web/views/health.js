// Health: feeds, stores, lag, how fresh each instrument is, runs of Dagster, and what happened lately.

import { ask } from "../core/api.js";
import { link } from "../core/address.js";
import { h, put } from "../core/dom.js";
import { ago, count, day, lasting, NOTHING, share, time } from "../core/format.js";
import { subscribe } from "../core/live.js";
import { alertsPanel } from "./alerts.js";
import { asCode } from "../parts/requests.js";
import { empty } from "../parts/states.js";

const EVERY_MS = 3000;
const SHOWN_RUNS = 8;
const ENDED = { SUCCESS: "ok", FAILURE: "failed", CANCELED: "cancelled" };
const SHOWN_EVENTS = 200;
const BAD = ["gap", "disconnected", "stalled", "lagging", "halted", "refused", "shed"];

export async function show(host, at, signal) {
  const feeds = h("section", { class: "panel", "aria-label": "Feeds" });
  const stores = h("section", { class: "panel", "aria-label": "Stores" });
  const fresh = h("section", { class: "panel", "aria-label": "Instruments" });
  const runs = h("section", { class: "panel", "aria-label": "Runs" });
  const events = h("section", { class: "panel", "aria-label": "Events" });
  let before = null;
  let known = [];
  let gaps = new Map(); // of the last day, by venue
  let scores = new Map();
  const kinds = new Set(at.parameters.get("kinds") === "all" ? [] : BAD);

  await Promise.all([measure(), refresh()]);
  await drawEvents();
  const alerts = await alertsPanel(known, signal).catch(withoutAlerts);
  put(host, h("h1", { class: "sr" }, "Health"), h("div", { class: "stack" }, feeds, alerts, events), h("div", { class: "stack" }, stores, fresh, runs));
  const timer = setInterval(() => document.hidden || refresh().catch(() => null), EVERY_MS);
  const quiet = subscribe("events", "", "", () => Promise.all([measure(), drawEvents()]).catch(() => null));
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    quiet();
  });

  async function refresh() {
    const [{ live }, ready, { instruments }, launched] = await Promise.all([
      ask("ingest", {}, { signal }), readiness(), ask("instruments", { status: "active", limit: 100 }, { signal }), ask("runs", { limit: SHOWN_RUNS }, { signal }).catch((error) => error),
    ]);
    known = instruments.map(({ id }) => id);
    const latest = instruments.length ? await ask("latest", { ids: instruments.map(({ id }) => id).join(",") }, { signal }) : [];
    const now = performance.now();
    const connections = Object.entries(live?.connections ?? {}).map(([name, each]) => ({ name, ...each }));
    drawFeeds(live, connections, before && { seconds: (now - before.now) / 1000, events: before.events });
    before = { now, events: new Map(connections.map(({ name, events: seen }) => [name, seen])) };
    drawStores(ready);
    drawFresh(instruments, latest, connections);
    drawRuns(launched);
  }

  /** Gaps of the last day and quality of what is kept: these move slowly. */
  async function measure() {
    const [{ data }, { instruments }] = await Promise.all([ask("events", { kind: "gap", limit: 10000 }, { signal }), ask("datasets/cleaned_bars/coverage", { limit: 500 }, { signal })]);
    gaps = Map.groupBy(data.venue, (venue) => venue);
    scores = new Map(instruments.map((each) => [each.instrument, each.score]));
  }

  function drawFeeds(told, connections, last) {
    const rate = ({ name, events: seen }) => (last?.events.has(name) ? ((seen - last.events.get(name)) / last.seconds).toFixed(1) : NOTHING);
    put(feeds, h("header", {}, h("h2", {}, "Feeds"), state(told && !told.problems.length, told ? `streaming for ${lasting(told.uptime_s)}` : "not streaming")),
      connections.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Connections" }, h("table", {},
        h("thead", {}, h("tr", {}, h("th", {}, "Connection"), h("th", {}, "State"), ["Events/s", "Events", "Gaps, 24 h", "Reconnects", "Instruments", "Clock skew"].map((name) => h("th", { class: "num" }, name)))),
        h("tbody", {}, connections.map((each) => h("tr", {}, h("td", {}, each.name), h("td", {}, state(each.up, each.up ? "connected" : "down")),
          [rate(each), count(each.events), count(gaps.get(each.venue)?.length ?? 0), count(each.reconnects), count(each.instruments), skew(told, each.venue)].map((value) => h("td", { class: "num" }, value)))))))
        : empty("Nothing streams", "The live process does not answer, or has no connection: `mdp up` starts it."),
      told && h("dl", { class: "facts figures" },
        Object.entries(told.lag_ms).map(([target, { p50, p99 }]) => fact(`Lag to ${target}, p50 / p99`, `${p50 ?? NOTHING} / ${p99 ?? NOTHING} ms`)),
        fact("Messages spooled", count(told.spooled)), told.writer && fact("Writer behind", `${lasting(told.writer.behind_s)}, ${count(told.writer.waiting_messages)} waiting`), fact("Dropped", count(Object.values(told.dropped).reduce((sum, each) => sum + each, 0))),
        told.problems.map((problem) => fact("Problem", problem))),
      asCode({ path: "ingest", python: "md.events()" }));
  }

  function drawStores(ready) {
    put(stores, h("header", {}, h("h2", {}, "Stores"), state(ready.ready, ready.ready ? "ready" : "not ready")),
      h("table", {}, h("tbody", {}, Object.entries(ready.dependencies).map(([name, { ok, ms, problem }]) =>
        h("tr", {}, h("td", {}, name), h("td", {}, state(ok, ok ? "answers" : problem)), h("td", { class: "num muted" }, `${ms.toFixed(1)} ms`))))));
  }

  function drawFresh(instruments, latest, connections) {
    const known = new Map(latest.map((each) => [each.instrument, each]));
    const isUp = (venue) => connections.some((each) => each.up && each.venue === venue);
    put(fresh, h("header", {}, h("h2", {}, "Instruments")),
      instruments.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Freshness" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Instrument"), h("th", {}, "Feed"), h("th", { class: "num" }, "Last trade"), h("th", { class: "num" }, "Quality"))), h("tbody", {}, instruments.map(({ id }) => {
        const found = known.get(id);
        const [venue, symbol] = id.split(":");
        return h("tr", {}, h("td", {}, h("a", { class: "instrument", href: link("catalog", id) }, h("strong", {}, symbol), h("span", { class: "muted" }, venue))),
          h("td", {}, found ? state(isUp(venue), !isUp(venue) ? "down" : found.is_stale ? "quiet" : "live") : h("span", { class: "muted" }, "not streamed")),
          h("td", { class: "num muted" }, found ? `${lasting(found.age_ms / 1000)} ago` : NOTHING), h("td", { class: "num" }, share(scores.get(id), 2)));
      })))) : empty("No instruments", "None is registered yet."));
  }

  function drawRuns(launched) {
    const what = ({ job, assets }) => job ?? (assets.length > 1 ? `${assets[0]} … ${assets.at(-1)} (${assets.length})` : assets[0]);
    const made = ({ first, last, instruments }) => first && `${instruments.join(" … ")}, ${day(first)}${first === last ? "" : ` – ${day(last)}`}`;
    put(runs, h("header", {}, h("h2", {}, "Dagster runs"), h("span", { class: "muted end" }, "newest first")),
      launched instanceof Error ? empty("Dagster does not answer", launched.message)
        : launched.length ? h("table", {}, h("tbody", {}, launched.map((run) => h("tr", {},
          h("td", {}, h("span", { class: "badge", "data-status": ENDED[run.status] ?? "running" }, run.status.toLowerCase())),
          h("td", { class: "wrap" }, h("a", { href: run.url, target: "_blank", rel: "noopener" }, what(run)), h("div", { class: "muted" }, made(run))),
          h("td", { class: "wrap muted" }, run.asked_by.replace(/ [0-9a-f]{32}$/, ""), h("div", {}, ago(run.created_at)))))))
          : empty("No run yet", "Days of an instrument are loaded from the catalog; schedules and sensors do the rest."),
      asCode({ path: "runs", parameters: { limit: SHOWN_RUNS }, python: `md.runs(${SHOWN_RUNS})` }));
  }

  async function drawEvents() {
    const { data, meta } = await ask("events", { limit: SHOWN_EVENTS, kind: [...kinds].join(",") }, { signal });
    const all = kinds.size === 0;
    const choice = (label, isOn) => h("button", { "aria-pressed": String(isOn === all), onclick: () => {
      kinds.clear();
      if (!isOn) BAD.forEach((kind) => kinds.add(kind));
      drawEvents();
    } }, label);
    const order = data.at.map((_, n) => n).reverse();
    put(events, h("header", {}, h("h2", {}, "Events of a day"), h("span", { class: "muted" }, count(meta.rows)), h("div", { class: "choice end", role: "group", "aria-label": "Events" }, choice("Troubles", false), choice("All", true))),
      order.length ? h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Events" }, h("table", {},
        h("thead", {}, h("tr", {}, ["Time, UTC", "What", "Venue", "Why", "Affected", "Repaired"].map((name) => h("th", {}, name)))),
        h("tbody", {}, order.map((n) => h("tr", {}, h("td", { class: "mono" }, time(data.at[n], true)), h("td", {}, kindBadge(data.kind[n])), h("td", {}, data.venue[n]), h("td", { class: "wrap soft" }, data.cause[n]),
          h("td", { class: "soft" }, data.start[n] ? `${time(data.start[n], true).slice(11)} – ${data.end[n] ? time(data.end[n], true).slice(11) : "now"}` : "", " ", data.instruments[n].join(", ")),
          h("td", { class: "soft" }, data.repaired_at[n] ? time(data.repaired_at[n]) : ""))))))
        : empty("Nothing went wrong", "No gap, disconnect, stall or halt in the last 24 hours."));
  }

  async function readiness() {
    const answer = await fetch("/readyz", { signal });
    return answer.json();
  }
}

/** Who may not set alerts does without them; anything else is an error of the view. */
function withoutAlerts(error) {
  if (error.status !== 403) throw error;
  return null;
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
const state = (isGood, words) => h("span", { class: "badge", "data-status": isGood ? "ok" : "failed" }, words);
const kindBadge = (kind) => h("span", { class: "badge", "data-status": BAD.includes(kind) ? (kind === "gap" || kind === "disconnected" ? "failed" : "degraded") : "ok" }, kind);

function skew({ skew_ms: known }, venue) {
  const found = known[venue];
  return found === undefined ? NOTHING : `${found.toFixed(1)} ms`;
}
