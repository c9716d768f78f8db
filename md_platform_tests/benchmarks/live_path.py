"""Every benchmark of the live path, and at the end one table of what is held to a limit.

    python -m md_platform_tests.benchmarks.live_path [--rounds 5] [--seconds 60] [--rows 1000000]

CPU, not wall time, except where a figure says so: those of latency and of rows a second want a machine at rest.
"""

import argparse

from md_platform_tests.benchmarks import feed, live, store
from md_platform_tests.benchmarks.figures import print_table


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each client of a feed runs")
    parser.add_argument("--seconds", type=int, default=60, help="how long the whole process is measured")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to store")
    given = parser.parse_args()
    live.time_bars(100_000, given.rounds)
    figures = live.time_indicators(given.rounds)
    figures += store.embedded(given.rows, 20_000)
    figures += feed.measured(given.rounds, 100_000, given.seconds)
    print_table(figures)


if __name__ == "__main__":
    main()
