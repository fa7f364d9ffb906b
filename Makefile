# `make demo` and `make test` do all set-up themselves; they need Python 3.11+, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Modules are compiled when they are first used: the demo uses a quarter of the 18,000 that are installed.
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -e
export OMP_NUM_THREADS = 1
export HF_HUB_OFFLINE = 1
# Hundreds of tests start a process of their own; without compiled modules each compiles the package again.
unexport PYTHONDONTWRITEBYTECODE

# Processes that run tests: `make test JOBS=8`.
JOBS ?= 2
PYTEST = $(BIN)/python -m pytest
# A file's tests stay in one process, for the sake of what they share.
SPREAD = -n $(JOBS) --dist loadfile

.PHONY: demo leaderboards miniature-study test test-bridges test-slow test-families test-gpu test-vllm test-vlmeval test-inspect test-truescore mutants wheel lint docs

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[train,lm-eval,ray,dicom,dev,docs]'
	touch $@

# Less than the tests need: no lm-eval, no Ray, no tools of development. Most of it are the CUDA libraries of torch.
$(VENV)/demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[train,report]'
	touch $@

demo: $(VENV)/demo
	rm -rf demo-output
	$(BIN)/aloe-bench demo --output demo-output

# Every page of leaderboards/ made anew of the outcomes that are there, and computed again.
leaderboards: $(VENV)/installed
	$(BIN)/aloe-bench leaderboard build --output leaderboards
	$(BIN)/aloe-bench leaderboard verify leaderboards

# Hours of one core. Killed, it goes on where it was; each arm's evidence and the page of all arms done are committed.
miniature-study: $(VENV)/installed
	$(BIN)/python -m studies.miniature.study miniature-study --evidence leaderboards/miniature-study \
		--render docs/miniature-study.md

# Those that measure time run by themselves, last.
test: $(VENV)/installed
	$(PYTEST) $(SPREAD) -m "not slow and not families and not bridges and not alone"
	$(PYTEST) -m alone

# All of them take an hour or more; THIRD=1, 2 or 3 runs a fixed third.
test-slow: $(VENV)/installed
	$(PYTEST) $(SPREAD) -m slow $(if $(THIRD),--third $(THIRD))

# Our tasks and models inside lm-eval, and answers that come from VLMEvalKit's runner.
test-bridges: $(VENV)/installed
	$(PYTEST) $(SPREAD) -m bridges

# One-line faults in code that makes numbers: a named fast test has to notice each.
mutants: $(VENV)/installed
	$(BIN)/python -m tests.mutants.run

# Every tiny model family against transformers' own processor and generate.
test-families: $(VENV)/installed
	$(PYTEST) -n $(JOBS) -m families

# On a machine with a GPU; GPU="--device cpu --small" is its miniature. Needs no package but torch and transformers.
test-gpu: $(VENV)/installed
	$(BIN)/python -m tests.gpu.run $(GPU)

$(VENV)-vllm/installed: tests/support/environments/make-vllm
	PYTHON=$(PYTHON) tests/support/environments/make-vllm $(VENV)-vllm

test-vllm: $(VENV)-vllm/installed
	$(VENV)-vllm/bin/python -m pytest tests/models/test_vllm.py

$(VENV)-vlmeval/installed: $(VENV)/installed tests/support/environments/make-vlmeval
	tests/support/environments/make-vlmeval $(VENV)-vlmeval $(VENV)

test-vlmeval: $(VENV)-vlmeval/installed
	$(VENV)-vlmeval/bin/python -m pytest tests/bridges/test_vlmeval_real.py

# Built, installed and used outside the checkout; then with each extra that needs no torch.
wheel: $(VENV)/installed
	$(BIN)/python -m tests.wheel

$(VENV)-inspect/installed: tests/support/environments/make-inspect
	PYTHON=$(PYTHON) tests/support/environments/make-inspect $(VENV)-inspect

# The logs that `export --format inspect` writes, read by inspect_ai itself.
test-inspect: $(VENV)/installed $(VENV)-inspect/installed
	INSPECT_PYTHON=$(abspath $(VENV)-inspect)/bin/python $(BIN)/python -m pytest -m slow tests/bridges/test_inspect_log.py

$(VENV)-truescore/installed: $(VENV)/installed tests/support/environments/make-truescore
	tests/support/environments/make-truescore $(VENV)-truescore $(VENV)

# Scores corrected for a jury against PyPI's truescore.
test-truescore: $(VENV)-truescore/installed
	$(VENV)-truescore/bin/python -m pytest tests/stats/test_corrected.py -k truescore

lint: $(VENV)/installed
	$(BIN)/ruff check aloe_bench studies tests benchmarks examples
	$(BIN)/ruff format --check --quiet aloe_bench studies tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.words
	$(BIN)/hadolint Containerfile
	$(BIN)/python benchmarks/files_on_the_way.py

# The site in site/; a broken link is an error.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
