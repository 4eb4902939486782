# make env    create the virtual environment .venv, with everything that the other targets need
# make demo   run every stage on a corpus and write the results to demo/; option: CORPUS=folder
# make quick  the inner loop: linter, types and the unit tests that need no TensorFlow; about two minutes
# make check  formatter, linter and type checker
# make test   all tests; 20 to 30 minutes on 2 cores
# make bench  the benchmarks, on CORPUS=folder of MIDI files; two hours, and up to 7 GB of disk space

PYTHON ?= python3
CORPUS ?= music21:bach
# The mpich wheel needs no system packages. On a cluster use the site's MPI (make env MPI=) or environment.yml.
MPI ?= mpich>=4.2,<6

BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)

.PHONY: env demo quick check test bench

env: .venv/ready

.venv/ready: setup.cfg pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "python 3.11 or newer is needed, found " + sys.version.split()[0] + ": make env PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	pip install --quiet --disable-pip-version-check --upgrade pip
	pip install --quiet --editable '.[cpu,audio,test]' $(if $(MPI),'$(MPI)')
	touch $@

demo: env
	rm -rf demo
	mkdir demo
	mpiexec -n 2 python -m mpi4py -m preprocess '$(CORPUS)' --store demo/corpus.h5
	pianogen sweep submit sweeps/quick.yaml --store demo/corpus.h5 --out demo/runs/quick --cluster local
	pianogen decode demo/runs/quick
	pianogen collect demo/runs/quick --out demo/collected
	@echo
	@echo 'demo/corpus.h5           the piano rolls of $(CORPUS); demo/corpus.ledger.csv lists the outcome of every file'
	@echo 'demo/runs/quick/         one directory per run: configuration, metrics, curves, checkpoints, samples'
	@echo 'demo/collected/          the MIDI files by run, and index.csv'
	@echo 'demo/collected/report.html    open this first'

# Ruff and mypy fail first. --without-tensorflow leaves out the test modules that import TensorFlow.
quick: check
	pytest --quiet --numprocesses 2 --dist loadfile --without-tensorflow tests/unit

check: env
	ruff format --check .
	ruff check .
	mypy

# Three processes for two cores: the first one runs the Slurm tests and mostly waits. tests/conftest.py orders the files.
test: env
	pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# Not part of it: benchmarks.nll needs the .mat files of Boulanger-Lewandowski et al. 2012, benchmarks.queue Slurm, and
# benchmarks.music finished runs.
bench: env
	pip install --quiet --disable-pip-version-check --editable '.[cpu,audio,test,bench]'
	python -m benchmarks.parse '$(CORPUS)'
	python -m benchmarks.preprocess '$(CORPUS)'
	python -m benchmarks.scores
	python -m benchmarks.scale
	python -m benchmarks.memorization
	python -m benchmarks.report_page
	python -m benchmarks.input
	rm -rf bench
	python -m benchmarks.report '$(CORPUS)' --folder bench
	python -m benchmarks.train bench/trimmed.h5
	python -m benchmarks.train bench/trimmed.h5 --model joint --threads 1
	python -m benchmarks.sample bench/trimmed-runs/0000-base
	python -m benchmarks.decode bench/trimmed.h5
	python -m benchmarks.commands bench/trimmed.h5
