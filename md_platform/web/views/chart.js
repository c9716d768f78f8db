// The chart: toolbar, one window or several in step, and what can be taken away. Address: #/chart/INSTRUMENT?tf=1m,1h&…

import { ask, named, send, address } from "../core/api.js";
import { link, remember } from "../core/address.js";
import { h, put, token } from "../core/dom.js";
import { count, time } from "../core/format.js";
import { shortcut } from "../core/shortcuts.js";
import { iso, request, SECONDS, TIMEFRAMES } from "../chart/bars.js";
import { drawing, drawings, keep } from "../chart/drawings.js";
import { pickIndicators } from "../chart/picker.js";
import { ChartWindow } from "../chart/window.js";
import { asCode, py } from "../parts/requests.js";
import { empty } from "../parts/states.js";

const SPANS = { "1D": 1, "1W": 7, "1M": 30, "3M": 91, "1Y": 365 };
const TOOLS = { line: "Line", level: "Level", note: "Note" };
const DAY_S = 86400;
const BESIDE_BARS = 240; // that charts beside the first one show

export async function show(host, { argument, parameters }, signal) {
  const { instruments } = await ask("instruments", { limit: 1000 }, { signal });
  if (!instruments.length) return put(host, empty("No instruments yet", "Load some with `mdp up`, then come back."));
  const state = {
    instrument: argument || (instruments.find(({ status }) => status === "active") ?? instruments[0]).id,
    timeframes: (parameters.get("tf") ?? "1m").split(",").filter((each) => TIMEFRAMES.includes(each)).slice(0, 4),
    kind: parameters.get("kind") ?? "candles",
    specs: (parameters.get("ind") ?? "").split(";").filter(Boolean),
    others: (parameters.get("with") ?? "").split(",").filter(Boolean),
    end: parameters.get("end"),
    bars: Number(parameters.get("bars")) || 360,
  };
  if (!state.timeframes.length) state.timeframes = ["1m"];
  const told = h("span", { class: "muted" });
  const hint = h("div", { class: "hint", role: "status", hidden: true });
  const code = h("div", {});
  const marksList = h("ul", { class: "marks" });
  let marks = drawings(state.instrument);
  let pending = null;
  const windows = state.timeframes.map((timeframe, n) => new ChartWindow({ ...state, timeframe, bars: n ? BESIDE_BARS : state.bars }, signal, (drawn) => n === 0 && tell(drawn)));
  put(host, h("h1", { class: "sr" }, `Chart of ${state.instrument}`), toolbar(), hint,
    h("div", { class: `windows n${windows.length}` }, windows.map(({ element }) => element)),
    h("div", { class: "panel foot" }, h("div", { class: "row body" }, spans(), told,
      h("span", { class: "row end" }, h("button", { onclick: picture }, "PNG"), h("button", { onclick: table }, "CSV"), h("button", { onclick: permalink }, "Copy link"))), marksList, code,
      h("p", { class: "attribution muted" }, "Charts by ", h("a", { href: "https://www.tradingview.com/", target: "_blank", rel: "noopener" }, "TradingView Lightweight Charts™"), ", © 2026 TradingView, Inc.")));
  keys();
  await Promise.all(windows.map((each) => each.start()));
  if (signal.aborted) return;
  for (const each of windows) {
    each.onClick = clicked;
    each.onPointed = (at) => inStep(each, (other) => other.mirror(at));
    each.onView = ([from, to]) => {
      inStep(each, (other) => other.align(to));
      if (each === windows[0]) keepView(from, to);
    };
  }
  drawMarks();

  function toolbar() {
    const names = instruments.map(({ id }) => id);
    const press = (label, isOn, action, title) => h("button", { "aria-pressed": String(isOn), title, onclick: action }, label);
    const [first, ...rest] = state.timeframes;
    const known = h("datalist", { id: "instruments" }, names.map((id) => h("option", { value: id })));
    const choose = (properties, chosen) => h("input", { type: "search", list: "instruments", autocomplete: "off", spellcheck: "false", ...properties, onchange: ({ target }) => {
      const [found, ...more] = names.filter((id) => id.toLowerCase().includes(target.value.trim().toLowerCase()));
      const id = names.includes(target.value) ? target.value : !more.length && found;
      if (target.value && id) chosen(id);
      else target.value = properties.value ?? "";
    } });
    const symbol = choose({ id: "search", "aria-label": "Instrument", value: state.instrument, onfocus: ({ target }) => target.select() }, (instrument) => go({ instrument }));
    const compare = choose({ class: "compare", "aria-label": "Compare with", placeholder: "Compare with…" }, (id) => go({ others: [...new Set([...state.others, id])].filter((each) => each !== state.instrument) }));
    const kinds = h("select", { "aria-label": "Drawn as", onchange: () => {
      state.kind = kinds.value;
      remember({ kind: state.kind });
      for (const each of windows) each.change({ kind: state.kind }).then(drawMarks);
    } }, ["candles", "line", "area"].map((each) => h("option", { value: each, selected: each === state.kind }, each)));
    const layout = h("select", { "aria-label": "Layout", onchange: () => go({ timeframes: layout.value.split(",") }) },
      [[first], [first, longer(first, 1)], [first, longer(first, 1), longer(first, 2), longer(first, 3)]].filter((each) => new Set(each).size === each.length).map((each) =>
        h("option", { value: each.join(","), selected: each.length === state.timeframes.length }, each.length === 1 ? "One timeframe" : each.join(" · "))));
    return h("div", { class: "panel tools", role: "toolbar", "aria-label": "Chart" }, known, symbol,
      h("div", { class: "choice", role: "group", "aria-label": "Timeframe" }, TIMEFRAMES.map((each) => press(each, each === first, () => go({ timeframes: [each, ...rest.filter((other) => other !== each)] })))),
      kinds, h("button", { id: "indicators", onclick: indicators, title: "Indicators (i)" }, `Indicators${state.specs.length ? ` ${state.specs.length}` : ""}`), compare,
      state.others.map((id) => h("button", { class: "quiet", "aria-label": `Compare without ${id}`, onclick: () => go({ others: state.others.filter((each) => each !== id) }) }, `${id.split(":")[1]} ✕`)),
      layout,
      h("div", { class: "choice", role: "group", "aria-label": "Draw" }, Object.entries(TOOLS).map(([kind, name]) => press(name, false, (event) => begin(kind, event.currentTarget)))));
  }

  function indicators() {
    pickIndicators(state.specs, async (specs) => {
      state.specs = specs;
      remember({ ind: specs.join(";") });
      host.querySelector("#indicators").textContent = `Indicators${specs.length ? ` ${specs.length}` : ""}`;
      await Promise.all(windows.map((each) => each.change({ specs })));
    }, signal);
  }

  function spans() {
    return h("div", { class: "choice", role: "group", "aria-label": "Range" }, Object.entries(SPANS).map(([name, days]) =>
      h("button", { onclick: () => {
        const to = state.end ? windows[0].pane.view()?.[1] : Date.now() / 1000;
        windows[0].fetch([to - days * DAY_S, to]).then(() => windows[0].pane.show([to - days * DAY_S, to]));
      } }, name)));
  }

  function tell({ timeframe, count: bars, view }) {
    const asked = state.timeframes[0];
    told.textContent = `${time(view[0] * 1000)} – ${time(Math.min(view[1], Date.now() / 1000) * 1000)} UTC · ${asked}${timeframe === asked ? "" : ` drawn in ${timeframe} bars`} · ${count(bars)} loaded`;
    const isOpen = code.querySelector("details")?.open;
    const span = [iso(view[0]), iso(Math.min(view[1], Date.now() / 1000))].map(py).join(", ");
    put(code, asCode({
      path: `bars/${named(state.instrument)}`, parameters: request(asked, ...view),
      python: `bars = md.bars(${py(state.instrument)}, ${py(timeframe)}, ${span}${state.specs.length ? `, indicators=${JSON.stringify(state.specs)}` : ""})`,
    }));
    code.querySelector("details").open = isOpen ?? false;
  }

  function keepView(from, to) {
    const isNow = to >= Date.now() / 1000 - 60 && !state.end;
    remember({ bars: inBars(to - from), end: isNow ? "" : iso(to) });
  }

  function inBars(seconds) {
    return Math.max(10, Math.round(seconds / SECONDS[state.timeframes[0]]));
  }

  function inStep(from, action) {
    if (windows.busy) return;
    windows.busy = true;
    windows.filter((other) => other !== from).forEach(action);
    requestAnimationFrame(() => (windows.busy = false));
  }

  function begin(kind, button) {
    pending?.done();
    pending = drawing(kind);
    hint.hidden = false;
    put(hint, pending.hint);
    button.setAttribute("aria-pressed", "true");
    pending.done = () => {
      button.setAttribute("aria-pressed", "false");
      hint.hidden = true;
      pending = null;
    };
  }
  function clicked(point) {
    if (!pending || !point) return;
    const mark = pending.click(point);
    if (mark?.kind === "note") return write(mark);
    if (!mark) return;
    keepMarks([...marks, mark]);
    pending.done();
  }
  /** Ask for the words of a note. */
  function write(mark) {
    const words = h("input", { "aria-label": "Words of the note", required: true, maxlength: 80 });
    put(hint, h("form", { onsubmit: (event) => {
      event.preventDefault();
      keepMarks([...marks, { ...mark, text: words.value }]);
      pending.done();
    } }, words, h("button", {}, "Keep note")));
    words.focus();
  }
  function keepMarks(changed) {
    marks = changed;
    keep(state.instrument, marks);
    drawMarks();
  }
  function drawMarks() {
    for (const each of windows) each.pane.setMarks(marks);
    put(marksList, marks.map((mark, n) => h("li", {}, mark.text ?? TOOLS[mark.kind],
      h("button", { class: "quiet", "aria-label": `Remove ${mark.text ?? TOOLS[mark.kind]}`, onclick: () => keepMarks(marks.filter((_, m) => m !== n)) }, "✕"))));
  }

  /** The charts as they stand, each below what its legend says. */
  function picture() {
    const drawn = windows.map(({ pane }) => pane.chart.takeScreenshot());
    const said = windows.map(({ legend }) => [...legend.children].map((each) => [...each.querySelectorAll("span, strong")].filter(({ children }) => !children.length).map(({ textContent }) => textContent).join("  ")));
    const scale = drawn[0].width / windows[0].canvas.clientWidth;
    const most = (values) => Math.max(...values);
    const top = (most(said.map(({ length }) => length)) * 18 + 8) * scale;
    const columns = Math.min(windows.length, 2);
    const [width, height] = [most(drawn.map((each) => each.width)), most(drawn.map((each) => each.height)) + top];
    const canvas = h("canvas", { width: width * columns, height: height * Math.ceil(windows.length / columns) });
    const context = canvas.getContext("2d");
    Object.assign(context, { fillStyle: token("panel"), font: `${12 * scale}px system-ui, sans-serif`, textBaseline: "top" });
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = token("ink");
    drawn.forEach((image, n) => {
      const [left, up] = [(n % columns) * width, Math.floor(n / columns) * height];
      said[n].forEach((line, m) => context.fillText(line, left + 10 * scale, up + (m * 18 + 8) * scale));
      context.drawImage(image, left, up + top);
    });
    canvas.toBlob((blob) => save(blob, "png"));
  }
  async function table() {
    const [from, to] = windows[0].pane.view();
    const asked = { timeframe: windows[0].drawn, start: iso(from), end: iso(Math.min(to, Date.now() / 1000)), format: "csv" };
    save(await (await send(address(`bars/${named(state.instrument)}`, asked))).blob(), "csv");
  }
  function save(blob, ending) {
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: `${state.instrument.replace(":", "_")}-${windows[0].drawn}.${ending}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }
  async function permalink() {
    const [from, to] = windows[0].pane.view();
    const fixed = link("chart", state.instrument, addressOf({ ...state, bars: inBars(to - from), end: iso(to) }));
    await navigator.clipboard.writeText(`${location.origin}/${fixed}`);
    hint.hidden = false;
    hint.textContent = "The link is copied: it shows these bars, whenever it is opened.";
  }

  /** The next longer or shorter timeframe. */
  function turnTo(by) {
    const next = TIMEFRAMES[TIMEFRAMES.indexOf(state.timeframes[0]) + by];
    if (next) go({ timeframes: [next, ...state.timeframes.slice(1).filter((each) => each !== next)] });
  }
  function go(changes) {
    location.hash = link("chart", changes.instrument ?? state.instrument, addressOf({ ...state, ...changes }));
  }

  function keys() {
    const taken = [
      shortcut("/", "choose an instrument", () => host.querySelector("#search").focus()),
      shortcut("i", "indicators", indicators),
      shortcut("ArrowLeft", "back in time", () => windows[0].pane.pan(-0.1)),
      shortcut("ArrowRight", "forward in time", () => windows[0].pane.pan(0.1)),
      shortcut("+", "nearer", () => windows[0].pane.zoom(0.8)),
      shortcut("-", "farther", () => windows[0].pane.zoom(1.25)),
      shortcut("]", "longer bars", () => turnTo(1)),
      shortcut("[", "shorter bars", () => turnTo(-1)),
      shortcut("Escape", "stop drawing", () => pending?.done()),
    ];
    signal.addEventListener("abort", () => taken.forEach((take) => take()));
  }
}

/** The parameters that an address has of a state. */
function addressOf({ timeframes, kind, specs, others, end, bars }) {
  return { tf: timeframes.join(","), kind: kind === "candles" ? "" : kind, ind: specs.join(";"), with: others.join(","), end: end ?? "", bars: bars === 360 ? "" : bars };
}

/** The timeframe that is `by` usual steps longer: 1m, 15m, 1h, 1d. */
function longer(timeframe, by) {
  const steps = ["1m", "15m", "1h", "1d", "1w"];
  const at = Math.max(0, steps.indexOf(timeframe));
  return steps[Math.min(steps.length - 1, at + by)];
}
