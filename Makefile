# Stopline: what there is to do in a checkout. Needs make and git; all else is found or installed.
#
#   make demo     count a simulated road (or SOURCE=a.mp4, a folder, a camera, an RTSP URL; MODEL=a.onnx) and watch
#   make setup    .venv with everything, for development
#   make test     setup, the tests' servers, lint, all tests
#   make bench    the benchmarks, one after the other; BENCH=outbox runs one
#   make bench-signals  green times in SUMO (150 MB is installed); ARGS="--quick --only lopsided"
#   make lint     ruff, mypy, shellcheck
#   make verify   check the model of a junction of several Pis exhaustively (some minutes; wants spin)
#   make bundle   Stopline with all libraries in one file, for Pis without a network; ARCH=aarch64 PYTHON_VERSION=3.13
#   make model    train the bundled model anew (PyTorch is installed; wants a GPU); MINUTES=8
#   make clean    remove .venv and caches; the data of the demo stays
#
# PYTHON=... names the interpreter, PYTEST_ARGS=... goes to pytest, WORKERS=4 says how many processes run tests.

.PHONY: help setup demo test bench bench-signals lint verify model bundle clean servers test-tools
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# An installation belongs to its folder: when the checkout was moved or the interpreter went away, it is made again.
STAMP_RUN := $(VENV)/.installed-to-run
STAMP_DEV := $(VENV)/.installed-to-develop
$(shell [ "$$(cat $(VENV)/.checkout 2>/dev/null)" = "$$(pwd -P)" ] && $(BIN)/python -c '' 2>/dev/null || \
	rm -f $(STAMP_RUN) $(STAMP_DEV) $(VENV)/.checkout)

# Two more than cores: a good part of the tests wait for cameras, lights and servers most of their time.
WORKERS ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 2) + 2)))

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

setup: $(STAMP_DEV)
	@echo "Stopline is installed in $(VENV)"

demo: $(STAMP_RUN)
	@$(BIN)/stopline-collector demo $${SOURCE:+--source "$$SOURCE"} $${MODEL:+--model "$$MODEL"}

# The lint runs beside the tests, which wait for this and that, and speaks up at once if it finds something. Before
# them, pytest compiles all tests once, and not in each of its processes at once. Nor does each of the hundreds of
# processes that the tests start compile what it imports: also not where that is switched off.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.checkout
	@# Side by side: neither has work for two cores.
	@{ $(MAKE) --no-print-directory test-tools && $(MAKE) --no-print-directory servers; } & servers=$$!; \
	trap 'kill $$servers' INT TERM; \
	$(MAKE) --no-print-directory $(STAMP_DEV); code=$$?; \
	wait $$servers && exit $$code
	@$(BIN)/python -m compileall -q -j 0 common edge_agent collector
	@$(MAKE) --no-print-directory lint & lint=$$!; trap 'kill $$lint' INT TERM; \
	$(BIN)/pytest -n 0 --collect-only -q $(PYTEST_ARGS) >/dev/null 2>&1; \
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations 10 --durations-min 5 $(PYTEST_ARGS); code=$$?; \
	wait $$lint || { echo "The lint found something: see above, or run 'make lint'" >&2; [ $$code -ne 0 ] || code=1; }; \
	exit $$code

bench: $(STAMP_DEV) servers
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@failed=; \
	for file in tests/bench/bench_$(or $(BENCH),*).py; do \
		name=$$(basename "$$file" .py); \
		[ "$$name" != bench_signals ] || continue; \
		printf '\n%s\n' "$$name"; \
		$(BIN)/python -m "tests.bench.$$name" || failed="$$failed $$name"; \
	done; \
	[ -z "$$failed" ] || { echo "did not finish:$$failed" >&2; exit 1; }

bench-signals: $(STAMP_DEV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[sumo]'
	@$(BIN)/python -m tests.bench.bench_signals $(ARGS)

lint: $(STAMP_DEV)
	@$(BIN)/shellcheck systemd/install systemd/bundle systemd/as-service .ci/packages .ci/run tests/servers/*.sh
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

verify: $(STAMP_DEV)
	@missing=; \
	command -v spin >/dev/null || missing="$$missing spin"; \
	command -v cc >/dev/null || missing="$$missing gcc libc6-dev"; \
	[ -z "$$missing" ] || .ci/packages $$missing
	@$(BIN)/python -m tests.verify.leases

model: $(STAMP_RUN)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[training]'
	@$(BIN)/python -m edge_agent.training.train edge_agent/models/street.onnx --minutes $(or $(MINUTES),8)

bundle: $(STAMP_RUN)
	@systemd/bundle $(BIN)/python dist $(or $(ARCH),aarch64) $(or $(PYTHON_VERSION),3.13) $(EXTRAS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "The tests' TimescaleDB, if any, stays for the next run: tests/servers/timescaledb.sh remove"

# What cannot be had is no failure here: the tests that need it say so in the end.
servers:
	@tests/servers/timescaledb.sh prepare >/dev/null || [ "$$STOPLINE_REQUIRE_TIMESCALE" != 1 ]

test-tools:
	@missing=; \
	PATH="$$PATH:/usr/sbin"; \
	command -v mosquitto >/dev/null || missing="$$missing mosquitto"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v valkey-server >/dev/null || command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v pgbouncer >/dev/null || missing="$$missing pgbouncer"; \
	ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing="$$missing libfaketime"; \
	[ -z "$$missing" ] || .ci/packages $$missing || true

# pip compiles what it installs file by file, on one core. What few or none import is compiled when it is: tools, what
# they bring, and Plotly, of which only the script is used.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
RARE = tests?|plotly|pip|setuptools|pkg_resources|mypyc?|pygments|pandas|ibis|sqlglot|narwhals|faker|graphql
COMPILE = $(BIN)/python -m compileall -qq -j 0 -x '/($(RARE))/' $(VENV)/lib || true

$(STAMP_RUN): pyproject.toml | $(VENV)/.checkout
	@echo "Installing Stopline into $(VENV) (about 400 MB)"
	@$(INSTALL) --editable '.[agent,vision,collector]'
	@$(COMPILE)
	@touch $@

$(STAMP_DEV): pyproject.toml | $(VENV)/.checkout
	@echo "Installing Stopline and its development tools into $(VENV) (about 500 MB)"
	@$(INSTALL) --editable '.[dev]'
	@# Its own dependencies are drivers that are compiled; tests put false ones in their place.
	@$(INSTALL) --no-deps 'mfrc522>=0.0.7,<0.1'
	@$(COMPILE)
	@touch $(STAMP_RUN) $@

# Debian ships python3 without venv and pip; python3-venv has them.
FIND_PYTHON = for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do \
		"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
		python=; \
	done

$(VENV)/.checkout:
	@$(FIND_PYTHON); \
	if [ -z "$$python" ]; then .ci/packages python3 python3-venv || exit 1; $(FIND_PYTHON); fi; \
	if [ -z "$$python" ]; then \
		echo "Stopline needs Python 3.11 or newer. Found: $$(python3 --version 2>&1). Name one with PYTHON=..." >&2; \
		exit 1; \
	fi; \
	rm -rf $(VENV); \
	"$$python" -m venv $(VENV)
	@pwd -P >$@
