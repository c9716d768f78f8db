// Numbers and times in, short text out. Times are UTC, as everything on this platform.

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
export const NOTHING = "–";

export const count = (value) => (value == null ? NOTHING : GROUPED.format(value));
export const compact = (value) => (value == null ? NOTHING : COMPACT.format(value));

/** A price with about six significant digits, always the same number of decimals for the same size. */
export const price = (value) => (value == null ? NOTHING : fixed(value, decimals(value)));

/** `value` with so many digits after the point. */
export function fixed(value, digits) {
  if (value == null) return NOTHING;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function decimals(value) {
  const size = Math.abs(value);
  return size >= 100 ? 2 : size >= 1 ? 4 : 6;
}

/** A relative change as `▲ 1.25 %`: the sign is a shape too. */
export function change(value) {
  if (value == null) return NOTHING;
  const sign = value > 0 ? "▲" : value < 0 ? "▼" : "■";
  return `${sign} ${Math.abs(value * 100).toFixed(2)} %`;
}

export const direction = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");
export const share = (value, digits = 1) => (value == null ? NOTHING : `${(value * 100).toFixed(digits)} %`);

export function bytes(value) {
  if (value == null) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let n = 0;
  while (value >= 1000 && n < units.length - 1) (value /= 1000), (n += 1);
  return `${value >= 100 || n === 0 ? Math.round(value) : value.toFixed(1)} ${units[n]}`;
}

/** `2026-11-20 14:05` (with seconds where asked). */
export function time(value, seconds = false) {
  if (value == null) return NOTHING;
  return new Date(value).toISOString().slice(0, seconds ? 19 : 16).replace("T", " ");
}

export const day = (value) => (value == null ? NOTHING : new Date(value).toISOString().slice(0, 10));

/** How long ago, in the largest unit. */
export function ago(value) {
  if (value == null) return NOTHING;
  return `${lasting((Date.now() - new Date(value)) / 1000)} ago`;
}

export function lasting(seconds) {
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${Math.max(0, Math.round(seconds))} s`;
}
