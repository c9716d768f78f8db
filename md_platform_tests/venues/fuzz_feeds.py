"""`python -m md_platform_tests.venues.fuzz_feeds --inputs 1000000 --seed 1`: counts by outcome; stops at what is raised."""

import argparse
import sys
import time
from collections import Counter
from random import Random

from md_platform_tests.venues.corpus import feeds
from md_platform_tests.venues.fuzzing import Fuzzed
from md_platform_tests.venues.mutation import mutated

_BATCH = 4
_PER_SESSION = 2_000


def run(inputs: int, seed: int) -> dict[str, Counter[str]]:
    """`inputs` mutated frames over all feeds, in batches of four with a real frame among them."""
    every = feeds()
    outcomes: dict[str, Counter[str]] = {}
    for venue, feed in every:
        random, fuzzed, counts = Random(f"{seed} {feed.name}"), Fuzzed(venue, feed), Counter[str]()
        for n in range(0, inputs // len(every) + 1, _BATCH):
            if n % _PER_SESSION == 0:
                fuzzed.restart()
            wrong = [mutated(random.choice(fuzzed.frames), random) for _ in range(_BATCH)]
            batch = [*wrong, random.choice(fuzzed.frames)] if random.random() < 0.5 else wrong
            try:
                counts += fuzzed.feed(batch)
            except Exception:
                print(f"{feed.name}: seed {seed}, input {n}: {batch!r}", file=sys.stderr)
                raise
            counts["inputs"] += _BATCH
        outcomes[feed.name] = counts
    return outcomes


def main() -> None:
    """Print a line for each feed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    started = time.monotonic()
    outcomes = run(asked.inputs, asked.seed)
    for name, counts in outcomes.items():
        print(f"{name:16}", "  ".join(f"{kind} {count}" for kind, count in sorted(counts.items())))
    total = sum(counts["inputs"] for counts in outcomes.values())
    print(f"{total} inputs, nothing raised, seed {asked.seed}, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
