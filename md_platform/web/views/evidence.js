// One partition as the API tells it in; what speaks for and against it out: checks, gaps, rejects, source, run, lineage.

import { link } from "../core/address.js";
import { h } from "../core/dom.js";
import { bytes, count, share, time } from "../core/format.js";
import { asCode, py } from "../parts/requests.js";
import { badge } from "../parts/states.js";

export function evidence(found) {
  const fact = (name, value) => value != null && h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const chart = link("chart", found.instrument, { end: new Date(Date.parse(`${found.date}T00:00Z`) + 86400000).toISOString(), tf: "1m", bars: 1440 });
  return h("div", { class: "panel evidence" },
    h("header", {}, h("h2", {}, found.date), badge(found.status), h("span", { class: "muted" }, found.dataset),
      h("a", { class: "button end", href: chart }, "See it on the chart")),
    h("dl", { class: "facts figures" },
      fact("Rows", count(found.rows)),
      fact("Score", share(found.score, 2)),
      fact("Size", bytes(found.bytes)),
      fact("From", time(found.first_time)),
      fact("To", time(found.last_time)),
      fact("Source", found.source),
      fact("Revised rows", found.revised_rows && count(found.revised_rows)),
      fact("Run in Dagster", found.run_url && h("a", { href: found.run_url, target: "_blank", rel: "noopener" }, `${found.run_id.slice(0, 8)} ↗`)),
      fact("Content", found.sha256 && h("code", { title: found.sha256 }, found.sha256.slice(0, 12)))),
    h("div", { class: "columns" },
      part("Gaps", found.gaps.length, gaps(found)),
      part("Quarantined", Object.values(found.quarantined).reduce((sum, each) => sum + each, 0), rejects(found)),
      part("Checks", found.checks.length, checks(found.checks)),
      part("Lineage", found.upstream.length + found.downstream.length, lineage(found))),
    h("details", { class: "code" }, h("summary", {}, "Evidence as recorded"), h("pre", { class: "evidence", tabindex: "0" }, JSON.stringify(found.evidence, null, 2))),
    asCode({
      path: `datasets/${found.dataset}/days/${found.date}/${found.instrument}`,
      python: `md.partition(${py(found.dataset)}, ${py(found.instrument)}, ${py(found.date)})`,
    }));
}

function part(title, number, content) {
  return h("section", { class: "part" }, h("h3", {}, `${title} `, h("span", { class: "muted" }, count(number))), content);
}

function gaps({ gaps: found, date }) {
  const short = (at) => (time(at).startsWith(date) ? time(at).slice(11) : time(at));
  if (!found.length) return h("p", { class: "muted" }, "None: every expected row is there.");
  return h("ul", { class: "plain" }, found.map(({ start, end, missing, cause }) =>
    h("li", {}, h("span", { class: "mono" }, `${short(start)} – ${short(end)}`),
      h("span", { class: "soft" }, [missing != null && `${count(missing)} rows`, cause].filter(Boolean).join(", ")))));
}

function rejects(found) {
  const rules = Object.entries(found.quarantined);
  if (!rules.length) return h("p", { class: "muted" }, "None: every row was accepted.");
  const shown = found.quarantined_rows;
  const columns = shown.length ? Object.keys(shown[0]).filter((name) => shown.some((row) => row[name] != null)) : [];
  return [
    h("ul", { class: "plain" }, rules.map(([rule, rows]) => h("li", {}, h("span", {}, rule), h("span", { class: "soft" }, `${count(rows)} rows`)))),
    shown.length > 0 && h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Quarantined rows" }, h("table", {},
      h("thead", {}, h("tr", {}, columns.map((name) => h("th", {}, name)))),
      h("tbody", {}, shown.map((row) => h("tr", {}, columns.map((name) => h("td", {}, String(row[name] ?? "")))))))),
  ];
}

function checks(found) {
  if (!found.length) return h("p", { class: "muted" }, "This dataset promises nothing of its own.");
  const broken = found.filter(({ violations }) => violations).toSorted((a, b) => b.violations - a.violations);
  const kept = found.filter(({ violations }) => !violations);
  return [
    checkList(broken),
    h("details", {}, h("summary", { class: "soft" }, `${count(kept.length)} hold`), checkList(kept)),
  ];
}

function checkList(found) {
  return h("ul", { class: "plain checks" }, found.map(({ description, id, severity, violations }) =>
    h("li", {}, h("span", { class: violations ? "down" : "up", "aria-hidden": "true" }, violations ? "✕" : "✓"),
      h("span", { title: id }, description || id),
      violations > 0 && h("span", { class: "muted" }, `${count(violations)} rows, ${severity}`))));
}

function lineage({ instrument, upstream, downstream }) {
  const side = (arrow, links) => links.map(({ dataset, date, is_current }) =>
    h("li", {}, h("span", {}, arrow, " ", h("a", { href: link("catalog", instrument, { dataset, day: date }) }, `${dataset} ${date}`)),
      h("span", { class: "muted" }, is_current === false ? "changed since" : is_current ? "as it is now" : "")));
  const all = [...side("←", upstream), ...side("→", downstream)];
  return all.length ? h("ul", { class: "plain" }, all) : h("p", { class: "muted" }, "Nothing is recorded.");
}
