"""Bars and indicator values in, a chart as SVG out: candles or a line, volume below, lines of indicators above it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

import polars as pl

Theme = Literal["light", "dark"]
_TOP, _RIGHT, _BOTTOM, _LEFT = 34, 76, 26, 12
_VOLUME_SHARE = 0.18
_GRID_LINES = 6
_LINES = ("#3b82f6", "#d97706", "#8b5cf6", "#0d9488", "#db2777")


@dataclass(frozen=True, slots=True)
class Colours:
    """What a theme paints with."""

    ground: str
    ink: str
    grid: str
    up: str
    down: str


_COLOURS: dict[Theme, Colours] = {
    "light": Colours("#ffffff", "#4a5564", "#dde1e7", "#087f73", "#b4480c"),
    "dark": Colours("#12171e", "#b1bac6", "#222a35", "#3cc4b2", "#f0925a"),
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a chart is to look; sizes are pixels."""

    title: str
    kind: Literal["candles", "line"] = "candles"
    theme: Theme = "light"
    width: int = 1200
    height: int = 600
    has_volume: bool = True


@dataclass(frozen=True, slots=True)
class _Scale:
    """Places of prices and bars."""

    low: float
    high: float
    top: float
    bottom: float
    step: float

    def y(self, price: float) -> float:
        return self.bottom - (price - self.low) / (self.high - self.low or 1.0) * (self.bottom - self.top)

    def x(self, n: int) -> float:
        return _LEFT + (n + 0.5) * self.step


def chart_svg(bars: pl.DataFrame, lines: Sequence[pl.Series], drawing: Drawing) -> str:
    """The chart of `bars` (open_time, open, high, low, close, volume); each of `lines` has a value a bar, or null."""
    colours = _COLOURS[drawing.theme]
    inner = drawing.width - _LEFT - _RIGHT
    bottom = (drawing.height - _BOTTOM) * (1 - (_VOLUME_SHARE if drawing.has_volume else 0))
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width} {drawing.height}"'
            f' width="{drawing.width}" height="{drawing.height}" font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="100%" height="100%" fill="{colours.ground}"/>',
        f'<text x="{_LEFT}" y="20" fill="{colours.ink}" font-size="14">{escape(drawing.title)}</text>',
    ]
    if bars.is_empty():
        parts.append(f'<text x="{_LEFT}" y="60" fill="{colours.ink}">no bars in this range</text>')
        return "".join([*parts, "</svg>"])
    lows, highs = [bars["low"].min(), *(s.min() for s in lines)], [bars["high"].max(), *(s.max() for s in lines)]
    low, high = min(_numbers(lows)), max(_numbers(highs))
    scale = _Scale(low, high, _TOP, bottom - 8, inner / bars.height)
    parts += _grid(bars, scale, drawing, colours)
    if drawing.has_volume:
        parts += _volume(bars, scale, drawing, colours)
    parts += _candles(bars, scale, colours) if drawing.kind == "candles" else [_line(bars["close"], scale, _LINES[0])]
    for n, series in enumerate(lines):
        colour = _LINES[n % len(_LINES)]
        parts.append(_line(series, scale, colour))
        parts.append(f'<text x="{_LEFT + 110 * n}" y="{_TOP + 14}" fill="{colour}">{escape(series.name)}</text>')
    return "".join([*parts, "</svg>"])


def _grid(bars: pl.DataFrame, scale: _Scale, drawing: Drawing, colours: Colours) -> list[str]:
    right = drawing.width - _RIGHT
    parts = []
    for n in range(_GRID_LINES):
        price = scale.low + (scale.high - scale.low) * n / (_GRID_LINES - 1)
        y = scale.y(price)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="{colours.grid}"/>')
        parts.append(f'<text x="{right + 6}" y="{y + 4:.1f}" fill="{colours.ink}">{price:,.6g}</text>')
    times: list[dt.datetime] = bars["open_time"].to_list()
    is_long = times[-1] - times[0] > dt.timedelta(days=3)
    for n in range(0, len(times), max(1, len(times) // 8)):
        text = f"{times[n]:%Y-%m-%d}" if is_long else f"{times[n]:%d %b %H:%M}"
        parts.append(f'<text x="{scale.x(n):.1f}" y="{drawing.height - 8}" fill="{colours.ink}">{text}</text>')
    return parts


def _candles(bars: pl.DataFrame, scale: _Scale, colours: Colours) -> list[str]:
    half = max(0.4, scale.step * 0.35)
    wicks: dict[str, list[str]] = {colours.up: [], colours.down: []}
    rows = bars.select("open", "high", "low", "close").iter_rows()
    for n, (opened, high, low, close) in enumerate(rows):
        x, top, body = scale.x(n), scale.y(max(opened, close)), abs(scale.y(opened) - scale.y(close))
        path = (
            f"M{x:.1f} {scale.y(high):.1f}V{scale.y(low):.1f}"
            f"M{x - half:.1f} {top:.1f}h{2 * half:.1f}v{max(body, 0.8):.1f}h{-2 * half:.1f}z"
        )
        wicks[colours.up if close >= opened else colours.down].append(path)
    return [f'<path d="{"".join(paths)}" fill="{c}" stroke="{c}"/>' for c, paths in wicks.items() if paths]


def _volume(bars: pl.DataFrame, scale: _Scale, drawing: Drawing, colours: Colours) -> list[str]:
    bottom, most = drawing.height - _BOTTOM, max(_numbers([bars["volume"].max()]), default=0.0) or 1.0
    room, half = bottom - scale.bottom - 8, max(0.4, scale.step * 0.35)
    path = "".join(
        f"M{scale.x(n) - half:.1f} {bottom}v{-volume / most * room:.1f}h{2 * half:.1f}V{bottom}z"
        for n, volume in enumerate(bars["volume"])
    )
    return [f'<path d="{path}" fill="{colours.ink}" opacity="0.35"/>']


def _line(series: pl.Series, scale: _Scale, colour: str) -> str:
    path, pen = [], "M"
    for n, value in enumerate(series):
        if value is None or value != value:  # noqa: PLR0124 - NaN
            pen = "M"
            continue
        path.append(f"{pen}{scale.x(n):.1f} {scale.y(value):.1f}")
        pen = "L"
    return f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _numbers(values: Sequence[object]) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float) and value == value]  # noqa: PLR0124 - NaN
