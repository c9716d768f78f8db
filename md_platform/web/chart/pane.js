// One chart: candles and volume of an instrument in one timeframe, with indicators, comparisons, gaps and drawings.

import * as charts from "../vendor/lightweight-charts/lightweight-charts.mjs";
import { token } from "../core/dom.js";
import { decimals, fixed } from "../core/format.js";
import { Gaps, Marks } from "./primitives.js";

const COLOURS = ["#3b82f6", "#d97706", "#8b5cf6", "#0d9488", "#db2777", "#65a30d", "#0891b2", "#b45309"];

export class Pane {
  constructor(host) {
    this.bars = [];
    this.lines = [];
    this.others = [];
    this.chart = charts.createChart(host, { autoSize: true, layout: { attributionLogo: false }, timeScale: { timeVisible: true, rightOffset: 6, minBarSpacing: 0.05 }, crosshair: { mode: 0 } });
    this.kind = null;
    this.place = (time) => this.x(time);
    this.paint();
  }

  /** Take colours from the page's tokens. */
  paint() {
    const line = token("line");
    this.chart.applyOptions({
      layout: { background: { color: token("panel") }, textColor: token("ink-2"), panes: { separatorColor: line }, fontFamily: getComputedStyle(document.body).fontFamily },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      rightPriceScale: { borderColor: line, scaleMargins: { top: 0.12, bottom: 0.18 } }, timeScale: { borderColor: line },
    });
    this.price?.applyOptions(this.priceColours());
    this.drawVolume();
  }

  priceColours() {
    const [up, down, accent] = [token("up"), token("down"), token("accent")];
    return this.kind === "candles"
      ? { upColor: up, wickUpColor: up, borderUpColor: up, downColor: down, wickDownColor: down, borderDownColor: down }
      : { color: accent, lineColor: accent, topColor: `${accent}55`, bottomColor: `${accent}05` };
  }

  /** Draw as candles, line or area. */
  setKind(kind) {
    if (kind === this.kind) return;
    this.kind = kind;
    const type = { candles: charts.CandlestickSeries, line: charts.LineSeries, area: charts.AreaSeries }[kind];
    if (this.price) this.chart.removeSeries(this.price);
    if (this.volume) this.chart.removeSeries(this.volume);
    this.price = this.chart.addSeries(type, { ...this.priceColours(), lineWidth: 2 }, 0);
    this.volume = this.chart.addSeries(charts.HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false }, 0);
    this.chart.priceScale("volume", 0).applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.gaps = new Gaps(() => ({ ground: `${token("ink-3")}26`, ink: token("ink-2") }));
    this.marks = new Marks(() => token("accent"));
    this.price.attachPrimitive(this.gaps);
    this.price.attachPrimitive(this.marks);
  }

  /** Show `bars` and `gaps`; the view stays where it was, or shows `[from, to]`. */
  setBars({ bars, gaps }, seconds, view = this.view()) {
    this.bars = bars;
    this.seconds = seconds;
    const last = bars.findLast((bar) => bar.close !== undefined);
    if (last) this.digits = decimals(last.close);
    this.price.applyOptions({ priceFormat: shown(this.digits) });
    this.price.setData(this.kind === "candles" ? bars : broken(closes(bars), this.seconds));
    this.drawVolume();
    this.gaps.set(gaps, this.place);
    if (view) this.show(view);
  }

  drawVolume() {
    if (!this.volume) return;
    const [up, down] = [`${token("up")}66`, `${token("down")}66`];
    this.volume.setData(this.bars.map(({ time, open, close, volume }) => (volume === undefined ? { time } : { time, value: volume, color: close >= open ? up : down })));
  }

  /** Take the bar that runs, or the next one. */
  move(bar) {
    const last = this.bars.at(-1);
    if (last && bar.time < last.time) return;
    if (last?.time === bar.time) this.bars[this.bars.length - 1] = bar;
    else this.bars.push(bar);
    this.price.update(this.kind === "candles" ? bar : { time: bar.time, value: bar.close });
    this.volume.update({ time: bar.time, value: bar.volume, color: `${token(bar.close >= bar.open ? "up" : "down")}66` });
  }

  /** Lines of indicators, over the price or in panes below, one a spec. */
  setIndicators(lines) {
    for (const { series } of this.lines) this.chart.removeSeries(series);
    const panes = [...new Set(lines.filter(({ isOverlay }) => !isOverlay).map(({ spec }) => spec))];
    this.lines = lines.map((line, n) => {
      const colour = COLOURS[n % COLOURS.length];
      const type = line.isHistogram ? charts.HistogramSeries : charts.LineSeries;
      const options = { color: line.isHistogram ? `${colour}88` : colour, lineWidth: 1.5, priceLineVisible: false, lastValueVisible: !line.isOverlay, lineVisible: !line.isDots, pointMarkersVisible: line.isDots };
      const size = Math.max(...line.points.slice(-500).map(({ value }) => Math.abs(value ?? 0)));
      const digits = line.isOverlay ? this.digits : decimals(size * 10);
      const series = this.chart.addSeries(type, { ...options, priceFormat: shown(digits) }, panes.indexOf(line.spec) + 1);
      series.setData(line.isHistogram ? line.points : broken(line.points, this.seconds));
      return { ...line, colour, digits, series };
    });
    this.chart.panes().forEach((pane, n) => pane.setStretchFactor(n ? 1 : 3));
  }

  /** Closes of other instruments; all are rebased to per cent then. */
  setComparisons(others) {
    for (const { series } of this.others) this.chart.removeSeries(series);
    this.others = others.map(({ instrument, bars }, n) => {
      const colour = COLOURS[(n + 3) % COLOURS.length];
      const series = this.chart.addSeries(charts.LineSeries, { color: colour, lineWidth: 1.5, priceLineVisible: false, title: instrument.split(":")[1] }, 0);
      series.setData(broken(closes(bars), this.seconds));
      return { instrument, colour, bars, series };
    });
    this.chart.priceScale("right").applyOptions({ mode: others.length ? charts.PriceScaleMode.Percentage : charts.PriceScaleMode.Normal });
  }

  setMarks(marks) {
    this.marks.set(marks, this.place);
  }

  /** The seconds that are to be seen, from the left edge to the right one; beyond the bars too. */
  view() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    return range && this.bars.length ? [this.timeAt(range.from), this.timeAt(range.to)] : null;
  }

  /** The index of the last bar that is to be seen, of the last one where there is none. */
  lastShown() {
    const right = this.chart.timeScale().getVisibleLogicalRange()?.to ?? Infinity;
    const found = this.bars.findLastIndex(({ close }, n) => n <= right && close !== undefined);
    return found < 0 ? this.bars.length - 1 : found;
  }

  show([from, to]) {
    this.chart.timeScale().setVisibleLogicalRange({ from: this.indexOf(from), to: this.indexOf(to) });
  }

  timeAt(index) {
    const n = Math.max(0, Math.min(this.bars.length - 1, Math.round(index)));
    return this.bars[n].time + (index - n) * this.seconds;
  }

  indexOf(time) {
    const { bars } = this;
    if (!bars.length) return 0;
    let [low, high] = [0, bars.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (bars[middle].time <= time) low = middle;
      else high = middle - 1;
    }
    return low + (time - bars[low].time) / this.seconds;
  }

  x(time) {
    const index = this.indexOf(time);
    const scale = this.chart.timeScale();
    const left = scale.logicalToCoordinate(Math.floor(index));
    return left == null ? null : left + (index - Math.floor(index)) * scale.options().barSpacing;
  }

  /** The time and price at a place of the chart. */
  at(point) {
    const index = this.chart.timeScale().coordinateToLogical(point.x);
    const price = this.price.coordinateToPrice(point.y);
    return index == null || price == null ? null : { time: Math.round(this.timeAt(index)), price };
  }

  /** Move the view by a share of its width, or make it so many times as wide about its right edge. */
  pan(share) {
    const [from, to] = this.view();
    this.show([from + (to - from) * share, to + (to - from) * share]);
  }

  zoom(times) {
    const [from, to] = this.view();
    this.show([to - (to - from) * times, to]);
  }

  close() {
    this.chart.remove();
  }
}

const shown = (digits = 2) => ({ type: "custom", minMove: 10 ** -digits, formatter: (value) => fixed(value, digits) });
const closes = (bars) => bars.map(({ time, close }) => (close === undefined ? { time } : { time, value: close }));

/** Points of which none is joined with one beyond a hole: nothing is known in between. A point's colour is that of the
 *  line to the next one. */
function broken(points, seconds) {
  return points.map((point, n) => {
    const next = points[n + 1];
    const isLast = next && (next.value === undefined || next.time - point.time > 1.5 * seconds);
    return point.value !== undefined && isLast ? { ...point, color: "transparent" } : point;
  });
}
