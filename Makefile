# Every target sets up what it needs: see scripts/bootstrap.sh.

VENV ?= .venv
# The interpreter; empty means the newest from 3.11 on.
PYTHON ?=
# A Django version such as 5.2, or a constraint; empty means the newest supported.
DJANGO ?=
# Further arguments for the program that the target runs.
ARGS ?=
# Processes that `make test` spreads the tests over; 0: none, for a debugger.
WORKERS ?= auto

export PYTHON DJANGO

.PHONY: help demo test lint django-suite bench bench-pool bench-requests bench-scale bench-parallel leaks soak clean bootstrap
.DEFAULT_GOAL := help

help: ## Show this help
	@echo "make <target> [VENV=.venv] [PYTHON=python3.13] [DJANGO=5.2] [WORKERS=auto] [ARGS=...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: bootstrap ## Serve the demo on the embedded server, or on the one MSSQL_HOST names
	@$(VENV)/bin/python -m demo_asgi $(ARGS)

# The tests of a file share servers, so each file is one process's; and in their own order, as the
# files with the fewest tests, which would come last, are those that take longest.
test: bootstrap ## Run the tests
	@$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: bootstrap ## Check style, format and types
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

django-suite: bootstrap ## Run Django's own tests on the embedded server
	@$(VENV)/bin/python -m tests.django_suite $(ARGS)

bench: bootstrap ## All benchmarks; JSON and pictures go to build/bench/ (ARGS="--quick")
	@$(VENV)/bin/python -m loadtests.bench $(ARGS)

bench-pool: bootstrap ## Measure the pool alone, beside other projects' pools
	@$(VENV)/bin/python -m loadtests.bench.pool $(ARGS)

bench-requests: bootstrap ## Measure whole requests, beside stock mssql-django
	@$(VENV)/bin/python -m loadtests.bench.requests $(ARGS)

bench-scale: bootstrap ## Measure what open contexts cost, beside stock mssql-django
	@$(VENV)/bin/python -m loadtests.bench.scale $(ARGS)

bench-parallel: bootstrap ## Measure parallel statements, hang-ups and checks, beside stock
	@$(VENV)/bin/python -m loadtests.bench.parallel $(ARGS)

leaks: bootstrap ## Look for leaks between contexts (ARGS="--list" tells what there is)
	@$(VENV)/bin/python -m loadtests leaks $(ARGS)

soak: bootstrap ## Look for leaks in 100,000 contexts of all scenarios; see build/leaks/
	@mkdir -p build/leaks
	@$(VENV)/bin/python -m loadtests leaks --over uvicorn --contexts 100000 --concurrency 64 \
		--json build/leaks/soak.json --html build/leaks/soak.html $(ARGS)

clean: ## Remove environments, caches and build results
	rm -rf .venv .venv-* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov .cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

bootstrap:
	@sh scripts/bootstrap.sh $(VENV)
