# Everything goes through a virtual environment of the project's own; the first target that needs it makes it.
PYTHON ?= python3
VENV   := .venv
MARKET := $(VENV)/bin/market

.DEFAULT_GOAL := help
.PHONY: help setup run replay watch status psql clean test test-fast test-long chaos lint format contracts monitoring bench k8s-render image requirements sbom release

help:  ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | expand -t 12

setup: $(VENV)/.ready  ## Install what the project needs into .venv

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name it with make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing into $(VENV) (a minute or two, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

run: setup  ## Start everything and show finished candles (SECONDS=60 stops by itself; Ctrl-C at any time)
	@$(MARKET) run $(if $(filter command,$(origin SECONDS)),--seconds $(SECONDS))

replay: setup  ## Play recordings through in a namespace of their own: FILES="a.jsonl.gz@2018-01-02T14:30Z*end b.jsonl.gz"
	@test -n "$(FILES)" || { echo 'say which: make replay FILES="trades.jsonl.gz ..."; see docs/replay.md'; exit 2; }
	@$(MARKET) replay $(FILES) $(if $(SPEED),--speed $(SPEED)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(NAME),--name $(NAME))

watch: setup  ## Show finished candles of the stack that runs
	@$(MARKET) watch

status: setup  ## Show health and lag of every part, and whether the stock market is open
	@$(MARKET) status

psql: setup  ## Open the database, starting it if it does not run (SQL="..." runs that and exits)
	@$(MARKET) psql $(if $(SQL),--command "$(SQL)")

clean: setup  ## Delete the data: topics, database and logs
	@$(MARKET) clean

test: setup  ## Run every test of the short ladder, on a real Kafka and a real PostgreSQL (ARGS="..." runs only those)
ifdef ARGS
	@$(VENV)/bin/python -m pytest $(ARGS)
else
	@failed=0; $(VENV)/bin/python -m pytest tests/chaos || failed=1; \
	  $(VENV)/bin/python -m pytest --ignore tests/chaos -n 2 --dist loadfile --no-loadscope-reorder || failed=1; exit $$failed
endif

test-fast: setup  ## Run only the tests that need no server
	@$(VENV)/bin/python -m pytest tests/unit tests/property $(ARGS)

test-long: setup  ## Run what takes too long for every change: long chaos, replays at other speeds
	@$(VENV)/bin/python -m pytest -m long $(ARGS)

chaos: setup  ## Hurt everything at random and compare: SEED=n repeats a run, SHORT=1 takes under 6 minutes
	@$(VENV)/bin/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SHORT),--short)

lint: setup  ## Style, types and the direction of imports
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: setup  ## Format the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

contracts: setup  ## Write contracts/ anew from the record types
	@$(VENV)/bin/python -m market.contracts_cmd write

monitoring: setup  ## Write docs/metrics.md and the dashboards anew from the code
	@$(VENV)/bin/python -m market.monitoring write

bench: setup  ## Each stage, latency, the whole pipeline, slopes, and the same jobs done by peers (hours; prints JSON)
	@$(VENV)/bin/python -m bench stages --json
	@$(VENV)/bin/python -m bench peers --json
	@$(VENV)/bin/python -m bench join --json
	@$(VENV)/bin/python -m bench decode --json
	@$(VENV)/bin/python -m bench feed --json
	@$(VENV)/bin/python -m bench pipeline --json
	@$(VENV)/bin/python -m bench scale --json

k8s-render:  ## Write each Kubernetes overlay, and the alert rules for the Prometheus operator, as one file into build/k8s
	@mkdir -p build/k8s
	@build="kubectl kustomize"; command -v kubectl >/dev/null || build="kustomize build"; \
	  for overlay in local production; do \
	    $$build deploy/k8s/overlays/$$overlay > build/k8s/$$overlay.yaml && echo build/k8s/$$overlay.yaml || exit 1; \
	  done
	@for rules in deploy/prometheus/rules/*.yml; do \
	    printf -- '---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n'; \
	    printf 'metadata:\n  name: market-%s\n  namespace: market\nspec:\n' "$$(basename $$rules .yml)"; \
	    sed 's/^/  /' $$rules; \
	  done > build/k8s/rules.yaml && echo build/k8s/rules.yaml

image: setup  ## Build the container image of this version (docs/deployment.md)
	@docker build --tag market-pipeline:$$($(MARKET) --version | cut -d' ' -f2) \
	  --build-arg VERSION=$$($(MARKET) --version | cut -d' ' -f2) --build-arg REVISION=$$(git rev-parse HEAD) .

PIN := uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
  --no-header --no-annotate

requirements:  ## Pin requirements/*.txt anew from pyproject.toml (needs uv; UPGRADE=1 takes newer versions)
	@$(PIN) $(if $(UPGRADE),--upgrade) pyproject.toml --extra tracing --output-file requirements/runtime.txt
	@$(PIN) $(if $(UPGRADE),--upgrade) pyproject.toml --extra native --extra tracing --extra dev --output-file requirements/dev.txt
	@$(PIN) $(if $(UPGRADE),--upgrade) requirements/build.in --output-file requirements/build.txt

sbom: setup  ## Write the bill of materials, CycloneDX JSON of what the image holds, into dist/
	@$(VENV)/bin/python -m market.release.artifacts dist/market-pipeline.cdx.json

release: setup  ## Build and try a release: VERSION=x.y.z; TAG=1 also commits the version and tags it
	@test -n "$(VERSION)" || { echo 'say which: make release VERSION=x.y.z'; exit 2; }
	@$(VENV)/bin/python -m market.release $(VERSION) $(if $(TAG),--tag)
