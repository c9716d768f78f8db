// One instrument now: its book as a ladder and as depth, its trades, and where its volume was traded.

import { ask, named } from "../core/api.js";
import { link } from "../core/address.js";
import { h, put } from "../core/dom.js";
import { compact, decimals, direction, fixed, NOTHING, price } from "../core/format.js";
import { subscribe } from "../core/live.js";
import { depth, volumeProfile } from "../parts/figures.js";
import { asCode, py } from "../parts/requests.js";
import { empty } from "../parts/states.js";

const LEVELS = 10;
const SHOWN_TRADES = 40;

/** Fill `host` with book and trades, `profileHost` with the profile. */
export async function showInstrument(host, profileHost, id, signal) {
  const [base, quote] = id.split(":")[1].split("-");
  const book = h("section", { class: "panel", "aria-label": "Order book" });
  const tape = h("section", { class: "panel", "aria-label": "Trades" });
  const profile = h("section", { class: "panel", "aria-label": "Volume profile" });
  put(host, h("div", { class: "row" }, h("h2", {}, id), h("a", { class: "button end", href: link("chart", id) }, "Open chart")), book, tape);
  put(profileHost, profile);
  let trades = [];
  let waiting = null;
  const start = new Date(Date.now() - 86400000).toISOString();
  const [top, recent, day] = await Promise.all([
    ask(`orderbook/${named(id)}`, { depth: LEVELS }, { signal }).catch(nothing),
    ask(`trades/${named(id)}`, { limit: SHOWN_TRADES }, { signal }).catch(nothing),
    ask(`bars/${named(id)}`, { timeframe: "5m", start, columns: "high,low,volume" }, { signal }).catch(nothing),
  ]);
  drawBook(top?.bids ?? [], top?.asks ?? []);
  trades = (recent?.data.ts_event ?? []).map((at, n) => ({ at: Date.parse(at), price: recent.data.price[n], size: recent.data.size[n], side: recent.data.taker_side[n] })).reverse();
  drawTape();
  drawProfile(day?.data);
  const ends = [
    subscribe("book", id, "", (events) => later("book", events.at(-1))),
    subscribe("trades", id, "", (events) => later("trades", events)),
  ];
  signal.addEventListener("abort", () => ends.forEach((end) => end()));

  /** Draw what came once a frame. */
  function later(kind, what) {
    if (!waiting) {
      waiting = { trades: [] };
      requestAnimationFrame(() => {
        const { book: newest, trades: came } = waiting;
        waiting = null;
        if (newest) drawBook(newest[4].slice(0, LEVELS), newest[5].slice(0, LEVELS));
        if (!came.length) return;
        trades = [...came.map(([, , at, , , paid, size, side]) => ({ at: at / 1e6, price: paid, size, side })).reverse(), ...trades].slice(0, SHOWN_TRADES);
        drawTape();
      });
    }
    if (kind === "book") waiting.book = what;
    else waiting.trades.push(...what);
  }

  function drawBook(bids, asks) {
    const isOpen = book.querySelector("details")?.open ?? false;
    if (!bids.length && !asks.length) return put(book, h("header", {}, h("h2", {}, "Order book")), empty("No order book", `${id} is not streamed, or its venue sends none.`));
    const most = Math.max(...[...bids, ...asks].map(([, size]) => size));
    const digits = decimals((bids[0] ?? asks[0])[0]);
    const rows = (side, levels) => {
      let total = 0;
      return levels.map(([at, size]) => h("tr", { class: side, css: { "--share": `${(size / most) * 100}%` } },
        h("td", { class: `num ${side === "bid" ? "up" : "down"}` }, fixed(at, digits)), h("td", { class: "num size" }, fixed(size, 5)), h("td", { class: "num soft" }, fixed((total += size), 5))));
    };
    const spread = bids.length && asks.length ? asks[0][0] - bids[0][0] : null;
    const words = spread === null ? NOTHING : `spread ${fixed(spread, digits)} ${quote}, ${Number(((spread / asks[0][0]) * 10000).toPrecision(2))} bp`;
    put(book, h("header", {}, h("h2", {}, "Order book"), h("span", { class: "muted end" }, words)), h("div", { class: "body" }, depth(bids, asks, base)),
      h("table", { class: "ladder" }, h("thead", {}, h("tr", {}, h("th", { class: "num" }, `Price, ${quote}`), h("th", { class: "num" }, `Size, ${base}`), h("th", { class: "num" }, "Total"))),
        h("tbody", {}, rows("ask", asks).reverse(), h("tr", { class: "spread" }, h("td", { colspan: 3 })), rows("bid", bids))),
      asCode({ path: `orderbook/${named(id)}`, parameters: { depth: LEVELS }, python: `md.orderbook(${py(id)}, ${LEVELS})` }));
    book.querySelector("details").open = isOpen;
  }

  function drawTape() {
    put(tape, h("header", {}, h("h2", {}, "Trades"), h("span", { class: "muted end" }, "newest first")),
      trades.length ? h("div", { class: "scroll tape", tabindex: "0", role: "region", "aria-label": "Trades" }, h("table", {}, h("tbody", {}, trades.map(({ at, price: paid, size, side }) =>
        h("tr", {}, h("td", { class: "muted" }, new Date(at).toISOString().slice(11, 23)), h("td", { class: `num ${direction(side === "buy" ? 1 : side === "sell" ? -1 : 0)}` }, price(paid)), h("td", { class: "num" }, fixed(size, 5)), h("td", { class: "muted" }, side ?? ""))))))
        : empty("No trades", "None came within a day."));
  }

  function drawProfile(bars) {
    const rows = (bars?.volume ?? []).map((volume, n) => ({ volume, high: bars.high[n], low: bars.low[n] }));
    put(profile, h("header", {}, h("h2", {}, "Volume by price"), h("span", { class: "muted end" }, rows.length ? `24 hours, ${compact(rows.reduce((sum, { volume }) => sum + volume, 0))} ${base} in all` : "")),
      rows.length ? h("div", { class: "body" }, volumeProfile(rows, base)) : empty("No bars of a day", "Load or stream this instrument first."),
      asCode({ path: `bars/${named(id)}`, parameters: { timeframe: "5m", start, columns: "high,low,volume" }, python: `md.bars(${py(id)}, "5m", ${py(start)})` }));
  }
}

/** What the API does not know is drawn as empty; anything else is an error. */
function nothing(error) {
  if (error.status !== 404) throw error;
  return null;
}
