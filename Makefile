# What one does with the course. `make` alone lists the targets.
#
# All of them run in .venv, which is made on first use (some minutes and 6 GB, most of it torch) and
# brought up to date when pyproject.toml changes. Nothing needs root, a GPU, or more of the network than
# the package index. The shell and make of macOS (3.81) and Linux will do; on Windows see the README.

PYTHON ?= python3
EXTRAS := lab,train,data,compare,grade,dev
RUN    := .venv/bin/python
READY  := .venv/installed

# Students have no solutions/: their masters are not compared and not run.
MASTERS   := $(wildcard solutions/*.py)
NOTEBOOKS := $(wildcard notebooks/*.ipynb solutions/*.ipynb)

.PHONY: help lab test test-gpu build release assets

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

# Notebooks are copied to work/ first, so that git never sees what a student writes.
lab: $(READY)  ## open the notebooks in JupyterLab [PORT=8888] [BROWSER=no]
	@$(RUN) -m cvdl.cli lab $(if $(PORT),--port $(PORT)) $(if $(filter no,$(BROWSER)),--no-browser)

# Cheapest first. One thread per notebook, two at a time; none sees real data, so that all runs are alike.
test: export OMP_NUM_THREADS = 1
test: $(READY)  ## check style, library, built notebooks, and run every notebook: what CI does
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(if $(MASTERS),$(RUN) -m cvdl.course.build --check)
	$(RUN) -m pytest -rs -n2 --dist loadfile tests
	$(if $(NOTEBOOKS),CVDL_PROFILE=quick CVDL_REAL= CVDL_TRY_SLIDERS=1 \
	  $(RUN) -m pytest -p tests.notebooks.plugin --nbval-lax --nbval-current-env --nbval-cell-timeout=300 \
	  $(if $(NOTEBOOK_SECONDS),-o notebook_seconds=$(NOTEBOOK_SECONDS)) -n2 --dist loadfile $(sort $(dir $(NOTEBOOKS))))

# One notebook after the other, for each to have the card to itself. Table and executed notebooks: build/gpu/
test-gpu: $(READY)  ## run every notebook on a CUDA GPU, and say what it took
	$(RUN) -m tests.notebooks.measure run gpu

# Executes only masters that changed, or whose library or data changed.
build: $(READY)  ## make the notebooks from their masters in solutions/ [NB=01]
	$(RUN) -m cvdl.course.build $(NB)

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
