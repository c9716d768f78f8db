"""Verdicts in, a table on the screen and a JSON file out."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from md_platform_tests.faults.judge import Verdict

_COLUMNS = {
    "frames": "frames",
    "trades_sent": "sent",
    "happened": "trades",
    "lost": "lost",
    "lost_of_sent": "of sent",
    "twice": "twice",
    "published_twice": "published twice",
    "wrong_rows": "wrong rows",
    "books": "books",
    "wrong_books": "wrong books",
}


def printed(verdicts: Sequence[Verdict]) -> None:
    """Print a line for each trial, and below it what was wrong."""
    table = Table("trial", *_COLUMNS.values(), "fresh s", "whole s", "verdict", box=None, pad_edge=False)
    for each in verdicts:
        figures = [f"{getattr(each, name):,}" for name in _COLUMNS]
        table.add_row(
            each.trial, *figures, f"{each.fresh_s:.1f}", f"{each.whole_s:.1f}", "ok" if each.is_good else "BAD"
        )
    console = Console(width=170)
    console.print(table)
    for each in verdicts:
        told = ", ".join(f"{name} {count}" for name, count in sorted(each.reports.items()) if count)
        wrong = [*(f"nobody said {name!r}" for name in each.unreported), *([each.failure] if each.failure else [])]
        console.print(f"{each.trial}: {told or 'nothing to say'}{''.join(f'; BAD: {what}' for what in wrong)}")
        for example in each.examples:
            console.print(f"  wrong: {example}", soft_wrap=True)
        if each.figures:
            console.print("  " + ", ".join(f"{name} {value:,.2f}" for name, value in each.figures.items()))


def written(verdicts: Sequence[Verdict], path: Path) -> None:
    """Write the same as JSON."""
    found = [msgspec.to_builtins(verdict) | {"is_good": verdict.is_good} for verdict in verdicts]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
