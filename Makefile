# `make demo` and `make test` do all set-up themselves; they need Python 3.11+, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export OMP_NUM_THREADS = 1
export HF_HUB_OFFLINE = 1

.PHONY: demo miniature-study test test-slow test-vllm test-vlmeval lint

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train,lm-eval,ray,dicom,dev]'
	touch $@

demo: $(VENV)/installed
	rm -rf demo-output
	$(BIN)/aloe-bench demo --output demo-output

# Hours of one core. Killed, it goes on where it was; each arm's evidence and the page of all arms done are committed.
miniature-study: $(VENV)/installed
	$(BIN)/python -m aloe_bench.miniature.study miniature-study --evidence leaderboards/miniature-study \
		--render docs/miniature-study.md

test: $(VENV)/installed
	$(BIN)/python -m pytest

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

$(VENV)-vllm/installed: tests/vllm_env/make
	PYTHON=$(PYTHON) tests/vllm_env/make $(VENV)-vllm

test-vllm: $(VENV)-vllm/installed
	$(VENV)-vllm/bin/python -m pytest tests/test_vllm.py

$(VENV)-vlmeval/installed: $(VENV)/installed tests/vlmeval_env/make
	tests/vlmeval_env/make $(VENV)-vlmeval $(VENV)

test-vlmeval: $(VENV)-vlmeval/installed
	$(VENV)-vlmeval/bin/python -m pytest tests/test_vlmeval_real.py

lint: $(VENV)/installed
	$(BIN)/ruff check aloe_bench tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
