# Each target sets up its virtual environment when that is missing or older than setup.cfg.
VENV ?= .venv
BACKENDS_VENV ?= .venv-backends
IO_VENV ?= .venv-io
OLDEST_VENV ?= .venv-oldest
PYTHON ?= python3
# A process for each core, a file of tests after the other; not the files of one long test last.
PARALLEL = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
OLDEST_TESTS = tests/data tests/layers tests/export tests/prediction tests/cli
BACKENDS_TESTS = tests/ops tests/layers tests/models tests/training/test_distribution.py
# What oneDNN computes in another way than TensorFlow's own kernels: numbers, and where they end.
ONEDNN_TESTS = tests/ops tests/layers tests/training/test_callbacks.py tests/training/test_optimization.py
export PYTHON

.PHONY: help demo test test-backends test-io test-oldest lint bench study clean

help:
	@echo "make demo           the main job, whole, on an embedded data set (about 10 minutes)"
	@echo "make test           the tests; those of numbers with and without oneDNN"
	@echo "make test-backends  the layers and models on the jax and torch backends"
	@echo "make test-io        shards on S3, with a local server (Python 3.10 or 3.11)"
	@echo "make test-oldest    a part of the tests with the oldest versions that setup.cfg allows"
	@echo "make lint           ruff, and mypy on the typed rooms"
	@echo "make bench          the benchmarks of docs/results.md and docs/performance.md (many minutes)"
	@echo "make study          the experiments of docs/results.md (hours)"
	@echo "make clean          delete the demo's output and the environments"

$(VENV)/installed: setup.cfg pyproject.toml
	@.ci/venv $(VENV) --editable '.[dev]'

$(BACKENDS_VENV)/installed: setup.cfg pyproject.toml
	@.ci/venv $(BACKENDS_VENV) --editable '.[dev,jax,torch]'

$(IO_VENV)/installed: setup.cfg pyproject.toml
	@.ci/venv $(IO_VENV) --editable '.[io,test_io]'

$(OLDEST_VENV)/installed: setup.cfg pyproject.toml
	@.ci/venv $(OLDEST_VENV) uv
	@$(OLDEST_VENV)/bin/uv pip install --quiet --python $(OLDEST_VENV)/bin/python \
		--resolution lowest-direct --editable '.[litert,beam]' 'pytest>=8,<10' 'pytest-xdist>=3.8,<4' \
		|| { rm $@; false; }

demo: $(VENV)/installed
	@$(VENV)/bin/python tools/demo.py

test: $(VENV)/installed
	TF_ENABLE_ONEDNN_OPTS=1 $(VENV)/bin/python -m pytest $(PARALLEL)
	TF_ENABLE_ONEDNN_OPTS=0 $(VENV)/bin/python -m pytest $(PARALLEL) -m "not slow" $(ONEDNN_TESTS)

test-backends: $(BACKENDS_VENV)/installed
	KERAS_BACKEND=jax $(BACKENDS_VENV)/bin/python -m pytest $(PARALLEL) -m "not slow" $(BACKENDS_TESTS)
	KERAS_BACKEND=torch $(BACKENDS_VENV)/bin/python -m pytest $(PARALLEL) -m "not slow" $(BACKENDS_TESTS)

test-io: $(IO_VENV)/installed
	$(IO_VENV)/bin/python -m pytest tests/data/test_s3.py

# Without oneDNN: that of TensorFlow 2.17 and 2.18 ends the process (illegal instruction) over float16
# on processors with AMX.
test-oldest: $(OLDEST_VENV)/installed
	TF_ENABLE_ONEDNN_OPTS=0 $(OLDEST_VENV)/bin/python -m pytest $(PARALLEL) -m "not slow" $(OLDEST_TESTS)

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/installed
	$(VENV)/bin/python tools/benchmark.py all

study: $(VENV)/installed
	$(VENV)/bin/python tools/study.py

clean:
	rm -rf demo $(VENV) $(BACKENDS_VENV) $(IO_VENV) $(OLDEST_VENV)
