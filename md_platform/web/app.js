// The shell: tabs, theme, help, banners, and the view that the address names.

import { current, link } from "./core/address.js";
import { credential, onApi, Problem, send } from "./core/api.js";
import { h, put } from "./core/dom.js";
import { shortcut, shortcuts } from "./core/shortcuts.js";
import { apply, chooseTheme, theme } from "./core/theme.js";
import { failed, loading } from "./parts/states.js";

const VIEWS = {
  catalog: { title: "Catalog", load: () => import("./views/catalog.js") },
  chart: { title: "Chart", load: () => import("./views/chart.js") },
  market: { title: "Market", load: () => import("./views/market.js") },
  health: { title: "Health", load: () => import("./views/health.js") },
  keys: { title: "Exports", load: () => import("./views/keys.js") },
};
const SIGN_IN = { title: "Sign in", load: () => import("./views/sign_in.js") };
const AGAIN_MS = 3000;
const main = document.getElementById("main");
const banner = document.getElementById("banner");
let shown = new AbortController();
let away = false;

/** Show the view of the current address, in place of the one before. */
async function showView() {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const at = current();
  const view = at.view === "sign-in" ? SIGN_IN : (VIEWS[at.view] ?? VIEWS.catalog);
  drawTabs(at.view);
  document.title = `${at.argument ? `${at.argument} · ` : ""}${view.title} · md-platform`;
  const host = h("div", { class: `view ${at.view}` }, loading());
  put(main, host);
  try {
    const { show } = await view.load();
    if (!signal.aborted) await show(host, at, signal);
  } catch (error) {
    if (signal.aborted) return;
    put(host, failed(error, showView));
    if (!(error instanceof Problem)) throw error;
  }
}

function drawTabs(name) {
  put(document.getElementById("tabs"), Object.entries(VIEWS).map(([id, { title }]) =>
    h("a", { href: link(id), "aria-current": id === name && "page" }, title)));
}

function drawEnd() {
  const other = theme() === "dark" ? "light" : "dark";
  put(document.getElementById("bar-end"),
    h("span", { class: "live", id: "live", "data-state": "off", title: "Live data, by WebSocket" }, h("span", {}, "not live")),
    h("time", { class: "clock muted", title: "All times are UTC" }),
    h("button", { class: "quiet", "aria-label": `Use ${other} colours`, title: `${other} colours (t)`, onclick: turn }, theme() === "dark" ? "☀" : "☾"),
    h("button", { class: "quiet", "aria-label": "Keyboard shortcuts", title: "Keyboard shortcuts (?)", onclick: help }, "?"));
}

/** The bar's end again, in other words for the other theme; what is live stays. */
function turn() {
  const live = document.getElementById("live");
  chooseTheme(theme() === "dark" ? "light" : "dark");
  drawEnd();
  document.getElementById("live").replaceWith(live);
  tick();
}

function tick() {
  document.querySelector(".clock").textContent = `${new Date().toISOString().slice(11, 19)} UTC`;
}

function help() {
  const dialog = h("dialog", { "aria-labelledby": "help-title", onclose: () => dialog.remove() },
    h("div", { class: "row" }, h("h2", { id: "help-title" }, "Keyboard shortcuts"),
      h("button", { class: "quiet end", onclick: () => dialog.close() }, "Close")),
    h("dl", { class: "shortcuts" }, shortcuts().map(({ key, meaning }) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, meaning)])));
  document.body.append(dialog);
  dialog.showModal();
}

function tell(kind, ...words) {
  put(banner, kind && h("div", { class: "banner", "data-kind": kind }, words));
}

onApi("away", () => {
  if (away) return;
  away = true;
  tell("away", "The API does not answer. Asking again every few seconds.");
  const timer = setInterval(async () => {
    await send("/healthz").catch(() => null);
    if (!away) clearInterval(timer);
  }, AGAIN_MS);
});
onApi("back", () => {
  if (!away) return;
  away = false;
  tell(null);
  showView();
});
onApi("slow", () => away || tell("slow", "The API takes its time…"));
onApi("quick", () => banner.querySelector("[data-kind=slow]") && tell(null));
onApi("refused", () => {
  if (current().view === "sign-in") return;
  const had = credential.get() !== null;
  credential.drop();
  tell("refused", had ? "Your credential is not valid any more." : "This platform asks who you are.", h("a", { href: link("sign-in") }, "Sign in"));
});

Object.keys(VIEWS).forEach((id, n) => shortcut(String(n + 1), VIEWS[id].title, () => (location.hash = link(id))));
shortcut("t", "light or dark", turn);
shortcut("?", "this help", help);
addEventListener("hashchange", showView);
apply();
drawEnd();
tick();
setInterval(tick, 1000);
showView();
