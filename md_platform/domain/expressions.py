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
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
    """A checked expression. `indicators` are those in it; `memory` and `lookback` are bars, as those of an indicator."""

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
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._constant(node, value)
            case ast.Name(id=name) if name in COLUMNS:
                return _Part(lambda bars: np.asarray(getattr(bars, name)))
            case ast.Name(id=name):
                return self._indicator(node, name, (), None)
            case ast.Attribute(value=ast.Name(id=name), attr=output):
                return self._indicator(node, name, (), output)
            case ast.Attribute(value=ast.Call() as call, attr=output):
                return self._call(call, depth, output)
            case ast.Call():
                return self._call(node, depth, None)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return _combined(np.negative, self.part(inner, depth + 1))
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                return self.part(inner, depth + 1)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return _combined(_not, self.part(inner, depth + 1))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return _combined(_ARITHMETIC[type(op)], self.part(left, depth + 1), self.part(right, depth + 1))
            case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(op) in _COMPARISONS for op in ops):
                return self._compared(node, [left, *rights], ops, depth)
            case ast.BoolOp(op=op, values=values):
                how = _and if isinstance(op, ast.And) else _or
                parts = [self.part(value, depth + 1) for value in values]
                joined = parts[0]
                for part in parts[1:]:
                    joined = _combined(how, joined, part)
                return joined
            case _:
                raise _wrong(node, f"{type(node).__name__.lower()} has no meaning here")

    def _constant(self, node: ast.expr, value: float) -> _Part:
        try:
            number = float(value)
        except OverflowError:
            raise _wrong(node, "the number is too large") from None
        return _Part(lambda bars: np.full(len(bars), number))

    def _compared(self, node: ast.expr, operands: list[ast.expr], ops: list[ast.cmpop], depth: int) -> _Part:
        if len(ops) > 1:
            raise _wrong(node, "compare two things at a time, joined by `and`")
        left, right = (self.part(operand, depth + 1) for operand in operands)
        return _combined(_known(_COMPARISONS[type(ops[0])]), left, right)

    def _call(self, node: ast.Call, depth: int, output: str | None) -> _Part:
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise _wrong(node, "a function is written as name(argument, ...)")
        name = node.func.id
        if name == "shift" and output is None:
            return self._shifted(node, depth)
        if name in _FUNCTIONS and output is None and (name not in REGISTRY):
            wanted, function = _FUNCTIONS[name]
            if len(node.args) != wanted:
                raise _wrong(node, f"{name} takes {wanted} arguments, was given {len(node.args)}")
            return _combined(function, *(self.part(argument, depth + 1) for argument in node.args))
        return self._indicator(node, name, tuple(_number(argument) for argument in node.args), output)

    def _shifted(self, node: ast.Call, depth: int) -> _Part:
        if len(node.args) != 2:  # noqa: PLR2004 - what and how far
            raise _wrong(node, "shift takes what and by how many bars")
        inner, by = self.part(node.args[0], depth + 1), _number(node.args[1])
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


def _combined(how: Callable[..., FloatArray], *parts: _Part) -> _Part:
    return _Part(
        lambda bars: how(*(part.evaluate(bars) for part in parts)),
        max(part.lookback for part in parts),
        max(part.memory for part in parts),
    )


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


def _number(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -float(value)
    raise _wrong(node, "a parameter is a number")


def _wrong(node: ast.expr, what: str) -> InvalidExpression:
    return InvalidExpression(f"at character {node.col_offset + 1}: {what}")
