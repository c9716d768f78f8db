"""`python -m md_platform.cli` is `mdp`."""

from md_platform.cli import main

main()
