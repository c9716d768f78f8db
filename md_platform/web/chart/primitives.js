// What is drawn on a chart besides its series: shaded gaps, and people's own lines and notes.

const ROOM_PX = 14; // for a cause that is written into its gap, along or across

/** Shades `gaps` (`[{from, to, cause}]`) behind the bars, and says why where there is room for it. */
export class Gaps {
  constructor(colours) {
    this.gaps = [];
    this.colours = colours;
  }
  attached({ chart, requestUpdate }) {
    Object.assign(this, { chart, requestUpdate });
  }
  set(gaps, place) {
    Object.assign(this, { gaps, place });
    this.requestUpdate?.();
  }
  paneViews() {
    return [{ zOrder: () => "bottom", renderer: () => ({ draw: () => {}, drawBackground: (target) => this.draw(target) }) }];
  }
  draw(target) {
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      const { ground, ink } = this.colours();
      Object.assign(context, { font: "11px system-ui, sans-serif", textAlign: "center" });
      for (const { from, to, cause } of this.gaps) {
        const [left, right] = [this.place(from), this.place(to)];
        if (left == null || right < 0 || left > mediaSize.width) continue;
        context.fillStyle = ground;
        context.fillRect(left, 0, Math.max(1, right - left), mediaSize.height);
        if (!cause || right - left < ROOM_PX) continue;
        context.save();
        context.fillStyle = ink;
        context.translate((left + right) / 2, mediaSize.height / 2);
        if (context.measureText(cause).width + ROOM_PX > right - left) context.rotate(-Math.PI / 2);
        context.fillText(cause, 0, 4);
        context.restore();
      }
    });
  }
}

/** Draws `marks`: `{kind: "line", points}`, `{kind: "level", price}`, `{kind: "note", time, price, text}`. */
export class Marks {
  constructor(colour) {
    this.marks = [];
    this.colour = colour;
  }
  attached({ series, requestUpdate }) {
    Object.assign(this, { series, requestUpdate });
  }
  set(marks, place) {
    Object.assign(this, { marks, place });
    this.requestUpdate?.();
  }
  paneViews() {
    return [{ zOrder: () => "top", renderer: () => ({ draw: (target) => this.draw(target) }) }];
  }
  draw(target) {
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      const y = (price) => this.series.priceToCoordinate(price);
      Object.assign(context, { strokeStyle: this.colour(), fillStyle: this.colour(), lineWidth: 1.5, font: "12px system-ui, sans-serif" });
      for (const mark of this.marks) {
        context.beginPath();
        if (mark.kind === "level") {
          context.moveTo(0, y(mark.price));
          context.lineTo(mediaSize.width, y(mark.price));
        } else if (mark.kind === "line") {
          mark.points.forEach(({ time, price }, n) => (n ? context.lineTo(this.place(time), y(price)) : context.moveTo(this.place(time), y(price))));
        } else {
          const [x, top] = [this.place(mark.time), y(mark.price)];
          context.arc(x, top, 3, 0, 7);
          context.fill();
          context.fillText(mark.text, x + 8, top + 4);
        }
        context.stroke();
      }
    });
  }
}
