# `make run` and `make test` set everything up by themselves, in .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready
# CPU pins by default; on a GPU box: make run CONSTRAINTS=
CONSTRAINTS ?= constraints.txt
PINS    = $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.PHONY: run test slow lint setup clean

run: $(READY)  ## set up, then train and score everything in recipes/gpt2_all.yaml
	$(BIN)/alignbench run recipes/gpt2_all.yaml

test: $(READY)  ## set up, then the default tests
	$(BIN)/python -m pytest

slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict alignbench

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d: make PYTHON=python3.11 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(PINS) -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
