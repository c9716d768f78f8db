// One chart that loads what it shows: finer bars as one zooms in, older ones as one goes back, the running bar as it moves.

import { h, put } from "../core/dom.js";
import { change, compact, direction, fixed, price, time as timeText } from "../core/format.js";
import { onRestored, subscribe } from "../core/live.js";
import { onTheme } from "../core/theme.js";
import { empty, failed, loading } from "../parts/states.js";
import { explain, fitting, load, SECONDS } from "./bars.js";
import { values } from "./indicators.js";
import { Pane } from "./pane.js";

const SETTLED_MS = 160;
const LEAST_BARS = 60; // that the first view is wide, however little there is
const COARSE = 5000; // bars to see at once, after which longer ones are drawn

export class ChartWindow {
  /** `state`: instrument, timeframe, kind, specs, others, end (null: now), bars; `told` hears of what is drawn. */
  constructor(state, signal, told) {
    Object.assign(this, { state, signal, told });
    this.legend = h("div", { class: "legend-box" });
    this.canvas = h("div", { class: "canvas", role: "img", "aria-label": `Chart of ${state.instrument}` });
    this.cover = h("div", { class: "cover" }, loading(4));
    this.element = h("div", { class: "window" }, this.canvas, this.legend, this.cover);
  }

  /** Load and draw for the first time. */
  async start() {
    const { state, signal } = this;
    this.pane = new Pane(this.canvas);
    this.pane.setKind(state.kind);
    signal.addEventListener("abort", () => this.close());
    this.offTheme = onTheme(() => this.pane.paint());
    this.offRestored = onRestored(() => this.reload());
    const end = state.end ? Date.parse(state.end) / 1000 : Date.now() / 1000;
    const seconds = SECONDS[state.timeframe];
    this.isLive = !state.end;
    await this.fetch([end - state.bars * seconds, end + (this.isLive ? seconds * 6 : 0)]);
    const scale = this.pane.chart.timeScale();
    scale.subscribeVisibleLogicalRangeChange(() => this.moved());
    this.pane.chart.subscribeCrosshairMove((event) => this.pointed(event));
    this.hearClicks();
  }

  /** Clicks by the browser's own event: the library leaves out a second one that comes soon. A drag is none. */
  hearClicks() {
    let pressed = null;
    this.canvas.addEventListener("pointerdown", (event) => (pressed = event), true);
    this.canvas.addEventListener("click", (event) => {
      if (!pressed || Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY) > 4) return;
      const box = this.canvas.getBoundingClientRect();
      this.onClick?.(this.pane.at({ x: event.clientX - box.left, y: event.clientY - box.top }));
    }, true);
  }

  /** Load what `view` needs, with as much on both sides, and draw it. */
  async fetch(view) {
    const { state } = this;
    const width = view[1] - view[0];
    const asked = [Math.max(view[0] - width, 0), Math.min(view[1] + width, Date.now() / 1000 + SECONDS[state.timeframe])];
    this.fetching?.abort();
    const fetching = new AbortController();
    this.fetching = fetching;
    this.signal.addEventListener("abort", () => fetching.abort(), { once: true });
    try {
      const found = await load(state.instrument, state.timeframe, ...asked, fetching.signal);
      const [lines, others] = await Promise.all([
        values(state.instrument, found.timeframe, ...asked, state.specs, fetching.signal),
        Promise.all(state.others.map(async (instrument) => ({ instrument, ...(await load(instrument, found.timeframe, ...asked, fetching.signal)) }))),
      ]);
      if (fetching.signal.aborted) return;
      this.draw(found, lines, others, asked, this.pane.view() ?? begun(found.bars, view, SECONDS[found.timeframe]));
      await explain(state.instrument, found.gaps.filter(({ from, to }) => to > view[0] && from < view[1]).slice(-20), fetching.signal);
      if (fetching.signal.aborted) return;
      this.pane.gaps.set(found.gaps, this.pane.place);
      this.describe();
    } catch (error) {
      if (!fetching.signal.aborted) put(this.cover, failed(error, () => this.reload()));
    }
  }

  draw(found, lines, others, asked, view) {
    const { state } = this;
    const hasBars = found.bars.some(({ close }) => close !== undefined);
    Object.assign(this, { loaded: asked, drawn: found.timeframe, gaps: found.gaps });
    this.pane.setBars(found, SECONDS[found.timeframe], view);
    this.pane.setIndicators(lines);
    this.pane.setComparisons(others);
    this.cover.hidden = hasBars || this.pane.bars.length > 0;
    if (!hasBars) {
      this.cover.hidden = false;
      put(this.cover, empty("No bars in this range", `Nothing is kept of ${state.instrument} here, and nothing was streamed.`,
        h("a", { class: "button", href: `#/catalog/${state.instrument}` }, "See what is kept")));
    }
    this.follow();
    this.describe();
    this.told({ timeframe: found.timeframe, count: found.bars.length, view });
  }

  reload() {
    return this.fetch(this.pane.view() ?? this.loaded);
  }

  /** Take other indicators, comparisons or another kind. */
  async change(changes) {
    const view = this.pane.view();
    Object.assign(this.state, changes);
    this.pane.setKind(this.state.kind);
    if (view) await this.fetch(view);
  }

  moved() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      const view = this.pane.view();
      if (!view || this.signal.aborted) return;
      const width = view[1] - view[0];
      const shown = width / SECONDS[this.drawn];
      const couldBeFiner = SECONDS[fitting(this.state.timeframe, width * 3)] < SECONDS[this.drawn];
      const isTooFine = shown > COARSE;
      const isAtEdge = view[0] < this.loaded[0] + width * 0.2 && this.loaded[0] > 0;
      const isAtEnd = view[1] > this.loaded[1] - width * 0.05 && this.loaded[1] < Date.now() / 1000 - SECONDS[this.drawn];
      this.told({ timeframe: this.drawn, count: this.pane.bars.length, view });
      if (!this.pointedAt) this.describe();
      this.onView?.(view);
      if (couldBeFiner || isTooFine || isAtEdge || isAtEnd) this.fetch(view);
    }, SETTLED_MS);
  }

  /** Hear of the running bar, once a frame at most. */
  follow() {
    if (this.following === this.drawn || !this.isLive) return;
    this.unfollow?.();
    this.following = this.drawn;
    let waiting = null;
    this.unfollow = subscribe("bars", this.state.instrument, this.drawn, (events) => {
      if (!waiting) requestAnimationFrame(() => {
        for (const bar of waiting) this.pane.move(bar);
        waiting = null;
        if (!this.pointedAt) this.describe();
      });
      waiting = (waiting ?? []).concat(events.map(([, , , opened, , open, high, low, close, volume]) => ({ time: opened / 1e9, open, high, low, close, volume })));
    });
  }

  pointed({ time }) {
    this.describe(time);
    this.onPointed?.(time);
  }

  /** Say in the legend what stands at `time`; without one, at the last bar that is to be seen. */
  describe(time) {
    this.pointedAt = time ?? null;
    const index = this.pointedAt ? Math.round(this.pane.indexOf(time)) : this.pane.lastShown();
    const bar = this.pane.bars[index];
    if (!bar) return put(this.legend);
    const gap = bar.close === undefined && this.gaps.find(({ from, to }) => bar.time >= from && bar.time < to);
    const value = (name, text) => h("span", {}, h("span", { class: "muted" }, name), " ", text);
    const head = [h("strong", {}, this.state.instrument.split(":")[1]), h("span", { class: "muted" }, `${this.drawn}  ${timeText(bar.time * 1000)} UTC`)];
    const body = gap
      ? [h("span", {}, `No bars ${timeText(gap.from * 1000)} – ${timeText(gap.to * 1000)}: ${gap.cause ?? "looking for the cause…"}`)]
      : [value("O", price(bar.open)), value("H", price(bar.high)), value("L", price(bar.low)), value("C", price(bar.close)),
        h("span", { class: direction(bar.close - bar.open) }, change(bar.close / bar.open - 1)), value("V", compact(bar.volume))];
    const bySpec = Map.groupBy(this.pane.lines, ({ spec }) => spec);
    put(this.legend, h("div", { class: "ohlc" }, head, body),
      [...bySpec].map(([spec, lines]) => h("div", { "data-spec": spec }, h("span", { class: "muted" }, spec), lines.map(({ colour, digits, points }) =>
        h("span", { class: "line", css: { "--line-colour": colour } }, fixed(points.findLast(({ time: at }) => at <= bar.time)?.value, digits))))),
      this.pane.others.map(({ instrument, colour, bars }) => h("div", {},
        h("span", { class: "line", css: { "--line-colour": colour } }, instrument), h("span", {}, change(this.gained(bars, bar.time))), h("span", { class: "muted" }, "since the left edge"))));
  }

  /** What `bars` gained from the left edge until `time`. */
  gained(bars, time) {
    const [left] = this.pane.view();
    const first = bars.find((bar) => bar.time > left - this.pane.seconds && bar.close !== undefined);
    const last = bars.findLast((bar) => bar.time <= time && bar.close !== undefined);
    return first && last ? last.close / first.close - 1 : null;
  }

  /** Show the crosshair at `time` of another chart. */
  mirror(time) {
    const bar = time && this.pane.bars[Math.floor(this.pane.indexOf(time))];
    if (bar?.close === undefined) this.pane.chart.clearCrosshairPosition();
    else this.pane.chart.setCrosshairPosition(bar.close, bar.time, this.pane.price);
    this.describe(bar?.time); // a crosshair that is set says nothing by itself
  }

  /** Have the right edge at `time`, as wide as it is. */
  align(time) {
    const view = this.pane.view();
    if (view && Math.abs(view[1] - time) > SECONDS[this.drawn]) this.pane.show([time - (view[1] - view[0]), time]);
  }

  close() {
    clearTimeout(this.settling);
    this.unfollow?.();
    this.offTheme();
    this.offRestored();
    this.pane.close();
  }
}

/** `view`, or less of it where its data begin inside. */
function begun(bars, [from, to], seconds) {
  const first = bars.find(({ close }) => close !== undefined)?.time;
  return first > from ? [Math.min(first - seconds, to - LEAST_BARS * seconds), to] : [from, to];
}
