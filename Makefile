# make train: set up what training needs, and train.   make test: set up the rest, and run every check.
# make coverage: the tests, and which lines and branches of src/ they do not reach.
# make notebooks: run the notebooks again, and store what they show.
# make figures: every picture in docs/ but two screenshots, from short runs and from the benchmarks' kept results; about five minutes.
# make bench: a plain loop, plain Lightning and this project side by side, and every network against a plain loop; ten minutes.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: install install-dev train test coverage notebooks figures bench format clean

install: .venv/installed
install-dev: .venv/installed-dev

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("makemore needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make PYTHON=python3.11" % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

train: install
	$(BIN)/python train.py

test: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto --dist worksteal

coverage: install-dev
	$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term

notebooks: install-dev
	$(BIN)/python -m notebooks.execute

figures: install
	$(BIN)/python -m benchmarks.figures

bench: install
	$(BIN)/python -m benchmarks.compare
	$(BIN)/python -m benchmarks.networks_speed

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .coverage .mypy_cache .pytest_cache .ruff_cache build
