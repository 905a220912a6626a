# The two commands of the README, and those of daily work. Everything that is missing is installed:
# Debian packages by .ci/packages (root or sudo), Python and Node packages into .venv and ui/node_modules.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UI_SOURCES := $(shell find ui -path ui/node_modules -prune -o -type f -print 2>/dev/null)

.PHONY: demo test lint format bench soak ui clean wheel image

demo: $(VENV)/.installed devmesh/api/ui/index.html
	@bash .ci/demo

test: $(VENV)/.installed-dev devmesh/api/ui/index.html
	@bash .ci/test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	@bash .ci/packages bench
	$(BIN)/python -m bench
	$(BIN)/python -m bench.scale

soak: $(VENV)/.installed-dev
	@bash .ci/packages test
	$(BIN)/python -m bench.soak
	$(BIN)/python -m bench.storm

ui: devmesh/api/ui/index.html

wheel: $(VENV)/.installed-dev devmesh/api/ui/index.html
	DEVMESH_COMPILE=$${DEVMESH_COMPILE-1} $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/devmesh-*.whl

image: $(VENV)/.installed devmesh/api/ui/index.html
	@bash .ci/image

$(VENV)/.installed: pyproject.toml .ci/packages
	@bash .ci/packages demo
	@$(PYTHON) -m venv $(VENV)
	@echo "installing Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@bash .ci/packages test
	@echo "installing the tests' packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

devmesh/api/ui/index.html: $(UI_SOURCES) | $(VENV)/.installed
	@bash .ci/build-ui

clean:
	rm -rf $(VENV) ui/node_modules devmesh/api/ui dist build
