// Indicators of the registry: specs as `ema(20)` in, columns and where they are drawn out.

import { ask, named } from "../core/api.js";
import { iso } from "./bars.js";

let known = null;

/** The registry, asked for once. */
export async function registry(signal) {
  known ??= await ask("indicators", {}, { signal });
  return known;
}

/** `{name, values}` of a spec. */
export function parsed(spec) {
  const [, name, inside = ""] = spec.match(/^([a-z_]+)(?:\((.*)\))?$/) ?? [];
  return { name, values: inside ? inside.split(",").map(Number) : [] };
}

/** The spec of an indicator with these values, its defaults where there are none. */
export function specOf(info, values = info.parameters.map((each) => each.default)) {
  return values.length ? `${info.name}(${values.join(",")})` : info.name;
}

/** Values by output: `[{spec, label, isOverlay, isHistogram, isDots, points}]`. */
export async function values(instrument, timeframe, from, to, specs, signal) {
  if (!specs.length) return [];
  const infos = new Map((await registry(signal)).map((info) => [info.name, info]));
  const body = { timeframe, start: iso(from), end: iso(to), indicators: specs };
  const { data } = await ask(`indicators/${named(instrument)}/batch`, {}, { method: "POST", body, signal });
  const times = data.open_time.map((text) => Date.parse(text) / 1000);
  return specs.flatMap((spec) => {
    const { name, values: numbers } = parsed(spec);
    const info = infos.get(name);
    const shown = info.outputs.filter((output) => output.name !== "supertrend_direction");
    return shown.map((output) => {
      const column = data[columnOf(data, output.name, numbers)] ?? [];
      const points = times.map((time, n) => (column[n] == null ? { time } : { time, value: column[n] }));
      return { spec, label: output.name, isOverlay: info.is_overlay, isHistogram: output.name.endsWith("_hist"), isDots: name === "sar", points };
    });
  });
}

/** A column is called by its output and the parameters: `bb_upper_20_2`. */
function columnOf(data, output, numbers) {
  return [output, ...numbers].join("_") in data ? [output, ...numbers].join("_") : Object.keys(data).find((name) => name === output || name.startsWith(`${output}_`) && /^[\d._]+$/.test(name.slice(output.length + 1)));
}
