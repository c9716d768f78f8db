"""The fault matrix: faults committed against real processes over real sockets, and a judge that asks none of them.

    python -m md_platform_tests.faults [--trials NAME,...] [--kills 30] [--seed 1] [--json FILE] [--folder DIR]

It starts PostgreSQL, Redis, the sandbox venue, the live process and its writer, and ends them. Exit code 1 where
anything was lost, stored twice, wrong, or not reported. The disk is filled only where it may mount one (root).
"""

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from md_platform_tests.faults.matrix import run
from md_platform_tests.faults.report import printed, written
from md_platform_tests.faults.trials import TRIALS


def main() -> int:
    """Run what is asked for."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    trials = [trial for trial in TRIALS if arguments.trials is None or trial.name in arguments.trials]
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mdp-faults-")))
        verdicts = run(folder, trials, arguments.kills, random.Random(arguments.seed))
    printed(verdicts)
    if arguments.json:
        written(verdicts, arguments.json)
    return 0 if all(verdict.is_good for verdict in verdicts) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m md_platform_tests.faults", description=__doc__)
    parser.add_argument("--trials", type=_names, help=f"of {', '.join(trial.name for trial in TRIALS)}; default all")
    parser.add_argument("--kills", type=int, default=30, help="kill -9 at so many moments")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument(
        "--folder", type=Path, help="empty folder for what the processes write, kept; default a temporary one"
    )
    return parser.parse_args()


def _names(text: str) -> Sequence[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := set(names) - {trial.name for trial in TRIALS}:
        raise argparse.ArgumentTypeError(f"no such trial: {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
