# `make demo` and `make test` are all a newcomer needs: each sets up what it lacks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: demo test check bench format clean

demo: $(READY)  ## pretrain the organism, finetune every arm, and report: five to seven minutes on two cores
	$(BIN)/turncoat run organism --out runs/demo

test: $(READY)  ## every test, the end-to-end ones included
	$(BIN)/pytest

check: $(READY)  ## style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(READY)  ## capture and training against bare loops and against what people write today, as ratios
	$(BIN)/python tests/benchmarks/capture.py
	$(BIN)/python tests/benchmarks/training.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build *.egg-info

$(READY):
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Turncoat needs Python 3.11 or later; name one with PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
