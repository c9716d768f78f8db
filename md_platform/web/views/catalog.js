// The catalog: instruments and what is kept of them, day by day. Address: #/catalog/INSTRUMENT?dataset=…&day=…

import { ask, named } from "../core/api.js";
import { link, remember } from "../core/address.js";
import { h, put } from "../core/dom.js";
import { ago, bytes, compact, count, day, share } from "../core/format.js";
import { shortcut } from "../core/shortcuts.js";
import { periodsOf, strip } from "../parts/calendar.js";
import { asCode, py } from "../parts/requests.js";
import { empty, failed, loading } from "../parts/states.js";
import { showCoverage } from "./coverage.js";

const FILTERS = ["search", "venue", "asset_class", "tag", "timeframe"];

export async function show(host, { argument, parameters }, signal) {
  const dataset = parameters.get("dataset") ?? "cleaned_bars";
  const asked = Object.fromEntries(FILTERS.map((name) => [name, parameters.get(name) ?? ""]));
  const [datasets, all, coverage] = await Promise.all([
    ask("datasets", {}, { signal }),
    everyInstrument(signal),
    everyCoverage(dataset, signal),
  ]);
  const list = h("div", { class: "panel list" });
  const detail = h("div", { class: "stack detail" });
  put(host, list, detail);
  drawList(list, { datasets, all, coverage, dataset, asked, chosen: argument, choose: (name) => (location.hash = link("catalog", argument, { ...asked, dataset: name })) });
  keys(list, signal);
  if (!argument) return put(detail, overview(datasets, all, dataset, asked));
  const instrument = all.find(({ id }) => id === argument) ?? (await ask(`instruments/${named(argument)}`, {}, { signal }));
  put(detail, loading(10));
  try {
    await showCoverage(detail, { instrument, datasets, dataset, day: parameters.get("day") }, signal);
  } catch (error) {
    if (!signal.aborted) put(detail, h("div", { class: "panel" }, failed(error)));
  }
}

async function everyInstrument(signal) {
  const found = [];
  let after = "";
  do {
    const page = await ask("instruments", { limit: 1000, after }, { signal });
    found.push(...page.instruments);
    after = page.next_after;
  } while (after);
  return found;
}

async function everyCoverage(dataset, signal) {
  const found = new Map();
  let after = "";
  do {
    const page = await ask(`datasets/${dataset}/coverage`, { limit: 500, after }, { signal });
    for (const each of page.instruments) found.set(each.instrument, { ...each, periods: periodsOf(each, page.legend, page.period) });
    after = page.next_after;
  } while (after);
  return found;
}

function drawList(host, { datasets, all, coverage, dataset, asked, chosen, choose }) {
  const body = h("tbody");
  const total = h("span", { class: "muted end" });
  const search = h("input", { type: "search", id: "search", placeholder: "Search instruments ( / )", "aria-label": "Search instruments", value: asked.search, oninput: () => filter("search", search.value) });
  const pick = (name, label, options) => h("select", { "aria-label": label, onchange: (event) => filter(name, event.target.value) },
    h("option", { value: "" }, label), options.map((each) => h("option", { value: each, selected: each === asked[name] }, each)));
  const different = (values) => [...new Set(values)].sort();
  const timeframes = [...new Set(datasets.flatMap((each) => each.timeframes))];
  const having = () => datasets.filter((each) => !asked.timeframe || each.timeframes.includes(asked.timeframe));
  put(host,
    h("header", {}, h("h2", {}, "Instruments"), total),
    h("div", { class: "filters" }, search,
      pick("venue", "Any venue", different(all.map(({ venue }) => venue))),
      pick("asset_class", "Any class", different(all.map((each) => each.asset_class))),
      pick("tag", "Any tag", different(all.flatMap(({ tags }) => tags))),
      h("select", { "aria-label": "Timeframe", onchange: (event) => {
        asked.timeframe = event.target.value;
        choose(having().some(({ name }) => name === dataset) ? dataset : having()[0].name);
      } }, h("option", { value: "" }, "Any timeframe"), timeframes.map((each) => h("option", { value: each, selected: each === asked.timeframe }, each))),
      h("select", { class: "two", "aria-label": "Dataset", onchange: (event) => choose(event.target.value) },
        having().map(({ name }) => h("option", { value: name, selected: name === dataset }, name)))),
    h("div", { class: "scroll rows", tabindex: "0", role: "region", "aria-label": "Instruments" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "Instrument"), h("th", {}, "Last 60 days"), h("th", { class: "num" }, "Quality"), h("th", { class: "num" }, "Newest day"))), body)));
  draw();

  function filter(name, value) {
    asked[name] = value;
    remember({ [name]: value });
    draw();
  }
  function draw() {
    const wanted = asked.search.toLowerCase();
    const found = all.filter((each) =>
      `${each.id} ${each.native} ${each.name}`.toLowerCase().includes(wanted)
      && (!asked.venue || each.venue === asked.venue)
      && (!asked.asset_class || each.asset_class === asked.asset_class)
      && (!asked.tag || each.tags.includes(asked.tag)));
    total.textContent = found.length === all.length ? count(all.length) : `${count(found.length)} of ${count(all.length)}`;
    put(body, found.map((each) => row(each, coverage.get(each.id), link("catalog", each.id, { ...asked, dataset }), each.id === chosen)));
    if (!found.length) put(body, h("tr", {}, h("td", { colspan: 4 }, all.length
      ? empty("Nothing matches", "Search in other words, or take a filter away.")
      : empty("No instruments yet", "`mdp up` registers those of MDP_INSTRUMENTS; `mdp instruments` and POST /api/v1/instruments add more."))));
  }
}

function row(instrument, known, href, isChosen) {
  const [venue, symbol] = instrument.id.split(":");
  return h("tr", { "data-href": href, "aria-selected": String(isChosen), onclick: () => (location.hash = href) },
    h("td", {}, h("a", { class: "instrument", href }, h("strong", {}, symbol), h("span", { class: "muted" }, venue)),
      instrument.status === "delisted" && h("span", { class: "tag" }, "delisted")),
    h("td", {}, known ? strip(known.periods) : h("span", { class: "muted" }, "nothing kept")),
    h("td", { class: "num" }, share(known?.score)),
    h("td", { class: "num muted" }, day(known?.last)));
}

/** What the whole platform keeps: shown as long as no instrument is chosen. */
function overview(datasets, all, chosen, asked) {
  const kept = datasets.filter(({ totals }) => totals.partitions);
  if (!kept.length) return h("div", { class: "panel" }, empty("Nothing is kept yet", "Choose an instrument and load days of it: they come from its venue, through Dagster."));
  const cell = (value) => h("td", { class: "num" }, value ? count(value) : h("span", { class: "muted" }, "0"));
  const sum = (name) => kept.reduce((total, { totals }) => total + totals[name], 0);
  const newest = kept.map(({ totals }) => totals.last_day).filter(Boolean).toSorted().at(-1);
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h("div", { class: "panel" },
    h("header", {}, h("h2", {}, "Datasets"), h("span", { class: "muted end" }, "choose an instrument for its days")),
    h("dl", { class: "facts figures" }, fact("Instruments", count(all.length)), fact("Partitions", count(sum("partitions"))), fact("Usable", share((sum("ok") + sum("degraded")) / (sum("partitions") - sum("closed") || 1))),
      fact("Rows", compact(sum("rows"))), fact("Size", bytes(sum("bytes"))), newest && fact("Newest day ended", ago(new Date(`${newest}T24:00Z`)))),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Datasets" }, h("table", { class: "tight" },
      h("thead", {}, h("tr", {}, h("th", {}, "Dataset"), h("th", { class: "wide" }, "What it is"),
        ["Instruments", "ok", "degraded", "failed", "missing", "Rows", "Size"].map((name) => h("th", { class: "num" }, name)), h("th", {}, "First and last"))),
      h("tbody", {}, kept.map(({ name, meaning, totals }) => h("tr", { "aria-selected": String(name === chosen) },
        h("td", {}, h("a", { href: link("catalog", "", { ...asked, dataset: name }) }, name)), h("td", { class: "wrap soft wide" }, meaning),
        cell(totals.instruments), cell(totals.ok), cell(totals.degraded), cell(totals.failed), cell(totals.missing),
        h("td", { class: "num" }, compact(totals.rows)), h("td", { class: "num" }, bytes(totals.bytes)),
        h("td", { class: "muted" }, day(totals.first_day), h("br"), day(totals.last_day))))))),
    asCode({ path: "datasets", python: `md.datasets()\nmd.coverage(${py(chosen)})` }));
}

function keys(list, signal) {
  const move = (by) => {
    const links = [...list.querySelectorAll("tbody a")];
    const now = links.indexOf(document.activeElement);
    const at = now < 0 ? links.findIndex((each) => each.closest("[aria-selected=true]")) : now;
    links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
  };
  const taken = [
    shortcut("/", "search instruments", () => list.querySelector("#search").focus()),
    shortcut("j", "next instrument (Enter opens it)", () => move(1)),
    shortcut("k", "instrument before", () => move(-1)),
  ];
  signal.addEventListener("abort", () => taken.forEach((take) => take()));
}
