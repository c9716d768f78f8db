"""Figures beside the limits that they are held to, as one table."""

from collections.abc import Iterable
from typing import NamedTuple


class Figure(NamedTuple):
    """What was measured. `limit` is the least where `is_least`, else the most."""

    name: str
    value: float
    limit: float
    is_least: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the limit is kept."""
        return self.value >= self.limit if self.is_least else self.value <= self.limit


def print_table(figures: Iterable[Figure]) -> None:
    """Print them, and which missed."""
    print(f"\n{'':58} {'measured':>12} {'limit':>12}")
    for figure in figures:
        bound = "≥" if figure.is_least else "≤"
        verdict = "" if figure.is_kept else "   MISSED"
        print(f"{figure.name:58} {_number(figure.value):>12} {bound + ' ' + _number(figure.limit):>12}{verdict}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.2f}"
