// A range of days in, a backfill started in Dagster and watched out.

import { ask } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { ago, count, share } from "../core/format.js";
import { asCode, py } from "../parts/requests.js";
import { badge, failed } from "../parts/states.js";

const LOOK_MS = 2000;
const DAY_MS = 86400000;
const STAGES = { archive: "archive (all)", indicators: "indicators", resampled: "resampled", cleaned: "cleaned", raw: "raw" };

/** The panel; `suggest(date)` puts one day into its form. `range` is what it begins with: first and last day. */
export function backfillPanel(instrument, range, signal) {
  const yesterday = new Date(Date.now() - DAY_MS).toISOString().slice(0, 10);
  const input = (label, properties) => h("input", { "aria-label": label, required: true, ...properties });
  const first = input("First day", { type: "date", value: range?.start ?? yesterday, max: yesterday });
  const last = input("Last day", { type: "date", value: range?.end ?? yesterday, max: yesterday });
  const stage = h("select", { "aria-label": "How far" }, Object.entries(STAGES).map(([stage, words]) => h("option", { value: stage }, words)));
  const refresh = h("input", { type: "checkbox" });
  const started = h("div", { class: "jobs" });
  const code = h("div", {});
  const form = h("form", { class: "row body", onsubmit: start, onchange: tellCode },
    h("label", { class: "field" }, "First day", first), h("label", { class: "field" }, "Last day", last),
    h("label", { class: "field" }, "As far as", stage), h("label", { class: "row soft check" }, refresh, "also days that are there"),
    h("button", { class: "main" }, "Load these days"));
  const panel = h("section", { class: "panel", "aria-label": "Load days" },
    h("header", {}, h("h2", {}, "Load days"), h("span", { class: "muted" }, lacking(range))),
    form, started, code);
  panel.suggest = (date) => {
    if (date > yesterday) return;
    first.value = last.value = date;
    tellCode();
  };
  tellCode();
  recent();
  return panel;

  function request() {
    const end = new Date(Date.parse(`${last.value}T00:00Z`) + DAY_MS).toISOString().slice(0, 10);
    return { ids: [instrument], start: first.value, end, stage: stage.value, refresh: refresh.checked };
  }
  function tellCode() {
    if (!first.value || !last.value) return;
    const body = request();
    const isOpen = code.querySelector("details")?.open;
    put(code, asCode({ path: "backfills", method: "POST", body,
      python: `md.backfill(${py(instrument)}, ${py(body.start)}, ${py(body.end)}, stage=${py(body.stage)}${body.refresh ? ", refresh=True" : ""})` }));
    code.querySelector("details").open = isOpen ?? false;
  }
  async function start(event) {
    event.preventDefault();
    try {
      watch(await ask("backfills", {}, { method: "POST", body: request(), signal }));
    } catch (error) {
      if (!signal.aborted) put(started, failed(error));
    }
  }
  async function recent() {
    const jobs = await ask("backfills", { limit: 50 }, { signal }).catch(() => []);
    const own = jobs.find(({ request: { ids = [] } }) => ids.includes(instrument));
    if (own && ["queued", "running"].includes(own.state)) watch(own);
    else if (own) put(started, line(own));
  }
  async function watch(job) {
    put(started, line(job, () => cancel(job)));
    while (job.id && ["queued", "running"].includes(job.state)) {
      await new Promise((done) => setTimeout(done, LOOK_MS));
      if (signal.aborted) return;
      job = await ask(`backfills/${job.id}`, {}, { signal }).catch(() => job);
      if (signal.aborted) return;
      put(started, line(job, () => cancel(job)));
    }
  }
  async function cancel(job) {
    put(started, line(await ask(`backfills/${job.id}`, {}, { method: "DELETE", signal })));
  }
}

function lacking(range) {
  if (!range) return "from the venue, through Dagster";
  return range.start === range.end ? `${range.start} is missing` : `${range.start} to ${range.end} are missing`;
}

function line(job, cancel) {
  const isUnderWay = ["queued", "running"].includes(job.state);
  return h("div", { class: "job body" },
    h("div", { class: "row" }, badge(job.state),
      h("span", { class: "soft" }, job.id ? `${job.request.start} – before ${job.request.end}` : "Everything is there already."),
      job.id && h("span", { class: "muted" }, `${count(job.made)} of ${count(job.total)} partitions${job.finished_at ? `, ${ago(job.finished_at)}` : ""}`),
      job.runs_url && h("a", { href: job.runs_url, target: "_blank", rel: "noopener" }, "Runs in Dagster ↗"),
      isUnderWay && cancel && h("button", { class: "quiet end", onclick: cancel }, "Cancel")),
    isUnderWay && h("progress", { max: job.total || 1, value: job.made, "aria-label": `made ${share(job.made / (job.total || 1))}` }),
    job.error && h("p", { class: "down" }, job.error));
}
