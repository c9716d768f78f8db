"""Bars and indicator values in, a chart as SVG out: candles or a line, volume, indicators over it or in panes below."""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

import polars as pl

Theme = Literal["light", "dark"]
_TOP, _RIGHT, _BOTTOM, _LEFT = 34, 76, 26, 12
_VOLUME_SHARE = 0.18
_PRICE_PANES = 3  # panes of indicators that are as high as the price's
_BETWEEN = 10
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
    "light": Colours("#ffffff", "#4a5564", "#dde1e7", "#067065", "#ad440a"),
    "dark": Colours("#12171e", "#b1bac6", "#222a35", "#3cc4b2", "#f0925a"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """An output of an indicator, a value a bar or null: over the price (pane 0) or in a pane below (1, 2, …)."""

    values: pl.Series
    pane: int = 0


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
    """Places of values and bars in one pane."""

    low: float
    high: float
    top: float
    bottom: float
    step: float

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low or 1.0) * (self.bottom - self.top)

    def x(self, n: int) -> float:
        return _LEFT + (n + 0.5) * self.step


def chart_svg(bars: pl.DataFrame, lines: Sequence[Line], drawing: Drawing) -> str:
    """The chart of `bars` (open_time, open, high, low, close, volume)."""
    colours = _COLOURS[drawing.theme]
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width} {drawing.height}"'
            f' width="{drawing.width}" height="{drawing.height}" font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="100%" height="100%" fill="{colours.ground}"/>',
        f'<text x="{_LEFT}" y="17" fill="{colours.ink}" font-size="14">{escape(drawing.title)}</text>',
    ]
    if bars.is_empty():
        parts.append(f'<text x="{_LEFT}" y="60" fill="{colours.ink}">no bars in this range</text>')
        return "".join([*parts, "</svg>"])
    panes = 1 + max((line.pane for line in lines), default=0)
    each = (drawing.height - _TOP - _BOTTOM) / (_PRICE_PANES + panes - 1)
    parts += _times(bars, drawing, colours)
    for pane in range(panes):
        top = _TOP + (each * (_PRICE_PANES + pane - 1) if pane else 0)
        bottom = top + (each if pane else each * _PRICE_PANES)
        shown = [(n, line.values) for n, line in enumerate(lines) if line.pane == pane]
        parts += _pane(bars, shown, drawing, (top, bottom)) if pane else _prices(bars, shown, drawing, bottom)
    return "".join([*parts, "</svg>"])


def _prices(bars: pl.DataFrame, lines: Sequence[tuple[int, pl.Series]], drawing: Drawing, bottom: float) -> list[str]:
    """The pane of the price: its bars, what is drawn over them, and volume at its foot."""
    colours = _COLOURS[drawing.theme]
    foot = bottom - (bottom - _TOP) * (_VOLUME_SHARE if drawing.has_volume else 0)
    series = [bars["low"], bars["high"], *(values for _, values in lines)]
    scale = _scale(series, (_TOP, foot - _BETWEEN), bars.height, drawing)
    parts = _grid(scale, drawing, colours, lines=6)
    if drawing.has_volume:
        parts += _volume(bars, scale, bottom, colours)
    parts += _candles(bars, scale, colours) if drawing.kind == "candles" else [_line(bars["close"], scale, _LINES[0])]
    return [*parts, *_lines(lines, scale)]


def _pane(
    bars: pl.DataFrame, lines: Sequence[tuple[int, pl.Series]], drawing: Drawing, span: tuple[float, float]
) -> list[str]:
    """The pane of one indicator, from `span`'s top to its bottom."""
    colours, (top, bottom) = _COLOURS[drawing.theme], span
    scale = _scale([values for _, values in lines], (top + 2 * _BETWEEN, bottom), bars.height, drawing)
    border = f'<path d="M0 {top + 6:.1f}H{drawing.width}" stroke="{colours.grid}" stroke-width="2"/>'
    return [border, *_grid(scale, drawing, colours, lines=3), *_lines(lines, scale)]


def _scale(series: Sequence[pl.Series], span: tuple[float, float], count: int, drawing: Drawing) -> _Scale:
    known = _numbers([bound for each in series for bound in (each.min(), each.max())])
    low, high = min(known, default=0.0), max(known, default=1.0)
    return _Scale(low, high, *span, (drawing.width - _LEFT - _RIGHT) / count)


def _grid(scale: _Scale, drawing: Drawing, colours: Colours, lines: int) -> list[str]:
    right = drawing.width - _RIGHT
    parts = []
    for value in _ticks(scale.low, scale.high, lines):
        y = scale.y(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="{colours.grid}"/>')
        parts.append(f'<text x="{right + 6}" y="{y + 4:.1f}" fill="{colours.ink}">{value:,.6g}</text>')
    return parts


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten, `most` at most."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)][:most]


def _times(bars: pl.DataFrame, drawing: Drawing, colours: Colours) -> list[str]:
    times: list[dt.datetime] = bars["open_time"].to_list()
    is_long = times[-1] - times[0] > dt.timedelta(days=60)
    step = (drawing.width - _LEFT - _RIGHT) / len(times)
    every = max(1, math.ceil(110 / step))
    return [
        f'<text x="{_LEFT + (n + 0.5) * step:.1f}" y="{drawing.height - 8}" fill="{colours.ink}">'
        f"{times[n]:{'%Y-%m-%d' if is_long else '%d %b %H:%M'}}</text>"
        for n in range(0, len(times), every)
    ]


def _lines(lines: Sequence[tuple[int, pl.Series]], scale: _Scale) -> list[str]:
    """Each with its name above, in its colour."""
    parts = []
    for place, (n, series) in enumerate(lines):
        colour = _LINES[n % len(_LINES)]
        name = f'<text x="{_LEFT + 130 * place}" y="{scale.top - 2}" fill="{colour}">{escape(series.name)}</text>'
        parts += [_line(series, scale, colour), name]
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


def _volume(bars: pl.DataFrame, scale: _Scale, bottom: float, colours: Colours) -> list[str]:
    most = max(_numbers([bars["volume"].max()]), default=0.0) or 1.0
    room, half = bottom - scale.bottom - _BETWEEN, max(0.4, scale.step * 0.35)
    path = "".join(
        f"M{scale.x(n) - half:.1f} {bottom:.1f}v{-volume / most * room:.1f}h{2 * half:.1f}V{bottom:.1f}z"
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
