# Everything a developer does here. Needs make, a shell and Python 3.11 or later; nothing else.

# Another interpreter for the virtualenv: make setup PYTHON=/path/to/python3.12
PYTHON ?=
# More options for pytest: make test ARGS="-k quota"
ARGS ?=

PY := .venv/bin/python
PYTHONS := python3.14 python3.13 python3.12 python3.11 python3 python
PYTEST := $(PY) -m pytest -n auto --maxprocesses 8 --cov --cov-report=term
COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format lock openapi bench psql stop clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## the virtualenv .venv with the locked requirements; instant when nothing changed
	@if [ -z "$(PYTHON)" ] && $(PY) spoke/devservers/bootstrap.py --check 2>/dev/null; then exit 0; fi; \
	for python in $(or $(PYTHON),$(PYTHONS)); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1; \
		then PYTHON="$(PYTHON)" exec "$$python" spoke/devservers/bootstrap.py; fi; \
	done; \
	echo "setup: no Python 3.11 or later that runs, among: $(or $(PYTHON),$(PYTHONS))" >&2; exit 1

run: setup ## the whole of Spoke on http://127.0.0.1:8000 (PORT=8001, HOST=0.0.0.0, RELOAD=1)
	@exec $(PY) -m spoke.devservers run

# Both parts always run; pytest's closing line is the last one unless a check failed.
test: setup ## linters, types, migrations, API description, then all tests with coverage
	@$(PY) -m spoke.devservers.checks </dev/null; checks=$$?; \
	$(PYTEST) $(ARGS) </dev/null; tests=$$?; \
	if [ $$checks -ne 0 ]; then echo "make test: checks failed, see above the tests" >&2; exit 1; fi; \
	exit $$tests

lint: setup ## the checks of `make test` alone
	@$(PY) -m spoke.devservers.checks </dev/null

format: setup ## let ruff and djlint rewrite the source
	.venv/bin/ruff check --fix --quiet . || true
	.venv/bin/ruff format .
	.venv/bin/djlint --reformat --quiet templates || true

lock: setup ## choose versions anew: requirements*.in -> requirements*.txt, with hashes
	$(COMPILE) --upgrade requirements.in -o requirements.txt
	$(COMPILE) --upgrade -c requirements.txt requirements-dev.in -o requirements-dev.txt

openapi: setup ## write openapi.yaml from the code
	@DATABASE_ROLE=spoke $(PY) -m spoke.devservers exec --ephemeral \
		$(PY) manage.py spectacular --validate --fail-on-warn --file openapi.yaml </dev/null

bench: setup ## every benchmark, against durable servers; ends in minutes
	@for file in benchmarks/[a-z]*.py; do \
		[ -e "$$file" ] || { echo "no benchmarks yet"; exit 0; }; \
		echo "== $$file"; \
		PYTHONPATH=. $(PY) -m spoke.devservers exec $(PY) "$$file" </dev/null || exit 1; \
	done

psql: setup ## a database shell
	@exec $(PY) -m spoke.devservers psql

stop: setup ## stop the embedded servers, whoever uses them
	@exec $(PY) -m spoke.devservers stop

clean: ## remove caches and build output; development data and .venv stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* \
		htmlcov staticfiles build spoke.egg-info
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the virtualenv and the development data as well
	@[ ! -x $(PY) ] || $(PY) -m spoke.devservers stop
	rm -rf .venv .local
