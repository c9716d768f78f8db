"""`python -m streaming`: the same as `mdp stream`."""

import sys

from md_platform.cli import main

main(["stream", *sys.argv[1:]])
