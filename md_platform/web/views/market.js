// The market: every instrument live, who moved, and the book, trades and volume of the one that is chosen.
// Address: #/market/INSTRUMENT

import { ask, named } from "../core/api.js";
import { link } from "../core/address.js";
import { h, put } from "../core/dom.js";
import { change, compact, direction, NOTHING, price } from "../core/format.js";
import { subscribe } from "../core/live.js";
import { shortcut } from "../core/shortcuts.js";
import { sparkline } from "../parts/figures.js";
import { asCode } from "../parts/requests.js";
import { empty } from "../parts/states.js";
import { heatMaps } from "./heat_maps.js";
import { showInstrument } from "./instrument.js";

const MOST_LIVE = 60;
const AGAIN_MS = 30000;

export async function show(host, { argument }, signal) {
  const { instruments } = await ask("instruments", { status: "active", limit: 100 }, { signal });
  const ids = instruments.map(({ id }) => id);
  if (!ids.length) return put(host, h("div", { class: "panel" }, empty("No instruments yet", "Register and load some first.")));
  const chosen = argument || ids[0];
  const table = h("section", { class: "panel", "aria-label": "Prices" });
  const movers = h("section", { class: "panel", "aria-label": "Movers" });
  const maps = h("section", { class: "panel", "aria-label": "Heat maps" });
  const profile = h("div", { class: "profile" });
  const side = h("div", { class: "stack side" });
  const rows = new Map();
  let order = { by: null, isUp: false };
  const latest = await ask("latest", { ids: ids.join(",") }, { signal });
  drawTable(latest);
  put(host, h("h1", { class: "sr" }, "Market"), h("div", { class: "stack" }, table, movers, maps, profile), side);
  const known = latest.map(({ instrument }) => instrument);
  const ends = known.slice(0, MOST_LIVE).map((id) => subscribe("trades", id, "", (trades) => traded(id, trades.at(-1))));
  const timer = setInterval(() => document.hidden || again().catch(() => null), AGAIN_MS);
  const keys = ["j", "k"].map((key, n) => shortcut(key, n ? "instrument before" : "next instrument", () => step(n ? -1 : 1)));
  signal.addEventListener("abort", () => {
    [...ends, ...keys].forEach((end) => end());
    clearInterval(timer);
  });
  await Promise.all([drawMovers(), sparklines(known), heatMaps(maps, known, signal), showInstrument(side, profile, chosen, signal)]);

  function drawTable(all) {
    const found = new Map(all.map((each) => [each.instrument, each]));
    const body = h("tbody", {}, ids.map((id) => row(id, found.get(id))));
    const column = (name, key, kind) => h("th", { class: kind, "aria-sort": "none" }, h("button", { class: "sorter", onclick: (event) => sort(body, key, event.currentTarget.parentElement) }, name));
    put(table, h("header", {}, h("h2", {}, "Prices"), h("span", { class: "muted end" }, "over 24 hours")),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Prices" }, h("table", {},
        h("thead", {}, h("tr", {}, column("Instrument", "id", ""), column("Price", "last", "num"), column("Change", "gained", "num"), h("th", {}, "Day"), column("Traded", "traded", "num"), ["Low", "High"].map((name) => h("th", { class: "num wide" }, name)))),
        body)),
      asCode({ path: "latest", parameters: { ids: ids.join(",") }, python: `md.latest(${JSON.stringify(ids)})\nfor batch in md.stream(trades=${JSON.stringify(ids)}):\n    print(batch.frame())` }));
  }

  /** Order the rows by a column, the greatest first, and turn that round at the second time. */
  function sort(body, by, head) {
    order = { by, isUp: order.by === by ? !order.isUp : by === "id" };
    head.parentElement.querySelectorAll("[aria-sort]").forEach((each) => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", order.isUp ? "ascending" : "descending");
    const value = (cells) => cells[by] ?? -Infinity;
    const sorted = [...rows.values()].sort((a, b) => (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0) * (order.isUp ? 1 : -1));
    body.append(...sorted.map(({ element }) => element));
  }

  function row(id, found) {
    const href = link("market", id);
    const cells = { id, price: h("td", { class: "num price" }, price(found?.price)), change: h("td", { class: "num" }), spark: h("td", {}), volume: h("td", { class: "num" }), low: h("td", { class: "num wide" }), high: h("td", { class: "num wide" }), last: found?.price };
    rows.set(id, cells);
    fill(cells, found);
    const [venue, symbol] = id.split(":");
    cells.element = h("tr", { "data-href": href, "aria-selected": String(id === chosen), onclick: () => (location.hash = href) },
      h("td", {}, h("a", { class: "instrument", href }, h("strong", {}, symbol), h("span", { class: "muted" }, venue))), cells.price, cells.change, cells.spark, cells.volume, cells.low, cells.high);
    return cells.element;
  }
  function fill(cells, found) {
    const day = found?.day;
    const moved = day && found.price / day.open - 1;
    Object.assign(cells, { open: day?.open, gained: moved, traded: day?.quote_volume });
    cells.change.className = `num ${direction(moved)}`;
    cells.change.textContent = day ? change(moved) : NOTHING;
    const [base, quote] = cells.id.split(":")[1].split("-");
    cells.volume.textContent = !day ? NOTHING : day.quote_volume == null ? `${compact(day.volume)} ${base}` : `${compact(day.quote_volume)} ${quote}`;
    cells.low.textContent = price(day?.low);
    cells.high.textContent = price(day?.high);
  }
  function traded(id, [, , , , , at]) {
    const cells = rows.get(id);
    if (at === cells.last) return;
    cells.price.className = `num price flash-${at > cells.last ? "up" : "down"}`;
    cells.price.getAnimations().forEach((each) => { each.cancel(); each.play(); });
    cells.price.textContent = price(at);
    cells.last = at;
    if (!cells.open) return;
    cells.gained = at / cells.open - 1;
    cells.change.className = `num ${direction(cells.gained)}`;
    cells.change.textContent = change(cells.gained);
  }
  async function again() {
    for (const each of await ask("latest", { ids: ids.join(",") }, { signal })) fill(rows.get(each.instrument), each);
    await Promise.all([drawMovers(), sparklines(known)]);
  }
  async function sparklines(of) {
    const start = new Date(Date.now() - 86400000).toISOString();
    await Promise.all(of.map(async (id) => {
      const { data } = await ask(`bars/${named(id)}`, { timeframe: "30m", start, columns: "close" }, { signal });
      put(rows.get(id).spark, sparkline(data.close));
    }));
  }
  async function drawMovers() {
    const summaries = await ask("market-summary", { limit: 5 }, { signal });
    const all = (name) => summaries.flatMap((each) => each[name].map((one) => ({ ...one, quote: each.quote })));
    const list = (title, found, shown) => h("div", {}, h("h3", {}, title), found.length ? h("ul", { class: "plain" }, found.slice(0, 5).map((one) =>
      h("li", {}, h("a", { href: link("market", one.instrument) }, one.instrument.split(":")[1]), shown(one)))) : h("p", { class: "muted" }, "None has 24 h known whole"));
    const moved = ({ value }) => h("span", { class: direction(value) }, change(value));
    put(movers, h("header", {}, h("h2", {}, "Movers")), h("div", { class: "movers" },
      list("Gainers", all("gainers").toSorted((a, b) => b.value - a.value), moved), list("Losers", all("losers").toSorted((a, b) => a.value - b.value), moved),
      list("Most traded", all("volume_leaders"), ({ value, quote }) => h("span", {}, `${compact(value)} ${quote}`))),
      asCode({ path: "market-summary", python: "md.market_summary()" }));
  }
  function step(by) {
    const at = Math.max(0, Math.min(ids.length - 1, ids.indexOf(chosen) + by));
    location.hash = link("market", ids[at]);
  }
}
