# make demo   set up, start the service, play the help desk against it, report   (CYCLES=2 for two)
# make test   lint, types, import contracts and all tests, the whole loop on real vLLM among them (an hour)
# make names  the extra `names`, locked: 230 MB for what finds people's names; its test is skipped without
# make e2e    that part alone: the demo played through and its report asserted; each process killed once; the loop over
#             Kafka and PostgreSQL, both of them killed as well (31 minutes)
# make chaos  kill -9 of each part at named points and at random ones, over Kafka and PostgreSQL: nothing lost, nothing twice
#             (10 minutes; ARGS="--seed 7 --rounds 1"; a short form of it is in `make integration`)
# make bench-releases   two releases under load, and a kill of the engine: conditions asserted, figures in JSON (5 minutes)
# make bench-consumer   events a second into SQLite and PostgreSQL, beside a bare loop (2 minutes; ARGS=--long: half an hour)
# make bench-redact     what the rules against personal data find, and touch by mistake (a few seconds)
# make mutants   the pure decisions, changed in 1,900 places one at a time: do their unit tests notice? (15 minutes)
# make up     set up and start the service

PYTHON ?= python3.11
CYCLES ?= 1
BIN := .venv/bin

.PHONY: setup demo up test lint names unit integration vllm e2e gpu chaos mutants bench-releases bench-redact bench-consumer lock clean

setup:
	@command -v $(PYTHON) >/dev/null || { echo "setup: $(PYTHON) is not here. Install Python 3.11, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) deploy/bootstrap.py

demo: setup
	@$(BIN)/python -m demo --cycles $(CYCLES) $(ARGS)

up: setup
	@$(BIN)/thumbwheel up $(ARGS)

test: lint names unit integration vllm e2e

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

names: setup
	$(BIN)/pip install --quiet --no-deps --require-hashes --disable-pip-version-check -r locks/names.lock

unit: setup
	$(BIN)/pytest tests/unit

integration: setup
	$(BIN)/pytest tests/integration

vllm: setup
	$(BIN)/pytest tests/vllm

e2e: setup
	$(BIN)/pytest tests/e2e

gpu: setup
	$(BIN)/pytest tests/gpu

chaos: setup
	$(BIN)/python -m tests.chaos --out chaos.json $(ARGS)

mutants: setup
	$(BIN)/mutmut run

bench-releases: setup
	$(BIN)/python -m bench.releases --out bench-releases.json $(ARGS)

bench-consumer: setup
	$(BIN)/python -m bench.consumer --out bench-consumer.json $(ARGS)

bench-redact: setup
	$(BIN)/python -m bench.redact $(ARGS)

# Reads pyproject.toml, writes locks/. Needs uv (any recent one), and pip set up to find torch's CPU build.
lock:
	$(PYTHON) deploy/lock.py

clean:
	rm -rf .venv .base .setup.log mutants
