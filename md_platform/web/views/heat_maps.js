// Correlation of instruments with each other, and what each gained over several spans, as tables in colours.

import { ask, named } from "../core/api.js";
import { h, put } from "../core/dom.js";
import { change, NOTHING } from "../core/format.js";
import { asCode } from "../parts/requests.js";
import { empty, failed } from "../parts/states.js";

const SPANS = { "1 d": 1, "7 d": 7, "30 d": 30, "90 d": 90, "1 y": 365 };
const DAY_MS = 86400000;
const MOST = 20;

/** Fill `host` with the maps of `ids`. */
export async function heatMaps(host, ids, signal) {
  const shown = ids.slice(0, MOST);
  const asked = { ids: shown.join(","), timeframe: "1h", start: new Date(Date.now() - 30 * DAY_MS).toISOString().slice(0, 13) + ":00Z" };
  try {
    const [pairs, gains] = await Promise.all([shown.length > 1 ? ask("correlation", asked, { signal }) : null, performances(shown, signal)]);
    put(host, h("header", {}, h("h2", {}, "Performance and correlation"), h("span", { class: "muted end" }, "correlation of hourly returns, 30 days")),
      h("div", { class: "columns" }, scroll("Performance", gains), pairs ? scroll("Correlation", correlation(shown, pairs.data)) : empty("One instrument only", "Correlation needs two.")),
      asCode({ path: "correlation", parameters: asked, python: `md.correlation(${JSON.stringify(shown)}, "1h", "${asked.start}")` }));
  } catch (error) {
    if (!signal.aborted) put(host, failed(error));
  }
}

async function performances(ids, signal) {
  const start = new Date(Date.now() - 370 * DAY_MS).toISOString().slice(0, 10);
  const all = await Promise.all(ids.map((id) => ask(`bars/${named(id)}`, { timeframe: "1d", start, columns: "open_time,close" }, { signal })));
  const cells = all.map(({ data }) => Object.values(SPANS).map((days) => {
    const since = Date.now() - (days + 1) * DAY_MS;
    const n = data.open_time.findLastIndex((at) => Date.parse(at) <= since);
    return n < 0 ? null : data.close.at(-1) / data.close[n] - 1;
  }));
  const most = Object.keys(SPANS).map((_, n) => Math.max(...cells.map((row) => Math.abs(row[n] ?? 0))));
  return heat(Object.keys(SPANS), ids.map(short), cells, change, (value, n) => value / most[n]);
}

function correlation(ids, { instrument, other, correlation: values }) {
  const known = new Map(values.flatMap((value, n) => [[`${instrument[n]} ${other[n]}`, value], [`${other[n]} ${instrument[n]}`, value]]));
  const cells = ids.map((one) => ids.map((another) => (one === another ? 1 : known.get(`${one} ${another}`))));
  return heat(ids.map(short), ids.map(short), cells, (value) => value.toFixed(2), (value) => value);
}

/** A table whose cells are shaded by `strength(value, column)`, -1 to 1. */
function heat(columns, rows, cells, shown, strength) {
  return h("table", { class: "heat" }, h("thead", {}, h("tr", {}, h("td", {}), columns.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((name, n) => h("tr", {}, h("th", { scope: "row" }, name), cells[n].map((value, column) => {
      if (value == null) return h("td", { class: "muted" }, NOTHING);
      const share = Math.min(1, Math.abs(strength(value, column)));
      return h("td", { css: { "--shade": value < 0 ? "var(--down-soft)" : "var(--up-soft)", "--strength": `${Math.round(share * 100)}%` } }, shown(value));
    })))));
}

const scroll = (name, content) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, content);
const short = (id) => id.split(":")[1];
