# Every target may be run again at any time. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
# Whoever forbids compiled modules would have every process of every target compile them all again: seconds each.
unexport PYTHONDONTWRITEBYTECODE

python := .venv/bin/python
ARGS ?=
# So many light tests run side by side: most of them wait more than they compute.
WORKERS ?= 4
# solo: Postgres, Redis, nginx and one process of ours. full: Kafka and MinIO too, and a process for each service.
PROFILE ?= solo

.PHONY: help
help: ## list the targets
	@echo "LiveStream. Usage: make TARGET"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

# --- run ---------------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: ## one stream, end to end, verified from outside (PROFILE=full: on Kafka and MinIO; KEEP=1 leaves it running)
	@began=$$(date +%s); deploy/local/setup --for $(PROFILE); \
	$(python) -m console demo --profile $(PROFILE) --began $$began $(ARGS)

.PHONY: setup
setup: ## install what is missing: packages, Python environment, Kafka, MinIO
	@deploy/local/setup

.PHONY: up
up: ## start the engines and every service (PROFILE=full: on Kafka and MinIO)
	@deploy/local/setup --for $(PROFILE)
	@$(python) -m deploy.local --profile $(PROFILE) up all

.PHONY: down
down: setup-run ## stop everything that `make up` or a kept demo has started; data stays (PROFILE=… for one of them)
	@$(python) -m deploy.local $(if $(filter file,$(origin PROFILE)),,--profile $(PROFILE)) down

.PHONY: status
status: setup-run ## how every part is (PROFILE=full)
	@$(python) -m deploy.local --profile $(PROFILE) status

.PHONY: logs
logs: setup-run ## the end of the logs (PART=nginx for one, FOLLOW=1 to go on, PROFILE=full)
	@$(python) -m deploy.local --profile $(PROFILE) logs $(PART) $(if $(filter-out 0,$(FOLLOW)),--follow)

# --- check -------------------------------------------------------------------------------------------------------------

.PHONY: test
test: setup ## all tests, against the real engines (ARGS='-k name' for some): the light ones, then the heavy ones
	@light=0; $(python) -m pytest --part light -n $(WORKERS) --dist worksteal $(ARGS) || light=$$?; \
	heavy=0; $(python) -m pytest --part heavy -n 2 --dist loadfile $(ARGS) || heavy=$$?; \
	case $$light,$$heavy in 0,0 | 0,5 | 5,0) ;; *) echo "make test: failed"; exit 1 ;; esac  # 5: none of this part

.PHONY: unit
unit: setup-python ## the tests that need no server
	@$(python) -m pytest tests/unit -n 4 --dist worksteal $(ARGS)

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
	  if [ -d .local/test/run ]; then $(python) -m deploy.local --directory .local/test --profile full down; fi; \
	  $(python) -m deploy.local down; \
	fi
	@rm -rf .local .venv build web/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis ./*.egg-info

.PHONY: setup-python
setup-python:
	@deploy/local/setup --for unit

.PHONY: setup-run
setup-run:
	@deploy/local/setup --for python
