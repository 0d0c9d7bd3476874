# Everyday commands. `make` alone lists the targets.
#
# All of them run in .venv, which is created on first use (a few minutes and 6 GB, most of it torch) and updated when
# pyproject.toml changes. None needs root; only test-gpu needs a GPU. The only network access is to the package index.
# The shell and make that come with macOS (make 3.81) or Linux are sufficient; for Windows see the README.

PYTHON ?= python3
EXTRAS := notebook,lab,train,data,compare,grade,dev
RUN    := .venv/bin/python
READY  := .venv/installed

# How many tests or notebooks run at the same time, each on one thread. A notebook may need 2 GB of memory.
WORKERS := 2
PYTEST  := $(RUN) -m pytest -rs -n$(WORKERS) --dist loadfile

# The students' release has no solutions/, so there are no masters to compare and no solutions to run.
MASTERS   := $(wildcard solutions/*.py)
NOTEBOOKS := $(wildcard notebooks/*.ipynb solutions/*.ipynb)

.PHONY: help lab test test-long test-all test-gpu build release assets

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

# Notebooks are copied to work/ first, so that git never sees what a student writes.
lab: $(READY)  ## open the notebooks in JupyterLab [PORT=8888] [BROWSER=no]
	@$(RUN) -m cvdl lab $(if $(PORT),--port $(PORT)) $(if $(filter no,$(BROWSER)),--no-browser)

# Cheapest first. CVDL_REAL= hides any real data, so that all runs use the same data. Slowness never fails a run.
test: export OMP_NUM_THREADS = 1
test: $(READY)  ## check style, library and built notebooks; run every notebook at its smallest (10 minutes) [WORKERS=2]
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	.venv/bin/lint-imports --no-cache
	$(if $(MASTERS),$(RUN) -m cvdl.course.authoring.build --check)
	$(PYTEST) -p no:nbval tests
	$(if $(NOTEBOOKS),CVDL_PROFILE=quick CVDL_REAL= CVDL_TRY_SLIDERS=1 \
	  $(PYTEST) -p tests.notebooks.plugin --nbval-lax --nbval-current-env $(sort $(dir $(NOTEBOOKS))))

test-long: export OMP_NUM_THREADS = 1
test-long: $(READY)  ## run longer tests that `test` leaves out: a class of 200, a session in a browser, Colab's first cell
	$(PYTEST) -m long tests

test-all: test test-long  ## run both, then all attacks on the grader, and every notebook in the profile laptop and with Colab's packages (4 hours)
	$(RUN) -m pytest -m tour tests
	$(RUN) -m tests.notebooks.measure run laptop
	$(RUN) -m tests.notebooks.colab --python $$(command -v python3.12 || echo $(RUN))

# One notebook after the other, so that each has the GPU to itself. The results and executed notebooks go to build/gpu/.
test-gpu: $(READY)  ## run every notebook on a CUDA GPU and report time and memory
	$(RUN) -m tests.notebooks.measure run gpu

# Executes a notebook only if its code, a function or constant that it uses, or data that it opens has changed.
build: $(READY)  ## build the notebooks from their masters in solutions/ [NB=01] [STALE=no: keep old outputs]
	$(RUN) -m cvdl.course.authoring.build $(NB) $(if $(STALE),--stale $(STALE))

# Exports the last commit, without what .gitattributes marks. An earlier release in DEST is updated; work/ is left alone.
release: $(READY)  ## write the students' version of the course, without answers, to DEST=../for-students
	$(RUN) -m cvdl.course.authoring.release "$(DEST)"

# Installs the pinned packages from which data/ was made, so the result is the same byte for byte.
assets: $(READY)  ## extract the files in data/ again from the packages they come from
	$(RUN) -m pip install --quiet --constraint .ci/constraints.txt --editable '.[assets]'
	$(RUN) -m data.make.texts

# This file marks a finished installation. It is removed while pip runs, and .venv is rebuilt from scratch if it is
# missing: after an interrupted installation, pip would mistake a half-unpacked package for a complete one.
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
