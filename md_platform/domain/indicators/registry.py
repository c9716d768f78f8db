"""What an indicator is: one function over bars, registered with its parameters, outputs, warm-up, memory and source.

    @indicator(inputs="close", outputs=(Output("ema", "quote", "exponential moving average"),),
               lookback=lambda period: period - 1, memory=lambda period: ema_memory(period), source="TA-Lib EMA")
    def ema(bars: Ohlcv, period: Period = 20) -> Outputs: ...

That declaration is all there is to adding one: its name, parameters, defaults and bounds are read from the signature.
"""

import difflib
import inspect
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias, get_args, get_origin, get_type_hints

import polars as pl

from md_platform.domain.indicators.ohlcv import FloatArray, Ohlcv
from md_platform.domain.schemas import Column
from md_platform.errors import InvalidParameter, UnknownIndicator

Outputs: TypeAlias = tuple[FloatArray, ...]
"""One float64 array per declared output, each as long as the bars, NaN while the indicator warms up."""

_Count = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Inclusive limits of a parameter."""

    low: float
    high: float


LONGEST = 10_000
Period = Annotated[int, Bounds(2, LONGEST)]
"""A window in bars."""
Shift = Annotated[int, Bounds(1, LONGEST)]
"""A distance in bars, or a smoothing where 1 means none."""
Multiple = Annotated[float, Bounds(0.01, 100)]
"""Standard deviations or average ranges."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output: its column's name before the parameters, unit ("" where it has none) and meaning."""

    name: str
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A bounded number: whole where its default is an int."""

    name: str
    default: float
    bounds: Bounds

    def checked(self, value: float, indicator: str) -> float:
        """`value` as this parameter's type, or InvalidParameter."""
        low, high = self.bounds.low, self.bounds.high
        whole = isinstance(self.default, int)
        if not (math.isfinite(value) and low <= value <= high and (value == int(value) or not whole)):
            kind = "a whole number" if whole else "a number"
            raise InvalidParameter(
                f"{self.name} of {indicator} must be {kind} from {low:g} to {high:g}, was {_text(value)}"
            )
        return int(value) if whole else float(value)


@dataclass(frozen=True, slots=True, eq=False)
class Indicator:
    """A registered function and what it declares; `bind` gives it parameters.

    lookback: bars without a value at the start of a series. memory: bars of history from which a value equals the one
    of the whole series to 1e-9. cumulative: sums since the first bar, so that no memory suffices; stored values restart
    (see compute_day). ascending: parameters that must grow in this order. overlay: its outputs are prices,
    to be drawn over them.
    """

    name: str
    family: str
    function: Callable[..., Outputs]
    parameters: tuple[Parameter, ...]
    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]
    lookback: _Count
    memory: _Count
    source: str
    cumulative: bool
    ascending: tuple[str, ...]
    overlay: bool

    @property
    def meaning(self) -> str:
        """What it measures and its conventions."""
        return inspect.getdoc(self.function) or ""

    def bind(self, *values: float) -> "IndicatorSpec":
        """The indicator with these parameters in order, defaults for those left out; InvalidParameter otherwise."""
        if len(values) > len(self.parameters):
            names = ", ".join(parameter.name for parameter in self.parameters) or "none"
            raise InvalidParameter(
                f"{self.name} takes at most {len(self.parameters)} parameters ({names}), was given {len(values)}"
            )
        given = (*values, *(parameter.default for parameter in self.parameters[len(values) :]))
        bound = tuple(p.checked(value, self.name) for p, value in zip(self.parameters, given, strict=True))
        by_name = {parameter.name: value for parameter, value in zip(self.parameters, bound, strict=True)}
        ordered = [by_name[name] for name in self.ascending]
        if any(right <= left for left, right in itertools.pairwise(ordered)):
            raise InvalidParameter(
                f"{self.name} needs {' < '.join(self.ascending)}, was {', '.join(map(_text, ordered))}"
            )
        suffix = "".join(f"_{_text(value).replace('.', 'p')}" for value in bound)
        return IndicatorSpec(
            indicator=self,
            parameters=bound,
            outputs=tuple(
                Column(output.name + suffix, pl.Float64(), output.unit, output.meaning, nullable=True)
                for output in self.outputs
            ),
            columns=tuple(output.name + suffix for output in self.outputs),
            lookback=self.lookback(*bound),
            memory=self.memory(*bound),
        )


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    """An indicator with its parameters bound: which columns it fills and how many bars it needs."""

    indicator: Indicator
    parameters: tuple[float, ...]
    outputs: tuple[Column, ...]
    columns: tuple[str, ...]
    lookback: int
    memory: int

    def __str__(self) -> str:
        """What parse_spec reads: ema(20), obv."""
        given = ",".join(map(_text, self.parameters))
        return f"{self.indicator.name}({given})" if given else self.indicator.name

    def evaluate(self, bars: Ohlcv) -> Outputs:
        """Its outputs over all of `bars`, in the order of `columns`."""
        return self.indicator.function(bars, *self.parameters)


REGISTRY: dict[str, Indicator] = {}
"""Every indicator by name, in the order of their files."""


def indicator(
    *,
    inputs: str,
    outputs: tuple[Output, ...],
    lookback: _Count,
    source: str,
    memory: _Count | None = None,
    cumulative: bool = False,
    ascending: tuple[str, ...] = (),
    overlay: bool = False,
) -> Callable[[Callable[..., Outputs]], Callable[..., Outputs]]:
    """Register the decorated function. `inputs` names the bar columns it reads, separated by spaces.

    Without `memory` the indicator looks at a finite window, so that its memory is its lookback.
    """

    def register(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
        name = function.__name__
        if name in REGISTRY:
            raise InvalidParameter(f"an indicator's name must be new, was {name!r}")
        REGISTRY[name] = Indicator(
            name=name,
            family=function.__module__.rpartition(".")[2],
            function=function,
            parameters=_parameters_of(function),
            inputs=tuple(inputs.split()),
            outputs=outputs,
            lookback=lookback,
            memory=memory or lookback,
            source=source,
            cumulative=cumulative,
            ascending=ascending,
            overlay=overlay,
        )
        return function

    return register


def _parameters_of(function: Callable[..., Outputs]) -> tuple[Parameter, ...]:
    hints = get_type_hints(function, include_extras=True)
    parameters: list[Parameter] = []
    for name, declared in list(inspect.signature(function).parameters.items())[1:]:
        if get_origin(hints[name]) is not Annotated or declared.default is inspect.Parameter.empty:
            raise InvalidParameter(f"{name} of {function.__name__} must have Bounds and a default")
        parameters.append(Parameter(name, declared.default, get_args(hints[name])[1]))
    return tuple(parameters)


_SPEC = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*")


def parse_spec(text: str) -> IndicatorSpec:
    """`text` such as "ema(20)", "macd(12,26,9)" or "rsi" (its defaults) as a bound indicator.

    UnknownIndicator names the nearest ones; InvalidParameter says which parameter is wrong.
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise UnknownIndicator(f"an indicator is written as name or name(number,...), was {text!r}")
    name = match[1].lower()
    if name not in REGISTRY:
        nearest = difflib.get_close_matches(name, REGISTRY, n=5, cutoff=0.5)
        hint = f"nearest: {' '.join(nearest)}" if nearest else f"known: {' '.join(REGISTRY)}"
        raise UnknownIndicator(f"no indicator is called {match[1]!r}; {hint}")
    given = match[2].split(",") if match[2] and match[2].strip() else []
    try:
        values = [float(value) for value in given]
    except ValueError:
        raise InvalidParameter(f"parameters of {name} must be numbers, was {match[2]!r}") from None
    return REGISTRY[name].bind(*values)


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


# An exponential average forgets: a bar m bars back keeps the weight (1 - alpha)^m. 1e-10 rather than 1e-9 leaves room
# for a seed that is ten times off the average it becomes, as an average range is after a crash.
_FORGOTTEN = 1e-10


def settled_after(alpha: float, stages: int = 1) -> int:
    """Bars after which `stages` exponential averages of weight `alpha`, each over the one before, forget their seeds.

    What is left after m bars is the Poisson tail e^-x · Σ x^j/j!, j < stages, x = m·alpha: 23 / alpha for one stage.
    """
    x = -math.log(_FORGOTTEN)
    for _ in range(50):
        x = -math.log(_FORGOTTEN) + math.log(sum(x**j / math.factorial(j) for j in range(stages)))
    return math.ceil(x / alpha)


def ema_memory(period: int, stages: int = 1) -> int:
    """Bars after which EMAs of `period` (weight 2 / (period + 1)) forget their seeds: 11.5 (period + 1) for one."""
    return settled_after(2 / (period + 1), stages)


def wilder_memory(period: int, stages: int = 1) -> int:
    """Bars after which Wilder averages of `period` (weight 1 / period) forget their seeds: 23 period for one."""
    return settled_after(1 / period, stages)
