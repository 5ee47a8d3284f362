# Podium: every target installs what it needs into this folder and the caches of uv, Go and Podium (docs/testing.md).
# Start with `make demo`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV_VERSION := 0.13.9
# uv from PATH, or installed into .uv, so that Python is the only requirement
UV     := $(shell command -v uv || echo .uv/bin/uv)
OUT    ?=

help: ## show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# Runs before anything that calls $(PYTHON); works with old versions of Python, too
NEEDS_PYTHON := Podium needs Python 3.11 or newer
define check_python
	@command -v $(PYTHON) >/dev/null || { echo "$(NEEDS_PYTHON); $(PYTHON) is not on PATH; set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "$(NEEDS_PYTHON); found %d.%d at %s; set PYTHON=" % (v[0], v[1], sys.executable))'
endef

.uv/bin/uv:
	$(check_python)
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot create virtual environments: install venv (Debian: apt-get install python3-venv) or uv" >&2; exit 1; }
	@echo "installing uv $(UV_VERSION) into .uv"
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet "uv==$(UV_VERSION)"

install: $(VENV)/.installed ## create .venv with both packages and the development tools

$(VENV)/.installed: requirements.lock operator/pyproject.toml benchmarks/pyproject.toml | $(filter .uv/bin/uv,$(UV))
	$(check_python)
	@echo "installing Podium's packages into $(CURDIR)/$(VENV): about 6 GB, most of it PyTorch and CUDA"
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable operator --editable benchmarks
	@touch $@

EXPORT = $(UV) export --quiet --no-emit-workspace --no-header

lock: | $(filter .uv/bin/uv,$(UV)) ## update requirements.lock, and the images' requirements.txt, from the three pyproject.toml files
	$(UV) lock --upgrade
	$(EXPORT) --all-packages --all-extras --all-groups -o requirements.lock
	$(EXPORT) --package podium-operator -o images/operator/requirements.txt
	$(EXPORT) --package podium-benchmarks -o images/trainer/requirements.txt
	$(EXPORT) --only-group images -o images/tools/requirements.txt

demo: install ## train a small ResNet five times on this machine and score it (about a minute on 2 cores)
	$(BIN)/podium run --local examples/resnet-digits.yaml $(if $(OUT),--out $(OUT))

lint: install ## check format, style, spelling, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Long commands replace their shell (exec), so that a SIGTERM to make reaches them
PARTS ?= test
tools: install ## build the programs that `make test` uses (once; about 10 minutes on 2 cores); PARTS=all also builds those of e2e
	@exec $(BIN)/python -m tests.cluster build $(PARTS)

tools-e2e: install ## build the programs and images that `make e2e` uses (root; installs missing Debian packages)
	$(BIN)/python -m tests.cluster packages
	@exec $(BIN)/python -m tests.cluster build all

# Unit tests mostly compute: a file a core. The simulation uses all cores by itself, tests/api keep time
test: lint tools ## all tests that need no root: lint, unit tests, documentation, a real API server; TESTS= runs some
	$(if $(TESTS),,$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile tests/unit tests/docs)
	exec $(BIN)/python -m pytest $(or $(TESTS),tests/simulation tests/api)

VERSIONS ?= 1.29 1.33
test-versions: tools ## test against the API server and the controllers of older versions of Kubernetes (a first build: 10 minutes each)
	@for version in $(VERSIONS); do \
		echo "Kubernetes $$version"; export PODIUM_TEST_KUBERNETES=$$version; \
		$(BIN)/python -m tests.cluster build && $(BIN)/python -m pytest tests/api || exit; \
	done

e2e: tools-e2e ## test on a real node with kubelet, S3, Prometheus (Linux, root)
	exec $(BIN)/python -m pytest tests/e2e --timeout 900

e2e-trainer: tools-e2e ## test the complete trainer image in a pod (6 GB; `make e2e` mounts the packages instead)
	$(BIN)/python -m tests.cluster build trainer-image
	exec env PODIUM_TEST_FULL_TRAINER=1 $(BIN)/python -m pytest tests/e2e/test_trainer_image.py --timeout 3600

COLD_TARGETS ?= demo test
cold: ## run `make demo test` as on a new machine: in a fresh clone of HEAD, with empty caches; time each step
	@exec .ci/cold $(COLD_TARGETS)

docs: install ## build the documentation as a site in build/site and check every link
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir build/site
	$(BIN)/python -m tools.docs.links build/site

generate: install ## update generated files: the CRD, the chart's copy of it, its schema and README, the dashboards, the guarantees
	$(BIN)/python -m podium.api.crd > crds/podium.dev_benchmarkruns.yaml
	$(BIN)/python -m podium.api.sweep_crd > crds/podium.dev_benchmarksweeps.yaml
	$(BIN)/python helm/generate.py
	$(BIN)/python -m helm.dashboards
	$(BIN)/python -m tests.simulation.guarantees > docs/reference/guarantees.md

# CONTAINER_TOOL=docker|podman|buildah  IMAGE_PREFIX=registry.example/team  IMAGE_TAG=  BASE=  PUSH=1  (docs/how-to/images.md)
images: ## build the images of operator and trainers, with their bills of materials
	$(check_python)
	$(PYTHON) images/build.py $(IMAGES) $(if $(CONTAINER_TOOL),--tool $(CONTAINER_TOOL)) $(if $(BASE),--base $(BASE)) \
		$(if $(IMAGE_PREFIX),--prefix $(IMAGE_PREFIX)) $(if $(IMAGE_TAG),--tag $(IMAGE_TAG)) $(if $(PUSH),--push)

SEEDS ?= 500
simulate: install ## run the operator in SEEDS simulated clusters in which everything fails (about 10 a second on a core)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

simulate-week: install ## show that memory stays flat over a week of 200 runs a day, in virtual time
	$(BIN)/python -m tests.simulation.week

simulate-mutants: install ## show that the simulation finds each fault in tests/simulation/mutants
	$(BIN)/python -m tests.simulation.mutants $(MUTANTS)

SPECS ?= 10000
fuzz: tools ## create SPECS generated runs on a real API server: each is accepted, or refused with a sentence
	exec env PODIUM_FUZZ=$(SPECS) $(BIN)/python -m pytest tests/api/test_generated_specs.py -s --timeout 7200

perf-operator: tools ## measure the operator under load on fake nodes, in turns with the bare API and an earlier commit
	$(BIN)/python -m tests.performance.controller --out docs/performance/operator.json

perf-train: install ## measure the trainers: seconds to quality, ranks, memory, what is on the clock beside training; writes docs/performance/training.{json,md}
	$(BIN)/python tests/performance/train/tiny.py --out docs/performance/training.json
	$(BIN)/python tests/performance/perf_train.py --naive
	$(BIN)/python tests/performance/perf_resnet_seeds.py
	$(BIN)/python tests/performance/train/detection.py
	$(BIN)/python tests/performance/train/translation.py
	$(BIN)/python tests/performance/train/minigo.py
	$(BIN)/python tests/performance/train/ncf.py
	$(BIN)/python tests/performance/train/ranks.py --out docs/performance/training.json
	$(BIN)/python tests/performance/train/memory.py --out docs/performance/training.json
	$(BIN)/python tests/performance/train/clock.py --out docs/performance/training.json
	$(BIN)/python tests/performance/train/page.py

perf-gpu: install ## measure steps, epochs and evaluations of the full models on a GPU; writes docs/performance/gpu.json
	$(BIN)/python tests/performance/train_gpu.py --out docs/performance/gpu.json

perf-stage: install ## measure MB/s of podium stage, compared with a plain boto3 loop
	$(BIN)/python -m tests.performance.stage_speed

perf-parser: install ## measure lines per second of the log parser, compared with mlperf_logging, and memory for 1 GB
	$(BIN)/python -m tests.performance.parser_speed $(LOGS)

perf-published: install ## list every finding about the published results: RESULTS=folder with clones of training_results_v0.5 and later
	$(BIN)/python -m tests.performance.published_findings $(RESULTS)

perf-compare: install ## compare halves of published results, which are never different: RESULTS=as for perf-published
	$(BIN)/python -m tests.performance.published_halves $(RESULTS)

.PHONY: help install lock demo lint tools tools-e2e test test-versions e2e e2e-trainer cold docs generate images simulate simulate-week simulate-mutants fuzz perf-operator perf-train perf-gpu perf-stage perf-parser perf-published perf-compare
