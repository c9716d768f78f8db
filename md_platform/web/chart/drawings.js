// Lines and notes of an instrument: kept in this browser, added by clicks on the chart.

const key = (instrument) => `mdp-drawings:${instrument}`;

export function drawings(instrument) {
  try {
    return JSON.parse(localStorage.getItem(key(instrument))) ?? [];
  } catch {
    return [];
  }
}

export function keep(instrument, marks) {
  localStorage.setItem(key(instrument), JSON.stringify(marks));
}

/** A drawing under way: `kind` is line, level or note. `click({time, price})` gives the mark once it has its places. */
export function drawing(kind) {
  const points = [];
  return {
    hint: { line: "Click where the line begins, then where it ends", level: "Click at a price", note: "Click where the note belongs" }[kind],
    click(point) {
      points.push(point);
      if (kind === "level") return { kind, price: point.price };
      if (kind === "line") return points.length === 2 ? { kind, points: [...points] } : null;
      return { kind, ...point };
    },
  };
}
