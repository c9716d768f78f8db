// Small pictures in SVG: a sparkline, the depth of a book, a profile of volume by price.

import { h, svg } from "../core/dom.js";
import { compact, price } from "../core/format.js";

const HEIGHT = 190;
const width = () => (innerWidth < 760 ? 330 : 600); // as wide as they will be about, so that letters keep their size

/** `values` as a line. */
export function sparkline(values) {
  const [wide, height] = [110, 24];
  if (values.length < 2) return h("span", { class: "muted" }, "–");
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const y = (value) => height - 2 - ((value - low) / (high - low || 1)) * (height - 4);
  const path = values.map((value, n) => `${n ? "L" : "M"}${((n / (values.length - 1)) * wide).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return svg("svg", { class: "spark", width: wide, height, role: "img", "aria-label": `from ${price(values[0])} to ${price(values.at(-1))}` }, svg("path", { d: path }));
}

/** What stands in a book up to each price: `[[price, size], …]` from the best on; sizes are of `unit`. */
export function depth(bids, asks, unit) {
  const [wide, height] = [width(), HEIGHT];
  const sums = (levels) => {
    let total = 0;
    return levels.map(([at, size]) => [at, (total += size)]);
  };
  const [below, above] = [sums(bids), sums(asks)];
  const most = Math.max(below.at(-1)?.[1] ?? 0, above.at(-1)?.[1] ?? 0) || 1;
  const [low, high] = [below.at(-1)?.[0] ?? above[0][0], above.at(-1)?.[0] ?? below[0][0]];
  const x = (at) => ((at - low) / (high - low || 1)) * wide;
  const y = (total) => height - 18 - (total / most) * (height - 34);
  const area = (levels) => {
    const steps = levels.map(([at, total], n) => `${n ? `H${x(at)}` : ""}V${y(total)}`).join("");
    return `M${x(levels[0][0])} ${height - 18}${steps}V${height - 18}Z`;
  };
  return svg("svg", { class: "figure", viewBox: `0 0 ${wide} ${height}`, role: "img", "aria-label": `Depth: ${compact(below.at(-1)?.[1])} ${unit} bid, ${compact(above.at(-1)?.[1])} asked` },
    below.length > 0 && svg("path", { d: area(below), fill: "var(--up-soft)", stroke: "var(--up)" }),
    above.length > 0 && svg("path", { d: area(above), fill: "var(--down-soft)", stroke: "var(--down)" }),
    [most, most / 2].map((total) => [svg("path", { d: `M0 ${y(total)}H${wide}`, stroke: "var(--line-2)", "stroke-dasharray": "2 4" }), label(wide / 2, y(total) - 3, "middle", `${compact(total)} ${unit}`)]),
    [[low, "start", 2], [(low + high) / 2, "middle", wide / 2], [high, "end", wide - 2]].map(([at, anchor, left]) => label(left, height - 4, anchor, price(at))));
}

const label = (x, y, anchor, words) => svg("text", { x, y, "text-anchor": anchor, "font-size": 11, fill: "var(--ink-2)" }, words);

/** Volume by price of `bars` (`{high, low, volume}`), in `unit`: each bar's volume is spread evenly over its prices. */
export function volumeProfile(bars, unit, rows = 24) {
  const [wide, height] = [innerWidth > 1100 ? 780 : width(), HEIGHT];
  const [low, high] = [Math.min(...bars.map((bar) => bar.low)), Math.max(...bars.map((bar) => bar.high))];
  const step = (high - low) / rows || 1;
  const totals = new Array(rows).fill(0);
  for (const bar of bars) {
    const [first, last] = [bar.low, bar.high].map((at) => Math.min(rows - 1, Math.floor((at - low) / step)));
    for (let n = first; n <= last; n += 1) totals[n] += bar.volume / (last - first + 1);
  }
  const most = Math.max(...totals);
  const peak = totals.indexOf(most);
  const each = (height - 4) / rows;
  return svg("svg", { class: "figure", viewBox: `0 0 ${wide} ${height}`, role: "img", "aria-label": `Most was traded at ${price(low + (peak + 0.5) * step)}` },
    totals.map((total, n) => svg("rect", { x: 96, y: height - (n + 1) * each, width: (total / most) * (wide - 104), height: each - 1.5, rx: 2, fill: n === peak ? "var(--accent)" : "var(--line-2)" }, svg("title", {}, `${price(low + n * step)} – ${price(low + (n + 1) * step)}: ${compact(total)} ${unit}`))),
    [0, peak, rows - 1].filter((n, at, all) => all.indexOf(n) === at).map((n) => label(88, Math.min(height - 4, height - n * each - each / 2 + 4), "end", price(low + (n + 0.5) * step))));
}
