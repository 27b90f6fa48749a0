# make help      what can be made
#
# Only relative paths, so that a folder with spaces in its name works.

VENV := .venv
PY := $(VENV)/bin/python
# What .venv was made from. It is made again only when these files, or the place of the folder, changed.
INPUTS := pyproject.toml constraints.txt
STAMP := $(VENV)/made-from
EXTRAS := full,fast,ray,dev
# Two workers, one thread each: PyTorch would otherwise start as many threads as there are cores in every worker.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -q --doctest-modules -n $(or $(WORKERS),2)
RUN :=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-all bench clean

help:
	@echo "make setup       build .venv with everything"
	@echo "make demo        a federated job with privacy, two attackers and a report"
	@echo "make test        lint, format, types, tests, doctests"
	@echo "make test-all    the same, and the slow tests, real Flower servers and Ray"
	@echo "make bench       list the measurements; make bench RUN=aggregation runs one, RUN=all every one"
	@echo "make clean       remove .venv and caches; runs/ is yours and stays"

setup:
	@set -eu; \
	made_from() { pwd; cat $(INPUTS); }; \
	if [ -f $(STAMP) ] && made_from | cmp -s - $(STAMP) && $(PY) -c "" 2>/dev/null; then exit 0; fi; \
	python=; old=; \
	for name in $(PYTHON) python3.11 python3; do \
	    found=$$("$$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then python=$$name; break; fi; \
	    old="$$old $$name is $$found;"; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Hedgerow needs Python 3.11 or newer:$${old:- neither python3.11 nor python3 was found;}" \
	        "install it, or name it: make setup PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "Hedgerow needs Python's venv and ensurepip, which $$python lacks:" \
	        "on Debian and Ubuntu, apt-get install python$$found-venv" >&2; exit 1; \
	fi; \
	usable() { [ -f $(STAMP) ] && [ "$$(head -n 1 $(STAMP))" = "$$(pwd)" ] && $(PY) -c "" 2>/dev/null; }; \
	if [ -e $(VENV) ] && ! usable; then \
	    echo "setup: removing an unfinished or moved $(VENV)"; rm -rf $(VENV); \
	fi; \
	if ! [ -e $(VENV) ]; then echo "setup: $(VENV) with $$python ($$found)"; "$$python" -m venv $(VENV); fi; \
	pip() { $(PY) -m pip --disable-pip-version-check -q "$$@"; }; \
	echo "setup: installing hedgerow[$(EXTRAS)] as pinned in constraints.txt (a minute or more)"; \
	pip install -c constraints.txt hatchling; \
	pip install -c constraints.txt --no-build-isolation -e ".[$(EXTRAS)]"; \
	made_from > $(STAMP); \
	echo "setup: done"

demo: setup
	@$(VENV)/bin/hedgerow demo

test: setup
	@echo "test: ruff check"; $(PY) -m ruff check -q .
	@echo "test: ruff format --check"; $(PY) -m ruff format -q --check .
	@echo "test: mypy --strict"; $(PY) -m mypy
	@echo "test: pytest with doctests"; $(PYTEST) tests src/hedgerow

# The real servers and Ray want the machine for themselves, so these run one after another.
test-all: test
	@echo "test-all: pytest, slow, live and ray"; $(PYTEST) -n 0 -m "slow or live or ray" tests src/hedgerow

bench: setup
	@set -eu; \
	case "$(RUN)" in \
	    "") echo "make bench RUN=NAME runs one, RUN=all runs every one:"; \
	        for script in bench/*.py; do \
	            printf '  %-14s %s\n' "$$(basename "$$script" .py)" "$$(sed -n '1s/^"""//p' "$$script")"; \
	        done ;; \
	    all) for script in bench/*.py; do echo "bench: $$script"; $(PY) "$$script"; done ;; \
	    *) $(PY) "bench/$(RUN).py" ;; \
	esac

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov build dist
	@find . -name __pycache__ -type d -not -path './runs/*' -prune -exec rm -rf {} +
	@echo "clean: removed the environment and the caches; runs/ stays"
