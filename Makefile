# Needs make and Python 3.11 or newer, nothing else. `make run` and `make test` set up what they need by themselves.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: run test check bench faults model clients clean
.DEFAULT_GOAL := run

run: $(VENV)/ready-to-run
	$(BIN)/taskmaster dev

test: check
	$(BIN)/python -m pytest -q -n 2

check: $(VENV)/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/ready-to-test
	@command -v wrk >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y wrk; } >/dev/null 2>&1 || true
	$(BIN)/python -m tests.benchmarks

faults: $(VENV)/ready-to-test
	$(BIN)/python -m tests.faults

model: $(VENV)/ready-to-test
	TASKMASTER_MODEL_STEPS=50000 $(BIN)/python -m pytest -q --timeout 7200 tests/api/test_model.py

# Needs node and java, and the registries that their packages come from.
clients: $(VENV)/ready-to-test
	$(BIN)/python -m tests.clients

# The data folder is not touched.
clean:
	rm -rf $(VENV) .clients .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is written after its step has succeeded, so that an interrupted step is done again.
$(VENV)/created:
	@[ -n "$(PYTHON)" ] || { echo "error: Python 3.11 or newer is needed and was not found" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
			&& { apt-get update -qq && apt-get install -y -qq python3-venv; } >/dev/null 2>&1 \
			&& $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; } \
		|| { echo "error: $(PYTHON) has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/ready-to-run: requirements.txt pyproject.toml | $(VENV)/created
	$(PIP) --require-hashes -r requirements.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/ready-to-test: requirements-dev.txt pyproject.toml | $(VENV)/ready-to-run
	$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@
