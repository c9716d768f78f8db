"""Values in, text for people out: cells, times, tables that do not wrap when they are piped."""

import datetime as dt
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

_PIPED_WIDTH = 10_000


def console(*, wide: bool = False) -> Console:
    """Standard output; as wide as its lines where it is not a terminal, or where they are better wrapped than cut."""
    return Console(width=None if sys.stdout.isatty() and not wide else _PIPED_WIDTH)


def heading_table(*headings: str, right: Iterable[int] = (), show_header: bool = True) -> Table:
    """An empty table without lines, whose columns of the indices `right` are numbers."""
    table = Table(box=None, pad_edge=False, show_header=show_header)
    numbers = set(right)
    for n, heading in enumerate(headings):
        table.add_column(heading, justify="right" if n in numbers else "left", overflow="fold")
    return table


def cell(value: Any) -> str:  # noqa: ANN401 - whatever a row holds
    """`value` as people read it; "-" for nothing."""
    match value:
        case None:
            return "-"
        case dt.date():
            return iso(value)
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.15g}"
        case _:
            return str(value)


def iso(value: dt.date) -> str:
    """A date, or a UTC time to the second or as fine as it is: 2024-01-01T00:00:00Z."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z"
    return value.isoformat()
