# Every target may be run again at any time. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

python := .venv/bin/python
ARGS ?=

.PHONY: help
help: ## list the targets
	@echo "LiveStream. Usage: make TARGET"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

# --- run ---------------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: ## one stream, end to end, verified from outside (KEEP=1 leaves everything running)
	@began=$$(date +%s); deploy/local/setup; $(python) -m console demo --began $$began $(ARGS)

.PHONY: setup
setup: ## install what is missing: packages, Python environment, Kafka, MinIO
	@deploy/local/setup

.PHONY: up
up: setup ## start the engines and every service
	@$(python) -m deploy.local up all

.PHONY: down
down: setup-python ## stop everything that `make up` or a kept demo has started; data stays
	@$(python) -m deploy.local down

.PHONY: status
status: setup-python ## how every part is
	@$(python) -m deploy.local status

.PHONY: logs
logs: setup-python ## the end of the logs (PART=chat-1 for one, FOLLOW=1 to go on)
	@$(python) -m deploy.local logs $(PART) $(if $(filter-out 0,$(FOLLOW)),--follow)

# --- check -------------------------------------------------------------------------------------------------------------

.PHONY: test
test: setup ## all tests, against the real engines (ARGS='-k name' for some)
	@$(python) -m pytest $(ARGS)

.PHONY: unit
unit: setup-python ## the tests that need no server
	@$(python) -m pytest tests/unit -n 4 --dist loadfile $(ARGS)

.PHONY: faults
faults: setup ## the long fault runs, all points; they print their seeds
	@$(python) -m pytest -s -m faults --all-fault-points --timeout 3600 $(ARGS)

.PHONY: lint
lint: setup-python ## format, rules, types, and generated files that are out of date
	@$(python) -m ruff format --check --quiet . || { $(python) -m ruff format --check .; exit 1; }
	@$(python) -m ruff check --quiet .
	@$(python) -m mypy .
	@$(python) -m console generate --check

.PHONY: bench
bench: setup ## run a benchmark (NAME=outbox); without a name, list them
	@$(python) -m bench $(NAME) $(if $(NAME),--json) $(ARGS)

.PHONY: image
image: setup ## build the container image and run every process from it (root, podman; KEEP=1 keeps the images)
	@deploy/container/check

# --- maintain ----------------------------------------------------------------------------------------------------------

.PHONY: generate
generate: setup ## write the generated files: schemas, documents, env.example
	@$(python) -m console generate --schemas

.PHONY: format
format: setup-python ## format the code
	@$(python) -m ruff format --quiet .
	@$(python) -m ruff check --quiet --fix .

.PHONY: lock
lock: ## resolve the dependencies of pyproject.toml again, with hashes
	@uv=$$(command -v .venv/bin/uv || command -v uv) || { deploy/local/setup --for lint; uv=.venv/bin/uv; }; \
	compile() { "$$uv" pip compile --quiet --generate-hashes --no-header --no-emit-index-url --python-version 3.11 "$$@"; }; \
	compile pyproject.toml -o deploy/requirements.txt; \
	compile pyproject.toml --group dev -c deploy/requirements.txt -o deploy/requirements-dev.txt

.PHONY: clean
clean: ## stop everything and remove .local, .venv and caches; the per-user cache of Kafka and MinIO stays
	@if [ -x $(python) ]; then \
	  for stack in .local/test .local; do if [ -d $$stack/run ]; then $(python) -m deploy.local --directory $$stack down; fi; done; \
	fi
	@rm -rf .local .venv build web/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis ./*.egg-info

.PHONY: setup-python
setup-python:
	@deploy/local/setup --for unit
