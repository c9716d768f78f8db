// The registry of indicators in a dialog: search, parameters, and the specs that were chosen out.

import { h, put } from "../core/dom.js";
import { parsed, registry, specOf } from "./indicators.js";

/** Open it with `specs`; `changed(specs)` is called at every change. */
export async function pickIndicators(specs, changed, signal) {
  const infos = await registry(signal);
  const chosen = [...specs];
  const used = h("div", { class: "used" });
  const found = h("ul", { class: "found" });
  const search = h("input", { type: "search", placeholder: `Search ${infos.length} indicators`, "aria-label": "Search indicators", oninput: draw });
  const dialog = h("dialog", { class: "picker", "aria-labelledby": "picker-title", onclose: () => dialog.remove() },
    h("div", { class: "row" }, h("h2", { id: "picker-title" }, "Indicators"), h("button", { class: "quiet end", onclick: () => dialog.close() }, "Done")),
    used, search, found);
  document.body.append(dialog);
  signal.addEventListener("abort", () => dialog.close());
  draw();
  dialog.showModal();
  search.focus();

  function draw() {
    const wanted = search.value.toLowerCase();
    put(used, chosen.map((spec, n) => editor(spec, n)));
    put(found, infos.filter(({ name, meaning, family }) => `${name} ${meaning} ${family}`.toLowerCase().includes(wanted)).map((info) =>
      h("li", {}, h("button", { class: "quiet", onclick: () => set(chosen.length, specOf(info)) },
        h("strong", {}, info.name), h("span", { class: "muted" }, info.family), h("span", { class: "soft" }, info.meaning)))));
  }
  function editor(spec, n) {
    const { name, values } = parsed(spec);
    const info = infos.find((each) => each.name === name);
    return h("form", { class: "row", onsubmit: (event) => event.preventDefault() }, h("strong", {}, name),
      (info?.parameters ?? []).map((parameter, at) => h("label", { class: "field" }, parameter.name, h("input", {
        type: "number", value: values[at] ?? parameter.default, min: parameter.low, max: parameter.high, step: parameter.is_whole ? 1 : "any", required: true,
        onchange: (event) => {
          if (!event.target.reportValidity()) return;
          const all = info.parameters.map((each, m) => values[m] ?? each.default);
          all[at] = Number(event.target.value);
          set(n, specOf(info, all));
        },
      }))),
      h("button", { class: "quiet end", type: "button", "aria-label": `Remove ${spec}`, onclick: () => set(n, null) }, "Remove"));
  }
  function set(n, spec) {
    if (spec === null) chosen.splice(n, 1);
    else if (chosen.includes(spec)) return;
    else chosen[n] = spec;
    draw();
    changed([...chosen]);
  }
}
