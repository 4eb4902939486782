# make env    the virtual environment .venv, with everything the other targets need
# make demo   a corpus to a store, a sweep, samples and MIDI below demo/; CORPUS=folder for your own, EPOCHS=n for longer
# make test   all tests
# make check  formatter, linter and type checker
# make bench  every benchmark, on CORPUS=folder of MIDI files; two hours, and 7 GB of disk for a while

PYTHON ?= python3
CORPUS ?= music21:bach
EPOCHS ?= 3
# An MPI that needs nothing of the system. On a cluster take the site's, or environment.yml.
MPI ?= mpich>=4.2,<6

BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)

.PHONY: env demo test check bench

env: .venv/ready

.venv/ready: setup.cfg pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "python 3.11 or newer is needed, found " + sys.version.split()[0] + ": make env PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	pip install --quiet --disable-pip-version-check --upgrade pip
	pip install --quiet --editable '.[cpu,test]' $(if $(MPI),'$(MPI)')
	touch $@

demo: env
	rm -rf demo
	mkdir demo
	mpiexec -n 2 python -m mpi4py -m preprocess '$(CORPUS)' --store demo/corpus.h5
	python -m jobs.sweep submit sweeps/quick.yaml --store demo/corpus.h5 --out demo/runs/quick --cluster local training.epochs=$(EPOCHS)
	python -m jobs.decode demo/runs/quick
	python -m jobs.collect demo/runs/quick --out demo/collected
	@echo
	@echo 'demo/corpus.h5           the piano rolls of $(CORPUS); demo/corpus.ledger.csv says what became of each file'
	@echo 'demo/runs/quick/         one folder per run: configuration, metrics, curves, checkpoints, samples'
	@echo 'demo/collected/          every MIDI file by run, and index.csv'
	@echo 'demo/collected/report.html    open this first'

test: env
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: env
	ruff format --check .
	ruff check .
	mypy

bench: env
	pip install --quiet --disable-pip-version-check --editable '.[cpu,test,bench]'
	python -m benchmarks.parse '$(CORPUS)'
	python -m benchmarks.preprocess '$(CORPUS)'
	python -m benchmarks.scale
	python -m benchmarks.input
	rm -rf bench
	python -m benchmarks.report '$(CORPUS)' --folder bench
	python -m benchmarks.train bench/trimmed.h5
	python -m benchmarks.sample bench/trimmed-runs/0000-base
	python -m benchmarks.decode bench/trimmed.h5
