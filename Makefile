# Everyday commands. `make` alone lists the targets.
#
# All of them run in .venv, which is made on first use (a few minutes and 6 GB, most of it torch) and brought up to date
# when pyproject.toml changes. None needs root or a GPU, nor any network but the package index. The shell and make of
# macOS (3.81) and Linux will do; for Windows see the README.

PYTHON ?= python3
EXTRAS := lab,train,data,compare,grade,dev
RUN    := .venv/bin/python
READY  := .venv/installed

# Tests and notebooks that run side by side, each on one thread. A notebook may need 2 GB.
WORKERS := 2
PYTEST  := $(RUN) -m pytest -rs -n$(WORKERS) --dist loadfile

# Students have no solutions/: their masters are not compared and not run.
MASTERS   := $(wildcard solutions/*.py)
NOTEBOOKS := $(wildcard notebooks/*.ipynb solutions/*.ipynb)

.PHONY: help lab test test-long test-all test-gpu build release assets

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

# Notebooks are copied to work/ first, so that git never sees what a student writes.
lab: $(READY)  ## open the notebooks in JupyterLab [PORT=8888] [BROWSER=no]
	@$(RUN) -m cvdl.cli lab $(if $(PORT),--port $(PORT)) $(if $(filter no,$(BROWSER)),--no-browser)

# Cheapest first. No notebook sees real data, so that all runs are alike. Nothing here fails because of a clock.
test: export OMP_NUM_THREADS = 1
test: $(READY)  ## check style, library, built notebooks, and run every notebook once, small (10 minutes) [WORKERS=2]
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(if $(MASTERS),$(RUN) -m cvdl.course.build --check)
	$(PYTEST) -p no:nbval tests
	$(if $(NOTEBOOKS),CVDL_PROFILE=quick CVDL_REAL= CVDL_TRY_SLIDERS=1 \
	  $(PYTEST) -p tests.notebooks.plugin --nbval-lax --nbval-current-env $(sort $(dir $(NOTEBOOKS))))

test-long: export OMP_NUM_THREADS = 1
test-long: $(READY)  ## the tests that `test` leaves out: all attacks on grading, browser tours, Colab's first cell
	$(PYTEST) -m long tests

test-all: test test-long  ## both, every notebook in the profile laptop, and in an environment like Colab's (2 hours)
	$(RUN) -m tests.notebooks.measure run laptop
	$(RUN) -m tests.notebooks.colab --python $$(command -v python3.12 || echo $(RUN))

# One notebook after the other, for each to have the card to itself. Table and executed notebooks: build/gpu/
test-gpu: $(READY)  ## run every notebook on a CUDA GPU, and say what it took
	$(RUN) -m tests.notebooks.measure run gpu

# Executes a notebook only if its code, a function that it calls, or data that it opens has changed.
build: $(READY)  ## make the notebooks from their masters in solutions/ [NB=01] [STALE=no: execute nothing]
	$(RUN) -m cvdl.course.build $(NB) $(if $(STALE),--stale $(STALE))

# Onto an earlier release it is an update, which leaves work/ alone.
release: $(READY)  ## write the course as students get it, without answers: DEST=../for-students
	$(RUN) -m cvdl.course.release "$(DEST)"

# With the pinned packages, from which data/ was made, the same bytes come out.
assets: $(READY)  ## extract what data/ holds from its packages anew
	$(RUN) -m pip install --quiet --constraint .ci/constraints.txt --editable '.[assets]'
	$(RUN) -m cvdl.course.assets

# The file stands for a finished installation. It is gone while pip runs, and without it .venv is made
# from nothing: after a kill, pip takes a half-unpacked package for a whole one.
$(READY): pyproject.toml $(wildcard $(PIP_CONSTRAINT))
	@test -e $@ || $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo \
	  "The course needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is not one of them. Install one and name it:" \
	  "make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test -e $@ || $(PYTHON) -c 'import ensurepip, venv' || { echo \
	  "$(PYTHON) lacks its module venv. On Debian and Ubuntu it comes with: sudo apt install python3-venv" \
	  >&2; exit 1; }
	@test -e $@ || $(PYTHON) -m venv --clear .venv
	@rm -f $@
	$(RUN) -m pip install --editable '.[$(EXTRAS)]'
	@touch $@
