"""The words that indicators are written in. They work on columns, for batch, and on lines, which go on bar by bar.

A line is a column so far and how its next value is made. An indicator's function, given lines in place of columns,
puts out lines: from these `opened` makes a plain function from the next bar to the next values. So an indicator has
one definition. What is written in numpy instead of these words cannot be opened, and is computed anew for each bar.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NoReturn, TypeAlias, cast

import numpy as np
import talib
from numpy.typing import NDArray

from md_platform.domain.indicators.ohlcv import FloatArray, Ohlcv

DAY_US = 86_400_000_000
NAN = math.nan

Next: TypeAlias = Callable[[Any], tuple[float, ...]]
"""From a bar (events.Bar) to the values of the outputs."""


class Formula:
    """The steps from a bar to its values, as they are written down while an indicator's function runs on lines.

    A part is a step that remembers; it has one function that goes on and one that only looks ahead.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.parts: list[tuple[Any, Any]] = []
        self._lines = 0

    def lines(self, text: str, columns: Sequence[Any]) -> "tuple[Line, ...]":
        """Lines for the values of the step `text`, one for each of `columns`, which hold the values so far."""
        names = [f"x{self._lines + n}" for n in range(len(columns))]
        self._lines += len(columns)
        self.steps.append(f"{', '.join(names)} = {text}")
        return tuple(Line(self, name, column) for name, column in zip(names, columns, strict=True))

    def part(self, update: object, peek: object) -> str:
        """Name of a part: what a step calls to go on, and what it calls to look ahead."""
        self.parts.append((update, peek))
        return f"p{len(self.parts) - 1}"

    def compiled(self, outputs: "Sequence[Line]") -> tuple[Next, Next]:
        """Functions from the next bar to `outputs`: the first goes on, the second looks ahead."""
        names = [f"p{n}" for n in range(len(self.parts))]
        body = [*self.steps, f"return ({', '.join(line.text for line in outputs)},)"]
        inner = "".join(f"        {step}\n" for step in body)
        make = _made(f"def make({', '.join(names)}):\n    def following(bar):\n{inner}    return following\n")
        return make(*(update for update, _ in self.parts)), make(*(peek for _, peek in self.parts))


@lru_cache(maxsize=4096)
def _made(source: str) -> Callable[..., Next]:
    """The maker of a formula's function. Its source depends on indicator and parameters, not on data: compiled once."""
    namespace: dict[str, Any] = {"log": np.log, "nan": NAN}
    exec(source, namespace)  # noqa: S102 - written by Formula alone, from the repository's own functions and numbers
    return cast("Callable[..., Next]", namespace["make"])


class Line:
    """A column that goes on: `so_far` its values until now, `text` what a step calls its next value."""

    __slots__ = ("formula", "so_far", "text")
    __array_ufunc__ = None  # numpy leaves arithmetic between an array and a line to the line, which refuses

    def __init__(self, formula: Formula, text: str, so_far: NDArray[Any]) -> None:
        self.formula = formula
        self.text = text
        self.so_far = so_far

    def __array__(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a line is no array: this formula is not written in the words of lines")

    def __bool__(self) -> NoReturn:
        raise TypeError("a line is no single value: choose by where()")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("lines are compared by <= only")

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: "Line | float") -> "Line":
        return self._with("+", other, np.add)

    def __sub__(self, other: "Line | float") -> "Line":
        return self._with("-", other, np.subtract)

    def __mul__(self, other: "Line | float") -> "Line":
        return self._with("*", other, np.multiply)

    __rmul__ = __mul__

    def __truediv__(self, other: "Line | float") -> "Line":
        return self._with("/", other, np.divide)

    def __le__(self, other: "Line | float") -> "Line":
        return self._with("<=", other, np.less_equal)

    def _with(self, sign: str, other: "Line | float", apply: Callable[[Any, Any], Any]) -> "Line":
        return _step(f"{self.text} {sign} {_text(other)}", apply, self, other)


def _text(value: object) -> str:
    if isinstance(value, Line):
        return value.text
    if isinstance(value, int | float):
        return repr(float(value))
    raise TypeError(f"a line combines with lines and numbers, was {value!r}")


def _so_far(value: Any) -> Any:  # noqa: ANN401 - a column or a number
    return value.so_far if isinstance(value, Line) else value


def _step(text: str, apply: Callable[..., Any], *inputs: object) -> Line:
    formula = next(each.formula for each in inputs if isinstance(each, Line))
    return formula.lines(text, [apply(*map(_so_far, inputs))])[0]


class _TaLib:
    """TA-Lib's functions by their names: `ta.EMA(column, period)`. On lines they are its streams, equal bit for bit."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a function of columns; TA-Lib publishes no types
        return partial(_talib, name)


def _talib(name: str, *inputs: Any) -> Any:  # noqa: ANN401 - a column or several, as TA-Lib has them
    lines = [each for each in inputs if isinstance(each, Line)]
    if not lines:
        return getattr(talib, name)(*inputs)
    stream, columns = getattr(talib.stream, name).open_and_fill(*map(_so_far, inputs))
    formula = lines[0].formula
    text = f"{formula.part(stream.update, stream.peek)}({', '.join(line.text for line in lines)})"
    return formula.lines(text, columns) if isinstance(columns, tuple) else formula.lines(text, [columns])[0]


ta = _TaLib()


def log(column: FloatArray) -> FloatArray:
    """Natural logarithm."""
    logarithm: FloatArray = _word(column, lambda x: f"log({x})", np.log)
    return logarithm


def is_known(column: FloatArray) -> NDArray[np.bool_]:
    """False while the column warms up."""
    known: NDArray[np.bool_] = _word(column, lambda x: f"{x} == {x}", lambda values: ~np.isnan(values))
    return known


def where(condition: NDArray[np.bool_], one: FloatArray | float, other: FloatArray | float) -> FloatArray:
    """`one` where the condition holds, else `other`."""
    if not isinstance(condition, Line):
        chosen: FloatArray = np.where(condition, one, other)
        return chosen
    text = f"{_text(one)} if {condition.text} else {_text(other)}"
    return cast("FloatArray", _step(text, np.where, condition, one, other))


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """`part` / `whole`, NaN where the whole is not above 0."""
    if not isinstance(part, Line):
        quotient: FloatArray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
        return quotient
    x = _text(whole)
    return cast("FloatArray", _step(f"{part.text} / {x} if {x} > 0 else nan", ratio, part, whole))


def earlier(column: FloatArray, bars: int) -> FloatArray:
    """What the column was `bars` bars ago, NaN where it had not begun."""
    if not isinstance(column, Line):
        return np.concatenate((np.full(min(bars, len(column)), np.nan), column[:-bars]))
    delay = _Delay(np.concatenate((np.full(bars, np.nan), column.so_far))[-bars:].tolist())
    text = f"{column.formula.part(delay.update, delay.peek)}({column.text})"
    return cast("FloatArray", _step(text, partial(earlier, bars=bars), column))


def sum_of_day(column: FloatArray, open_time: NDArray[np.int64]) -> FloatArray:
    """Sum of the column since UTC midnight, the bar itself included.

    Summed day by day: a running sum over all days, less its value at midnight, loses the digits of small values.
    """
    if not isinstance(column, Line):
        midnights = np.flatnonzero(np.diff(open_time // DAY_US)) + 1
        return np.concatenate([day.cumsum() for day in np.split(column, midnights)])
    summed = sum_of_day(column.so_far, _so_far(open_time))
    total = _DaySum(_so_far(open_time), summed)
    text = f"{column.formula.part(total.update, total.peek)}({column.text}, {_text(open_time)})"
    return cast("FloatArray", column.formula.lines(text, [summed])[0])


def _constant(formula: Formula, value: float) -> Line:
    """A number that depends on the data: a part and not text, so that the formula's source stays the same."""
    return Line(formula, formula.part(value, value), np.array(value))


def _word(column: Any, text: Callable[[str], str], apply: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    return _step(text(column.text), apply, column) if isinstance(column, Line) else apply(column)


class _Delay:
    """The last values of a line, the oldest at `_at`."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: list[float]) -> None:
        self._values = values
        self._at = 0

    def update(self, value: float) -> float:
        at = self._at
        oldest = self._values[at]
        self._values[at] = value
        self._at = (at + 1) % len(self._values)
        return oldest

    def peek(self, _: float) -> float:
        return self._values[self._at]


class _DaySum:
    """The sum of a line since the midnight before its latest bar."""

    __slots__ = ("_day", "_total")

    def __init__(self, open_time: NDArray[np.int64], summed: FloatArray) -> None:
        self._day = int(open_time[-1]) // DAY_US if len(open_time) else None
        self._total = float(summed[-1]) if len(summed) else 0.0

    def update(self, value: float, open_time: int) -> float:
        self._total = self.peek(value, open_time)
        self._day = open_time // DAY_US
        return self._total

    def peek(self, value: float, open_time: int) -> float:
        return self._total + value if open_time // DAY_US == self._day else value


def opened(
    function: Callable[..., Sequence[FloatArray]], parameters: Sequence[float], bars: Ohlcv, since: int = 0
) -> tuple[Next, Next]:
    """The indicator after `bars`: functions from the next bar to its values, the first goes on, the second looks ahead.

    `since`: values are counted from the one of the bar before this row, 0 for none. InsufficientHistory (TA-Lib's)
    where there are too few bars, TypeError where the function uses other words than those here.
    """
    formula = Formula()
    names = ("open", "high", "low", "close", "volume")
    columns: dict[str, Any] = {name: Line(formula, f"bar.{name}", getattr(bars, name)) for name in names}
    columns["open_time"] = Line(formula, "(bar.open_time // 1000)", bars.open_time)
    outputs = cast("Sequence[Line]", function(replace(bars, **columns), *parameters))
    if since:
        outputs = [line - _constant(formula, float(line.so_far[since - 1])) for line in outputs]
    return formula.compiled(outputs)
