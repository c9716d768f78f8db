// Statuses of an instrument's days in, a calendar heat map out: a column a week, a row a weekday, a block a year.
// Each status has a sign of its own, so that the map can be read without its colours.

import { h, svg } from "../core/dom.js";

const CELL = 13;
const STEP = 15;
const LABELS = 26;
const DAY_MS = 86400000;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const KNOWN = ["ok", "degraded", "failed", "missing", "pending", "closed", "never made"];

/** Periods as `[{date, status}]` of a coverage answer. Weeks and months are given as they come. */
export function periodsOf(coverage, legend, period) {
  const first = new Date(`${coverage.first}T00:00Z`);
  return [...coverage.calendar].map((letter, n) => {
    const at = new Date(first);
    if (period === "1M") at.setUTCMonth(at.getUTCMonth() + n);
    else at.setTime(first.getTime() + n * DAY_MS * (period === "1w" ? 7 : 1));
    return { date: at.toISOString().slice(0, 10), status: legend[letter] };
  });
}

/** The map; `chosen` is a date, `choose(date)` is called for another. Arrow keys move from day to day. */
export function calendar(periods, period, chosen, choose) {
  const years = Map.groupBy(periods, ({ date }) => date.slice(0, 4));
  const maps = [...years].reverse().map(([year, of]) => yearMap(year, of, period, chosen));
  const host = h("div", { class: "calendar scroll", role: "group", "aria-label": "Days by status", onclick: picked, onkeydown: moved }, maps);
  const cells = [...host.querySelectorAll("[data-date]")];
  const entry = host.querySelector("[aria-pressed=true]") ?? cells.at(-1);
  entry?.setAttribute("tabindex", "0");
  return host;

  function picked(event) {
    const cell = event.target.closest("[data-date]");
    if (cell) choose(cell.dataset.date);
  }
  function moved(event) {
    const cell = event.target.closest("[data-date]");
    if (!cell) return;
    const length = period === "1d" ? 7 : 1;
    const by = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -length, ArrowRight: length }[event.key];
    if (event.key === "Enter" || event.key === " ") choose(cell.dataset.date);
    else if (by === undefined) return;
    else {
      const order = cells.toSorted((a, b) => (a.dataset.date < b.dataset.date ? -1 : 1));
      const next = order[order.indexOf(cell) + by];
      if (!next) return;
      cell.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    }
    event.preventDefault();
  }
}

/** What the signs mean, with how many periods have each. */
export function legend(periods) {
  const counts = Map.groupBy(periods, ({ status }) => status);
  return h("ul", { class: "legend" }, KNOWN.filter((status) => counts.has(status)).map((status) =>
    h("li", {}, svg("svg", { width: CELL, height: CELL, "aria-hidden": "true" }, mark(status, 0, 0)), `${status} ${counts.get(status).length}`)));
}

/** A strip of the last periods, as wide as it is given: the table's small picture of a coverage. */
export function strip(periods, shownDays = 60) {
  const shown = periods.slice(-shownDays);
  const before = shownDays - shown.length; // the newest are at the right, under those of the others
  const bars = shown.map(({ status }, n) => svg("rect", { x: (before + n) * 2, y: heightOf(status), width: 1.6, height: 14 - heightOf(status), class: `s-${status.replace(" ", "-")}` }));
  const words = `${shown.filter(({ status }) => status === "ok").length} of the last ${shown.length} ok`;
  return svg("svg", { class: "strip", width: shownDays * 2, height: 14, role: "img", "aria-label": words }, before > 0 && svg("rect", { y: 12, width: before * 2 - 0.4, height: 2, class: "s-never-made" }), bars);
}

const heightOf = (status) => ({ ok: 0, degraded: 4, pending: 9, closed: 11, "never made": 12 })[status] ?? 8;

function yearMap(year, periods, period, chosen) {
  const isDaily = period === "1d";
  const [first, last] = [periods[0].date, periods.at(-1).date].map((date) => Number(date.slice(5, 7)) - 1);
  const offset = (new Date(`${year}-01-01T00:00Z`).getUTCDay() + 6) % 7;
  const weekOf = (date) => {
    const dayOfYear = Math.round((new Date(`${date}T00:00Z`) - new Date(`${year}-01-01T00:00Z`)) / DAY_MS) + offset;
    return [Math.floor(dayOfYear / 7), dayOfYear % 7];
  };
  const start = (month) => weekOf(`${year}-${String(month + 1).padStart(2, "0")}-01`)[0];
  const place = (date, n) => {
    if (!isDaily) return [n, 0];
    const [week, weekday] = weekOf(date);
    return [week - start(first), weekday];
  };
  const cells = periods.map(({ date, status }, n) => {
    const [column, row] = place(date, n);
    const [x, y] = [LABELS + column * STEP, 16 + row * STEP];
    return svg("g", { role: "button", tabindex: "-1", "data-date": date, "aria-label": `${date}: ${status}`, "aria-pressed": String(date === chosen) },
      svg("title", {}, `${date} · ${status}`), mark(status, x, y),
      date === chosen && svg("rect", { x: x - 1.5, y: y - 1.5, width: CELL + 3, height: CELL + 3, rx: 4, class: "chosen" }));
  });
  const columns = isDaily ? Math.max(place(periods.at(-1).date)[0], start(last) - start(first) + 1) + 1 : Math.max(periods.length, 4);
  const width = LABELS + columns * STEP;
  const height = 16 + (isDaily ? 7 : 1) * STEP;
  const months = isDaily && MONTHS.slice(first, last + 1).map((name, n) =>
    svg("text", { x: LABELS + (start(first + n) - start(first)) * STEP, y: 10 }, name));
  const weekdays = isDaily && [["Mo", 0], ["We", 2], ["Fr", 4]].map(([name, row]) => svg("text", { x: 0, y: 27 + row * STEP }, name));
  return h("div", { class: "year" }, h("h3", {}, year), svg("svg", { width, height }, months, weekdays, isDaily && unknown(), cells));

  /** The other days of the months that are shown, so that one sees where the known ones lie. */
  function unknown() {
    const known = new Set(periods.map(({ date }) => date));
    const days = [];
    for (let at = Date.UTC(year, first, 1); at < Date.UTC(year, last + 1, 1); at += DAY_MS) days.push(new Date(at).toISOString().slice(0, 10));
    return days.filter((date) => !known.has(date)).map((date) => {
      const [column, row] = place(date);
      return svg("rect", { x: LABELS + column * STEP, y: 16 + row * STEP, width: CELL, height: CELL, rx: 3, class: "unknown" });
    });
  }
}

/** One cell: its colour by class, its sign drawn above it. */
function mark(status, x, y) {
  const box = { x, y, width: CELL, height: CELL, rx: 3 };
  const kind = `s-${status.replace(" ", "-")}`;
  const half = CELL / 2;
  if (status === "missing") return svg("rect", { ...box, x: x + 1, y: y + 1, width: CELL - 2, height: CELL - 2, class: "s-missing hollow" });
  if (status === "degraded") return [svg("rect", { ...box, class: kind }), svg("path", { d: `M${x} ${y + CELL}L${x + CELL} ${y}V${y + CELL}Z`, class: "cut" })];
  if (status === "failed") return [svg("rect", { ...box, class: kind }), svg("path", { d: `M${x + 4} ${y + 4}l5 5m0-5l-5 5`, class: "cross" })];
  if (status === "pending") return [svg("rect", { ...box, class: "s-never-made" }), svg("circle", { cx: x + half, cy: y + half, r: 2.6, class: kind })];
  return svg("rect", { ...box, class: kind });
}
