# Everything people and CI run. Bare `make` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
JOBS   ?= 2
ARGS   ?=
BENCH  ?= startup photo load handoff

# Training and evaluation: the folder of the open data sets (training/README.md), and a budget.
DATA    ?= $(firstword $(wildcard data ../shared/data) data)
MINUTES ?= 90

# Images: which, for what, and the pip settings to build them with (mirror, index of the wanted torch build).
DOCKER       ?= docker
IMAGES       ?= gateway vision speech llm
ACCELERATOR  ?= cpu
PIP_CONF     ?=
VERSION      := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE_SUFFIX  = $(if $(filter cuda,$(ACCELERATOR)),-cuda)
COMMA        := ,

PROTOS     := $(shell find protos -path protos/gen -prune -o -name '*.proto' -print)
VENV_READY := $(VENV)/.created
RUNTIME    := $(VENV)/.runtime
DEV        := $(VENV)/.dev
STUBS      := protos/gen/.stubs
TYPES      := protos/gen/.types
PROTOC      = $(BIN)/python -m grpc_tools.protoc -I protos

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup dev run demo test chaos check format protos bench train eval k8s-validate images certs clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(RUNTIME) $(STUBS) ## create .venv, install what serving needs, generate the stubs
	@:

dev: $(DEV) $(TYPES) ## set-up plus what checks, tests and training need
	@:

run: setup ## serve on http://127.0.0.1:8000 (ARGS="--port 9000 ...")
	@exec $(BIN)/autoglm serve $(ARGS)

demo: setup ## start everything, ask about photos in writing and aloud, show answers and timings, stop
	@exec $(BIN)/python examples/demo.py

test: dev ## run the whole test suite (ARGS="-k name", JOBS=4)
	@OMP_NUM_THREADS=1 $(BIN)/pytest --ignore tests/chaos -n $(JOBS) --dist loadfile $(ARGS)

chaos: dev ## break real processes under load; a table and a line of JSON (ARGS="-k freeze")
	@$(BIN)/pytest tests/chaos $(ARGS)

check: dev ## formatting, lint, types, import rules, proto lint, proto compatibility
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against protos/released/v1.binpb

format: dev ## rewrite Python and proto files in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format --write

protos: $(STUBS) ## compile protos/ into protos/gen

bench: setup ## measure start-up, photo questions, load, hand-off (BENCH="engine versus interference" for others)
	@for part in $(BENCH); do $(BIN)/python -m benchmarks $$part $(ARGS) || exit 1; done

train: dev ## train the bundled model and export it (DATA=folder, MINUTES=90)
	$(BIN)/python -m training prepare --data $(DATA)
	$(BIN)/python -m training train --data $(DATA) --minutes $(MINUTES)
	$(BIN)/python -m training export

eval: dev ## score the bundled model, then its recogniser; tables, samples, a line of JSON each (DATA=folder)
	@$(BIN)/python -m training eval --data $(DATA) $(ARGS)
	@$(BIN)/python -m training.speech eval --data $(DATA)

k8s-validate: dev ## build every overlay, check it against Kubernetes' schemas and the code; lint the Dockerfile
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/python -m deploy.validate

certs: dev ## make a development CA and certificates of all processes in certs/ (again: renew them)
	@$(BIN)/python -m deploy.certificates --out certs

images: ## build the four images (ACCELERATOR=cuda, PIP_CONF=pip.conf, IMAGES="llm vision")
	@$(DOCKER) info >/dev/null 2>&1 || { echo "Images need a container engine; $(DOCKER) does not answer here. Another one: make images DOCKER=podman" >&2; exit 1; }
	@for image in $(IMAGES); do \
	  suffix=$(IMAGE_SUFFIX); accelerator=$(ACCELERATOR); \
	  if [ $$image = gateway ]; then suffix= accelerator=cpu; fi; \
	  $(DOCKER) build . --file deploy/Dockerfile --target $$image --build-arg ACCELERATOR=$$accelerator \
	    $(if $(PIP_CONF),--secret id=pip$(COMMA)src=$(PIP_CONF)) --tag autoglm/$$image:$(VERSION)$$suffix || exit 1; \
	done

clean: ## remove the environment, generated code and caches
	rm -rf $(VENV) protos/gen .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# --- what the targets above stand on; each is redone only when its inputs change

$(VENV_READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11" >&2; exit 1; }
	@# Debian splits ensurepip off its python3: then the pip at hand fills the environment.
	@$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
	  && $(PYTHON) -m pip --python $(BIN)/python install pip; }
	@touch $@

$(RUNTIME): requirements.txt pyproject.toml | $(VENV_READY)
	$(PIP) install -r requirements.txt
	$(PIP) install --no-deps --editable .
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	$(PIP) install -r requirements-dev.txt
	@touch $@

$(STUBS): $(PROTOS) $(RUNTIME)
	@mkdir -p protos/gen
	$(PROTOC) --python_out=protos/gen --grpc_python_out=protos/gen $(PROTOS)
	@touch $@

$(TYPES): $(STUBS) $(DEV)
	PATH="$(BIN):$$PATH" $(PROTOC) --mypy_out=protos/gen --mypy_grpc_out=protos/gen $(PROTOS)
	@touch $@
