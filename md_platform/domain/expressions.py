"""Custom formulas: text in, a checked expression out, which makes one column of bars.

    (close - sma(20)) / atr(14) > 1
    macd.signal > 0 and rsi(14) < 30

Columns are open, high, low, close, volume. A name with numbers is an indicator of the registry, with its defaults where
it stands alone; of an indicator with several outputs one is named after a full stop. abs, log, sqrt, min and max are
functions, `shift(x, n)` is x of n bars before. There are + - * / % **, comparisons (1 or 0), and, or, not. What is not
known (an indicator that warms up, a division by 0) is NaN, and so is all that is computed from it.

The text is parsed by Python's own grammar and only these things of it are accepted: nothing is ever evaluated.
"""

import ast
import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from md_platform.domain.indicators import REGISTRY, IndicatorSpec, Ohlcv
from md_platform.domain.indicators.ohlcv import FloatArray
from md_platform.errors import InvalidExpression, MdpError

LONGEST = 500
"""Characters of an expression."""
DEEPEST = 20
MOST_NODES = 150
MOST_INDICATORS = 20
FARTHEST_SHIFT = 10_000

COLUMNS = ("open", "high", "low", "close", "volume")

_Evaluate = Callable[[Ohlcv], FloatArray]
_Binary = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression, with the indicators in it. `memory` and `lookback` are bars, as those of an indicator."""

    text: str
    indicators: tuple[IndicatorSpec, ...]
    lookback: int
    memory: int
    _evaluate: _Evaluate

    def evaluate(self, bars: Ohlcv) -> FloatArray:
        """Its value at each bar; NaN where it is not known."""
        with np.errstate(all="ignore"):
            values = np.asarray(self._evaluate(bars), dtype=np.float64)
        return np.where(np.isfinite(values), values, np.nan)


def parse_expression(text: str) -> Expression:
    """The expression that `text` is; InvalidExpression says what is wrong and where."""
    if len(text) > LONGEST:
        raise InvalidExpression(f"an expression has at most {LONGEST} characters, was {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = getattr(error, "offset", None)
        where = f" at character {at}" if at else ""
        raise InvalidExpression(f"not an expression{where}: {getattr(error, 'msg', error)}") from None
    nodes = sum(1 for _ in ast.walk(tree))
    if nodes > 4 * MOST_NODES:
        raise InvalidExpression(f"an expression has at most {MOST_NODES} parts")
    parser = _Parser()
    part = parser.part(tree.body, 0)
    return Expression(text.strip(), tuple(parser.indicators), part.lookback, part.memory, part.evaluate)


@dataclass(frozen=True, slots=True)
class _Part:
    evaluate: _Evaluate
    lookback: int = 0
    memory: int = 0


def _known(compare: _Binary) -> _Binary:
    """`compare` as 1 and 0, NaN where a side is."""

    def compared(left: FloatArray, right: FloatArray) -> FloatArray:
        return np.where(np.isnan(left) | np.isnan(right), np.nan, compare(left, right).astype(np.float64))

    return compared


def _and(left: FloatArray, right: FloatArray) -> FloatArray:
    return np.where(np.isnan(left) | np.isnan(right), np.nan, ((left != 0) & (right != 0)).astype(np.float64))


def _or(left: FloatArray, right: FloatArray) -> FloatArray:
    return np.where(np.isnan(left) | np.isnan(right), np.nan, ((left != 0) | (right != 0)).astype(np.float64))


def _not(value: FloatArray) -> FloatArray:
    return np.where(np.isnan(value), np.nan, (value == 0).astype(np.float64))


_UNARY: Mapping[type[ast.unaryop], Callable[..., FloatArray]] = {ast.USub: np.negative, ast.Not: _not}
_ARITHMETIC: Mapping[type[ast.operator], _Binary] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_COMPARISONS: Mapping[type[ast.cmpop], _Binary] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: Mapping[str, tuple[int, Callable[..., FloatArray]]] = {
    "abs": (1, np.abs),
    "log": (1, np.log),
    "sqrt": (1, np.sqrt),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
}


class _Parser:
    def __init__(self) -> None:
        self.indicators: list[IndicatorSpec] = []
        self._parts = 0

    def part(self, node: ast.expr, depth: int) -> _Part:
        self._parts += 1
        if self._parts > MOST_NODES:
            raise _wrong(node, f"an expression has at most {MOST_NODES} parts")
        if depth > DEEPEST:
            raise _wrong(node, f"an expression is at most {DEEPEST} parts deep")
        visit = _VISITS.get(type(node))
        if visit is None:
            raise _wrong(node, f"{type(node).__name__.lower()} has no meaning here")
        return visit(self, node, depth + 1)

    def constant(self, node: ast.Constant, _: int) -> _Part:
        """A number."""
        number = _number(node)
        return _Part(lambda bars: np.full(len(bars), number))

    def name(self, node: ast.Name, _: int) -> _Part:
        """A column, or an indicator with its defaults."""
        name = node.id
        if name in COLUMNS:
            return _Part(lambda bars: np.asarray(getattr(bars, name)))
        return self._indicator(node, name, (), None)

    def attribute(self, node: ast.Attribute, depth: int) -> _Part:
        """An output of an indicator."""
        match node.value:
            case ast.Name(id=name):
                return self._indicator(node, name, (), node.attr)
            case ast.Call() as call:
                return self.call(call, depth, node.attr)
        raise _wrong(node, "only outputs of indicators stand after a full stop")

    def unary(self, node: ast.UnaryOp, depth: int) -> _Part:
        """A sign, or not."""
        inner = self.part(node.operand, depth)
        return inner if isinstance(node.op, ast.UAdd) else _combined(_of(_UNARY, node.op, node), inner)

    def binary(self, node: ast.BinOp, depth: int) -> _Part:
        """Arithmetic."""
        return _combined(_of(_ARITHMETIC, node.op, node), self.part(node.left, depth), self.part(node.right, depth))

    def boolean(self, node: ast.BoolOp, depth: int) -> _Part:
        """and, or."""
        how = _and if isinstance(node.op, ast.And) else _or
        return functools.reduce(functools.partial(_combined, how), [self.part(each, depth) for each in node.values])

    def compare(self, node: ast.Compare, depth: int) -> _Part:
        """One comparison: 1 or 0."""
        if len(node.ops) > 1:
            raise _wrong(node, "compare two things at a time, joined by `and`")
        how = _known(_of(_COMPARISONS, node.ops[0], node))
        return _combined(how, self.part(node.left, depth), self.part(node.comparators[0], depth))

    def call(self, node: ast.Call, depth: int, output: str | None = None) -> _Part:
        """A function, or an indicator with its parameters."""
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise _wrong(node, "a function is written as name(argument, ...)")
        name = node.func.id
        if output is None and name == "shift":
            return self._shifted(node, depth)
        if output is None and name in _FUNCTIONS:
            wanted, function = _FUNCTIONS[name]
            if len(node.args) != wanted:
                raise _wrong(node, f"{name} takes {wanted} arguments, was given {len(node.args)}")
            return _combined(function, *(self.part(argument, depth) for argument in node.args))
        return self._indicator(node, name, tuple(_number(argument) for argument in node.args), output)

    def _shifted(self, node: ast.Call, depth: int) -> _Part:
        if len(node.args) != 2:  # noqa: PLR2004 - what and how far
            raise _wrong(node, "shift takes what and by how many bars")
        inner, by = self.part(node.args[0], depth), _number(node.args[1])
        if by != int(by) or not 1 <= by <= FARTHEST_SHIFT:
            raise _wrong(node, f"shift is by 1 to {FARTHEST_SHIFT} bars before, was {by:g}")
        bars_before = int(by)

        def shifted(bars: Ohlcv) -> FloatArray:
            values = np.asarray(inner.evaluate(bars), dtype=np.float64)
            moved = np.full(len(values), np.nan)
            moved[bars_before:] = values[: max(len(values) - bars_before, 0)]
            return moved

        return _Part(shifted, inner.lookback + bars_before, inner.memory + bars_before)

    def _indicator(self, node: ast.expr, name: str, given: tuple[float, ...], output: str | None) -> _Part:
        if name not in REGISTRY:
            known = f"columns are {' '.join(COLUMNS)}, functions {' '.join(_FUNCTIONS)} shift, and every indicator"
            raise _wrong(node, f"nothing is called {name!r}: {known}")
        try:
            spec = REGISTRY[name].bind(*given)
        except MdpError as error:
            raise _wrong(node, str(error)) from None
        if len(self.indicators) >= MOST_INDICATORS:
            raise _wrong(node, f"an expression has at most {MOST_INDICATORS} indicators")
        outputs = [_short(name, each.name) for each in spec.indicator.outputs]
        wanted = output or (name if name in outputs else outputs[0] if len(outputs) == 1 else None)
        if wanted is None:
            raise _wrong(node, f"{name} has several outputs, say which: {' '.join(f'{name}.{o}' for o in outputs)}")
        if wanted not in outputs:
            raise _wrong(node, f"outputs of {name} are {' '.join(outputs)}, was {wanted!r}")
        at = outputs.index(wanted)
        self.indicators.append(spec)
        return _Part(lambda bars: spec.evaluate(bars)[at], spec.lookback, spec.memory)


def _short(indicator: str, output: str) -> str:
    """The name of an output within its indicator: `signal` of macd_signal, `upper` of bb_upper, `macd` of macd."""
    return output if output == indicator else output.partition("_")[2] or output


_VISITS: Mapping[type[ast.expr], Callable[[_Parser, Any, int], _Part]] = {
    ast.Constant: _Parser.constant,
    ast.Name: _Parser.name,
    ast.Attribute: _Parser.attribute,
    ast.UnaryOp: _Parser.unary,
    ast.BinOp: _Parser.binary,
    ast.BoolOp: _Parser.boolean,
    ast.Compare: _Parser.compare,
    ast.Call: _Parser.call,
}
"""All that an expression may be made of."""


def _of(meanings: Mapping[Any, Callable[..., FloatArray]], sign: ast.AST, node: ast.expr) -> Callable[..., FloatArray]:
    if type(sign) not in meanings:
        raise _wrong(node, f"{type(sign).__name__.lower()} has no meaning here")
    return meanings[type(sign)]


def _combined(how: Callable[..., FloatArray], *parts: _Part) -> _Part:
    return _Part(
        lambda bars: how(*(part.evaluate(bars) for part in parts)),
        max(part.lookback for part in parts),
        max(part.memory for part in parts),
    )


def _number(node: ast.expr) -> float:
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1.0, node.operand
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(node, "a number was expected")
    try:
        return sign * float(value)
    except OverflowError:
        raise _wrong(node, "the number is too large") from None


def _wrong(node: ast.expr, what: str) -> InvalidExpression:
    return InvalidExpression(f"at character {node.col_offset + 1}: {what}")
