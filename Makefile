# make up      start the platform on this machine, Ctrl-C stops it
# make test    everything that a change must pass; sets itself up
# make chromium  a browser for the tests of the page, where the machine has none
# make platform-test  a real platform, end to end: loads, order, faults, ten kills; half an hour
# make faults  every fault against real processes, thirty times kill -9, judged from outside; a quarter of an hour
# make lint    style, types, imports
# make bench   benchmarks against the limits they are held to
# make soak    the live process for half an hour at 20,000 messages a second, each trade counted
# make schema  write sql/schema.sql again after a new migration
# make constraints  pin the newest allowed dependencies, in a clean environment

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Coverage with branches that each of these packages must reach, in per cent.
GATE := 90
GATED := domain venues transforms storage quality
# Test processes: two cores for three, as many tests wait. One of them has all the tests that start whole platforms.
WORKERS := 3

.PHONY: up test chromium platform-test faults lint bench soak schema constraints clean

up: $(VENV)/.installed
	@$(BIN)/mdp up

test: $(VENV)/.developing chromium
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n $(WORKERS) $(GATED:%=--cov=md_platform/%) --cov-report=
	@for package in $(GATED); do \
		echo "coverage of $$package, at least $(GATE) %:"; \
		$(BIN)/python -m coverage report --include="md_platform/$$package/*" --fail-under=$(GATE) || failed=1; \
	done; test -z "$$failed"

# A browser for the tests of the page, which are skipped, and say so, where none can be had.
chromium: $(VENV)/.developing
	@look="$(BIN)/python -m md_platform_tests.page.chromium"; $$look >/dev/null && exit; \
	echo "installing Chromium for the tests of the page"; \
	{ test "$$(id -u)" = 0 && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium; } >/dev/null 2>&1; \
	$$look || { $(BIN)/python -m playwright install chromium >/dev/null 2>&1; $$look; } || \
	echo "no Chromium could be installed: the tests of the page are skipped"

platform-test: $(VENV)/.developing chromium
	MDP_KILL_TRIALS=10 MDP_LARGE_BACKFILLS=1 $(BIN)/python -m pytest md_platform_tests/platform --durations=20

faults: $(VENV)/.developing
	$(BIN)/python -m md_platform_tests.faults
	$(BIN)/python -m md_platform_tests.faults.outage --away database
	$(BIN)/python -m md_platform_tests.faults.outage --away redis

lint: $(VENV)/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.developing
	$(BIN)/python -m md_platform_tests.benchmarks.chain
	$(BIN)/python -m md_platform_tests.benchmarks.live_path
	$(BIN)/python -m md_platform_tests.benchmarks.api
	$(BIN)/python -m md_platform_tests.benchmarks.gateway
	$(BIN)/python -m md_platform_tests.benchmarks.page

soak: $(VENV)/.developing
	$(BIN)/python -m md_platform_tests.benchmarks.soak

schema: $(VENV)/.installed
	$(BIN)/python -m md_platform.embedded.schema sql/schema.sql

clean:
	rm -rf $(VENV)

# Installed again only when what it is made of has changed.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing md-platform into $(VENV)"
	@$(PIP) install --upgrade --constraint constraints.txt pip
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	@echo "installing what tests and lint need into $(VENV)"
	@$(PIP) install --constraint constraints.txt --group dev
	@touch $@

# The first Python of a suitable version that can make virtual environments.
$(BIN)/python:
	@for python in "$$PYTHON" python3.11 python3.12 python3.13 python3; do \
		test -n "$$python" || continue; \
		"$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
			2>/dev/null || continue; \
		echo "making $(VENV) with $$("$$python" --version)"; \
		exec "$$python" -m venv $(VENV); \
	done; \
	echo "Python 3.11, 3.12 or 3.13 with venv is needed and none was found." >&2; \
	echo "Debian, Ubuntu: apt install python3 python3-venv   Fedora: dnf install python3.13   macOS: brew install python@3.13" >&2; \
	echo "Or name one: make PYTHON=/path/to/python3.12 up" >&2; \
	exit 1

constraints:
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(BIN)/python -m venv "$$fresh/venv" && \
	"$$fresh/venv/bin/python" -m pip install --quiet --upgrade pip && \
	"$$fresh/venv/bin/python" -m pip install --quiet . --group dev && \
	"$$fresh/venv/bin/python" -m pip freeze --all --exclude md-platform --exclude setuptools > "$$fresh/pins" && \
	{ echo "# Versions that the tests ran with. Written by: make constraints"; cat "$$fresh/pins"; } > constraints.txt
