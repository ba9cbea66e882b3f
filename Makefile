# Two commands are all: `make demo` and `make test`. Both set everything up themselves.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo up test test-slow check lock dashboards compose-test preview clean
PYTHON ?= python3
export PYTHON
# Most tests wait for something, so three processes are not too many for two cores. A file stays
# with one process: what it starts, it starts once. On a machine that others share, one test in some
# thousands meets a second in which nothing ran: what fails is made again, at most twice, and the
# summary names it (RERUN). A defect fails three times.
AGAIN = --reruns 2 --reruns-delay 5 -r aR
# Files stay in order: xdist would begin with those of many tests and end with the long single ones.
PYTEST = .venv/bin/pytest -n 3 --dist loadfile --no-loadscope-reorder $(AGAIN)

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' Makefile

setup: ## the environment to run launchday (.venv)
	@bootstrap/setup.sh requirements.lock

setup-dev: ## the environment to work on launchday (.venv)
	@bootstrap/setup.sh requirements-dev.lock

demo: setup ## the launch-day surge, without and with load shedding (3 minutes)
	@.venv/bin/launchday demo

up: ## the whole stack in containers, after a look at what would stop it
	@deploy/preflight.sh
	docker compose up --build --wait
	@echo "What is where: http://127.0.0.1:$${REPORTS_PUBLISHED_PORT:-8090}"

check: setup-dev ## lint, types, import rules, file sizes, built dashboards
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python dashboards/build.py --check

test: check ## everything that CI asks for, but containers
	$(PYTEST)

test-slow: setup-dev ## what takes long: faults, kill -9 in a storm, fuzzed requests, regions (20 minutes)
	$(PYTEST) -n 4 -m "slow and not alone"
	.venv/bin/pytest $(AGAIN) -m "slow and alone"

dashboards: setup-dev ## build the Grafana dashboards from their sources
	.venv/bin/python dashboards/build.py

preview: setup-dev ## pictures of the dashboards into docs/ (needs Node.js, Chromium, Prometheus)
	.venv/bin/python -m dashboards.preview.preview

compose-test: ## the whole stack in containers, with a short surge
	tests/compose/compose_test.sh

lock: ## resolve the lock files anew (maintainers; needs uv)
	bootstrap/lock.sh

clean: ## remove the environment and the caches; records in runs/ stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
