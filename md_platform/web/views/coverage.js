// An instrument's days of one dataset: figures, calendar, and the evidence of the day that is chosen.

import { ask, named } from "../core/api.js";
import { link, remember } from "../core/address.js";
import { h, put } from "../core/dom.js";
import { ago, bytes, count, day, share } from "../core/format.js";
import { calendar, legend, periodsOf } from "../parts/calendar.js";
import { asCode, py } from "../parts/requests.js";
import { empty, failed, loading } from "../parts/states.js";
import { backfillPanel } from "./backfill.js";
import { evidence } from "./evidence.js";

export async function showCoverage(host, { instrument, datasets, dataset, day: chosen }, signal) {
  const info = datasets.find(({ name }) => name === dataset);
  const isMeasured = !["raw_trades"].includes(dataset);
  const [coverage, quality] = await Promise.all([
    ask(`datasets/${dataset}/coverage`, { ids: instrument.id }, { signal }),
    isMeasured ? ask(`quality/${named(instrument.id)}`, { dataset }, { signal }).catch(unmeasured) : null,
  ]);
  const found = coverage.instruments[0];
  const periods = found ? periodsOf(found, coverage.legend, coverage.period) : [];
  const panel = h("section", { class: "panel", "aria-label": "Coverage" });
  const dayHost = h("section", { class: "stack", "aria-label": "Evidence of a day" });
  const load = backfillPanel(instrument.id, missingRange(periods), signal);
  put(host, heading(instrument, datasets, dataset), panel, dayHost, load);
  draw();
  const map = panel.querySelector(".calendar");
  if (map) map.scrollLeft = map.scrollWidth; // a narrow screen begins with the newest days
  if (chosen) await openDay(chosen);

  function draw() {
    put(panel,
      h("header", {}, h("h2", {}, dataset), h("span", { class: "muted" }, info?.meaning)),
      found
        ? [figures(found, quality), h("div", { class: "body map" }, calendar(periods, coverage.period, chosen, pick), legend(periods))]
        : empty("Nothing is kept of this yet", `There is no day of ${dataset} of ${instrument.id}. Load some below: they come from its venue.`),
      asCode({
        path: `datasets/${dataset}/coverage`, parameters: { ids: instrument.id },
        python: `md.coverage(${py(dataset)}, ${py(instrument.id)})\nmd.quality(${py(instrument.id)}, ${py(dataset)})`,
      }));
  }
  async function pick(date) {
    chosen = date;
    remember({ day: date });
    draw();
    panel.querySelector(`[data-date="${date}"]`)?.focus({ preventScroll: true });
    await openDay(date);
  }
  async function openDay(date) {
    const status = periods.find((each) => each.date === date)?.status;
    put(dayHost, h("div", { class: "panel" }, loading(5)));
    try {
      put(dayHost, status === "never made"
        ? h("div", { class: "panel" }, empty(`${date} was never made`, "No run has made this day. Load it below."))
        : evidence(await ask(`datasets/${dataset}/days/${date}/${named(instrument.id)}`, {}, { signal })));
    } catch (error) {
      if (!signal.aborted) put(dayHost, h("div", { class: "panel" }, failed(error, () => openDay(date))));
    }
    load.suggest(date);
  }
}

function unmeasured(error) {
  if (error.status === 0 || error.status === 401) throw error;
  return null;
}

function heading(instrument, datasets, dataset) {
  return h("div", { class: "row heading" },
    h("h1", {}, instrument.id),
    [instrument.asset_class, ...instrument.tags].filter(Boolean).map((tag) => h("span", { class: "tag" }, tag)),
    h("span", { class: "muted" }, `${instrument.native} at ${instrument.venue}, ${instrument.status}, registered ${day(instrument.registered_at)}`),
    h("a", { class: "button end", href: link("chart", instrument.id) }, "Open chart"),
    h("nav", { class: "layers scroll", "aria-label": "Datasets" }, datasets.filter(({ totals, name }) => totals.partitions || name === dataset).map(({ name }) =>
      h("a", { href: link("catalog", instrument.id, { dataset: name }), "aria-current": name === dataset && "page" }, name))));
}

function figures(found, quality) {
  const fact = (name, value) => [h("div", {}, h("dt", {}, name), h("dd", {}, value))];
  const total = Object.values(found.statuses).reduce((sum, each) => sum + each, 0);
  return h("dl", { class: "facts figures" },
    fact("Days", `${day(found.first)} – ${day(found.last)}`),
    fact("Usable", `${count(found.statuses.ok ?? 0)} ok of ${count(total)}`),
    fact("Rows", count(found.rows)),
    fact("Size", bytes(found.bytes)),
    found.last && fact("Newest day ended", ago(new Date(`${found.last}T24:00Z`))),
    quality && fact("Quality score", share(quality.meta.score, 2)),
    quality && fact("Completeness", share(quality.meta.completeness, 2)),
    quality && fact("Quarantined rows", count(quality.meta.quarantined)));
}

/** The newest run of days that are missing, failed or never made; else nothing. */
function missingRange(periods) {
  const isGone = ({ status }) => ["missing", "failed", "never made"].includes(status);
  const last = periods.findLastIndex(isGone);
  if (last < 0) return null;
  let first = last;
  while (first > 0 && isGone(periods[first - 1])) first -= 1;
  return { start: periods[first].date, end: periods[last].date };
}
