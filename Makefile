# Every command of this project; `make help` lists them. A new machine needs Python 3.11, 3.12 or 3.13, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
OLDEST := .venv-oldest

.DEFAULT_GOAL := help
.PHONY: help demo test oldest lint check wheel bench soak lock clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## Convert, train, kill, go on, export and serve a model of handwritten digits
	$(BIN)/keras-estimator demo --folder runs/demo

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

oldest: $(OLDEST)/ready ## Run the quick tests on the oldest Keras and TensorFlow that are supported
	$(OLDEST)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	  -m "not slow and not wheel" $(foreach name,$(WITHOUT_KERAS),--ignore-glob 'tests/test_$(name).py')

# What these are about is the same with every version of Keras.
WITHOUT_KERAS := layout checkpoint* damaged_* hostile_* state_files inspection_* opened targets doctor_packages command \
  local_launcher* bench plain_files

lint: $(READY) ## Check style, types and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## What a change must pass: lint and test

wheel: $(READY) ## Build the wheel, install it alone elsewhere and run the README's first snippet on it
	$(BIN)/python -m pytest -m wheel

bench: $(READY) ## Measure the speed against Keras, JAX and the original, how cost grows, copies, checkpoints, two processes, the doctor
	$(BIN)/python -m bench
	$(BIN)/python -m bench.growth
	$(BIN)/python -m bench.copies
	$(BIN)/python -m bench.scaling
	$(BIN)/python -m bench.saving
	$(BIN)/python -m bench.doctor

soak: $(READY) ## Kill trainings at 200 random moments, compare what becomes of them, and write docs/soak.md
	$(BIN)/python tests/soak.py

lock: $(READY) ## Write both lock files anew from pyproject.toml: the newest versions, and the oldest of Keras
	$(LOCK) --output-file requirements-dev.lock
	$(LOCK) --constraint requirements-oldest.in --output-file requirements-oldest.lock

LOCK := $(BIN)/uv pip compile pyproject.toml --extra demo --extra dev --universal --python-version 3.11 \
  --fork-strategy fewest --generate-hashes --no-emit-index-url --no-annotate --upgrade --quiet \
  --custom-compile-command "make lock"

clean: ## Remove the environment and everything else that was made here
	rm -rf $(VENV) $(OLDEST) bench/.env-* build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The set-up, done again only when what it installs has changed; what is there already is not fetched again.
$(READY): requirements-dev.lock
$(OLDEST)/ready: requirements-oldest.lock
$(READY) $(OLDEST)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "error: this Python cannot be used" >&2; \
	  echo "  found:    $(PYTHON), $$($(PYTHON) --version 2>&1 | head -n 1)" >&2; \
	  echo "  expected: Python 3.11, 3.12 or 3.13" >&2; \
	  echo "  fix:      make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --require-hashes --requirement $(filter %.lock,$^)
	$(@D)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
