// Exports, watched and fetched; who one is, and one's own keys. Address: #/keys

import { ask, credential } from "../core/api.js";
import { link } from "../core/address.js";
import { h, put } from "../core/dom.js";
import { ago, bytes, count, day, NOTHING, time } from "../core/format.js";
import { asCode, py } from "../parts/requests.js";
import { badge, empty, failed } from "../parts/states.js";

const LOOK_MS = 1500;
const DAY_MS = 86400000;

export async function show(host, _, signal) {
  const platform = await ask("platform", {}, { signal });
  const me = await ask("me", {}, { signal });
  const title = h("h1", { class: "sr" }, "Exports and keys");
  const exportsPanel = h("section", { class: "panel", "aria-label": "Exports" });
  const keysPanel = h("section", { class: "panel", "aria-label": "Keys" });
  put(host, title, exportsPanel, h("div", { class: "stack" }, identity(me, platform), keysPanel));
  await Promise.all([showExports(exportsPanel, signal), showKeys(keysPanel, me, signal)]);
}

function identity(me, platform) {
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const limit = (value) => (value == null ? "no limit" : count(value));
  return h("section", { class: "panel" }, h("header", {}, h("h2", {}, me.name), h("span", { class: "tag" }, me.role),
    credential.get() ? h("button", { class: "end", onclick: () => { credential.drop(); location.reload(); } }, "Sign out") : h("a", { class: "button end", href: link("sign-in") }, "Sign in")),
    h("dl", { class: "facts figures" }, fact("Tier", me.tier), fact("Requests a minute", limit(me.requests_per_minute)), fact("Live messages a second", limit(me.messages_per_s)), fact("Live symbols", limit(me.symbols)), fact("Scopes", me.scopes.join(" ") || "all")),
    platform.is_open && h("p", { class: "body muted" }, "This platform is open to everybody on this machine. MDP_AUTH=required closes it; make a key first."),
    asCode({ path: "me", python: "md = MarketData(api_key=\"mdp_…\")" }));
}

async function showExports(host, signal) {
  const [datasets, { instruments }] = await Promise.all([ask("datasets", {}, { signal }), ask("instruments", { limit: 1000 }, { signal })]);
  const kept = datasets.filter(({ totals, layer }) => totals.partitions && layer !== "archive");
  const jobs = h("div", { "aria-live": "polite" });
  const code = h("div", {});
  const said = h("div", {});
  const date = (days) => new Date(Date.now() - days * DAY_MS).toISOString().slice(0, 10);
  const field = (name, control) => h("label", { class: "field" }, name, control);
  const timeframe = h("select", { name: "timeframe" });
  const dataset = h("select", { name: "dataset" }, kept.map(({ name }) => h("option", { value: name }, name)));
  const form = h("form", { class: "row body", onsubmit: start, oninput: changed },
    field("Dataset", dataset), field("Timeframe", timeframe),
    h("label", { class: "field ids" }, "Instruments", h("select", { name: "ids", multiple: true, size: 4, required: true }, instruments.map(({ id }, n) => h("option", { value: id, selected: n === 0 }, id)))),
    field("From", h("input", { type: "date", name: "start", value: date(7), required: true })), field("Before", h("input", { type: "date", name: "end", value: date(0), required: true })),
    field("Format", h("select", { name: "format" }, ["csv", "parquet", "json", "arrow"].map((each) => h("option", { value: each }, each)))),
    h("button", { class: "main" }, "Export"));
  put(host, h("header", {}, h("h2", {}, "Exports"), h("span", { class: "muted end" }, "made in the background, kept for a while")),
    kept.length ? form : empty("Nothing to export yet", "Load days of an instrument from the catalog first."), said, jobs, code);
  if (kept.length) changed();
  await look();

  function body() {
    const given = new FormData(form);
    const one = Object.fromEntries(given);
    return { dataset: one.dataset, ids: given.getAll("ids"), start: one.start, end: one.end, timeframe: one.timeframe || null, format: one.format };
  }
  function changed() {
    const lengths = kept.find(({ name }) => name === dataset.value).timeframes;
    const before = timeframe.value;
    put(timeframe, h("option", { value: "" }, lengths.length ? "all" : NOTHING), lengths.map((each) => h("option", { value: each, selected: each === before }, each)));
    const wanted = body();
    const isOpen = code.querySelector("details")?.open ?? false;
    put(code, asCode({ path: "exports", method: "POST", body: wanted,
      python: `job = md.export(${py(wanted.dataset)}, ${JSON.stringify(wanted.ids)}, ${py(wanted.start)}, ${py(wanted.end)}, format=${py(wanted.format)}${wanted.timeframe ? `, timeframe=${py(wanted.timeframe)}` : ""})\nmd.download(md.wait(job), ".")` }));
    code.querySelector("details").open = isOpen;
  }
  async function start(event) {
    event.preventDefault();
    try {
      put(said);
      await ask("exports", {}, { method: "POST", body: body(), signal });
      await look();
    } catch (error) {
      if (!signal.aborted) put(said, failed(error));
    }
  }
  async function look() {
    const all = await ask("exports", { limit: 20 }, { signal });
    put(jobs, all.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Exports" }, h("table", {}, h("tbody", {}, all.map(line)))) : h("p", { class: "state muted" }, "No export yet."));
    if (!all.some(({ state }) => ["queued", "running"].includes(state))) return;
    await new Promise((done) => setTimeout(done, LOOK_MS));
    if (!signal.aborted) await look();
  }
  function line(job) {
    const { request } = job;
    return h("tr", {}, h("td", {}, badge(job.state)), h("td", { class: "wrap" }, h("strong", {}, request.dataset), " ", h("span", { class: "muted" }, `${job.total ? `${count(job.done)} of ${count(job.total)} parts, ` : ""}${ago(job.created_at)}`), job.error && h("div", { class: "down" }, job.error)),
      h("td", { class: "wrap" }, job.files.map((file) => h("div", { class: "row" }, h("button", { class: "quiet", onclick: () => download(job, file) }, `${file.name} ↓`), h("span", { class: "muted" }, `${count(file.rows)} rows, ${bytes(file.bytes)}`)))),
      h("td", { class: "muted" }, job.expires_at ? `until ${time(job.expires_at)}` : ""));
  }
  /** By a link that is good once, so that the browser itself can fetch a file of any size. */
  async function download(job, file) {
    const { path } = await ask(`exports/${job.id}/links`, {}, { method: "POST", body: { name: file.name, expires_in_s: 60, once: true } });
    h("a", { href: path, download: file.name }).click();
  }
}

async function showKeys(host, me, signal) {
  const made = h("div", { "aria-live": "polite" });
  const list = h("div", {});
  const roles = ["reader", "trader", "admin"].slice(0, ["reader", "trader", "admin"].indexOf(me.role) + 1);
  const form = h("form", { class: "row body", onsubmit: make },
    h("label", { class: "field" }, "Name", h("input", { name: "name", value: me.name, pattern: "[a-z0-9][a-z0-9._\\-]*", required: true, readonly: me.role !== "admin" })),
    h("label", { class: "field" }, "Role", h("select", { name: "role" }, roles.map((role) => h("option", { value: role }, role)))),
    h("label", { class: "field" }, "Good for", h("select", { name: "days" }, [["90", "90 days"], ["30", "30 days"], ["365", "a year"], ["", "ever"]].map(([value, text]) => h("option", { value }, text)))),
    h("button", { class: "main" }, "Make key"));
  put(host, h("header", {}, h("h2", {}, me.role === "admin" ? "API keys" : "Your API keys")), form, made, list, asCode({ path: "keys", python: "md = MarketData(api_key=\"mdp_…\")" }));
  await look();

  async function make(event) {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(form));
    const body = { name: given.name, role: given.role, expires_in_days: given.days ? Number(given.days) : null };
    try {
      const key = await ask("keys", {}, { method: "POST", body, signal });
      put(made, h("div", { class: "body made" }, h("strong", {}, "Copy it now: it is not shown again."), h("code", {}, key.key)));
      await look();
    } catch (error) {
      if (!signal.aborted) put(made, failed(error));
    }
  }
  async function look() {
    const keys = await ask("keys", {}, { signal });
    put(list, keys.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Keys" }, h("table", {}, h("tbody", {}, keys.map((key) => {
      const isOver = key.revoked_at || (key.expires_at && Date.parse(key.expires_at) <= Date.now());
      return h("tr", {}, h("td", {}, h("strong", {}, key.name), h("div", { class: "mono muted" }, `mdp_${key.id}_…`)), h("td", {}, h("span", { class: "tag" }, key.role)),
        h("td", { class: "muted" }, key.revoked_at ? `ended ${day(key.revoked_at)}` : key.expires_at ? `until ${day(key.expires_at)}` : "no end"),
        h("td", { class: "num" }, !isOver && h("button", { class: "quiet", "aria-label": `End key ${key.id}`, onclick: async () => { await ask(`keys/${key.id}`, {}, { method: "DELETE", signal }); await look(); } }, "End")));
    })))) : h("p", { class: "state muted" }, "No key yet."));
  }
}
