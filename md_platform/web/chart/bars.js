// Bars of a range for a chart: what is to be drawn, and the gaps in it. Times are seconds since the epoch.

import { ask, named } from "../core/api.js";

export const SECONDS = { "1s": 1, "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14400, "1d": 86400, "1w": 604800, "1M": 2592000 };
export const TIMEFRAMES = Object.keys(SECONDS);
const MAX_POINTS = 9000;
const COLUMNS = "open_time,open,high,low,close,volume,is_filled";

/** The timeframe that the API draws so many seconds in: the shortest, `asked` or longer, that has few enough bars. */
export function fitting(asked, seconds) {
  const longer = TIMEFRAMES.slice(TIMEFRAMES.indexOf(asked));
  return longer.find((each) => seconds / SECONDS[each] <= MAX_POINTS) ?? TIMEFRAMES.at(-1);
}

/** Parameters of the request for `[from, to)`, in longer bars where there would be too many. */
export function request(timeframe, from, to) {
  return { timeframe, start: iso(from), end: iso(to), max_points: MAX_POINTS, fill: "previous", columns: COLUMNS };
}

/** `{timeframe, bars, gaps}`: bars that were filled are holes, `{time}` only; a gap is a run of them, up to now. */
export async function load(instrument, timeframe, from, to, signal) {
  const { meta, data } = await ask(`bars/${named(instrument)}`, request(timeframe, from, to), { signal });
  const bars = [];
  const gaps = [];
  const length = SECONDS[meta.timeframe];
  const running = Date.now() / 1000 - length; // what begins later is not over: nothing is missing of it
  for (let n = 0; n < data.open_time.length; n += 1) {
    const time = Date.parse(data.open_time[n]) / 1000;
    if (data.is_filled[n]) {
      bars.push({ time });
      const last = gaps.at(-1);
      if (last && last.to === time) last.to = time + length;
      else if (time <= running) gaps.push({ from: time, to: time + length });
    } else {
      bars.push({ time, open: data.open[n], high: data.high[n], low: data.low[n], close: data.close[n], volume: data.volume[n] });
    }
  }
  return { timeframe: meta.timeframe, bars, gaps };
}

/** Why there is nothing in `gaps`: by what happened to the feed, else by what is known of the day. */
export async function explain(instrument, gaps, signal) {
  if (!gaps.length) return;
  const span = { start: iso(gaps[0].from), end: iso(gaps.at(-1).to) };
  const [events, days] = await Promise.all([
    ask("events", { instrument, ...lastYear(span), limit: 500 }, { signal }),
    ask(`quality/${named(instrument)}`, { start: day(gaps[0].from), end: iso(gaps.at(-1).to + 86400) }, { signal }),
  ]).catch(() => []);
  if (!events) return;
  const status = new Map(days.data.date.map((date, n) => [date, days.data.status[n]]));
  for (const gap of gaps) gap.cause = ofFeed(events.data, gap) ?? ofDay(status.get(day(gap.from)));
  const degraded = [...new Set(gaps.filter((gap) => gap.cause === OF_DAY.degraded).map((gap) => day(gap.from)))].slice(-5);
  await Promise.all(degraded.map(async (date) => {
    const { gaps: recorded } = await ask(`datasets/cleaned_bars/days/${date}/${named(instrument)}`, {}, { signal });
    for (const gap of gaps) {
      const found = recorded.find(({ start, end }) => Date.parse(start) / 1000 < gap.to && Date.parse(end) / 1000 > gap.from);
      if (found?.cause) gap.cause = found.cause;
    }
  })).catch(() => null);
}

const OF_DAY = { missing: "the day is missing", failed: "the day failed", degraded: "the source has no bars", closed: "the venue is closed" };
const ofDay = (status) => OF_DAY[status] ?? (status ? "no trades" : "not loaded, and not streamed");

function ofFeed(events, gap) {
  const n = events.kind.findIndex((kind, at) => ["gap", "disconnected", "stalled", "halted"].includes(kind) && events.start[at]
    && Date.parse(events.start[at]) / 1000 < gap.to && Date.parse(events.end[at] ?? events.at[at]) / 1000 > gap.from);
  return n < 0 ? null : [events.kind[n], events.cause[n]].filter(Boolean).join(": ");
}

function lastYear({ start, end }) {
  const oldest = new Date(Date.parse(end) - 365 * 86400000).toISOString();
  return { start: start < oldest ? oldest : start, end };
}

export const iso = (seconds) => new Date(Math.floor(seconds) * 1000).toISOString();
const day = (seconds) => iso(seconds).slice(0, 10);
