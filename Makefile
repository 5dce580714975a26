# Two commands for a newcomer: `make demo` and `make test`. Everything lives in .venv; nothing else is installed.
PYTHON ?= python3
PY := .venv/bin/python
DURATION ?=
CAMERA ?=
unexport PYTHONDONTWRITEBYTECODE  # else every process that a test starts compiles everything anew
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench lock clean

help:
	@echo "make demo                 run everything on this machine, with simulated probes and a simulated kitchen camera"
	@echo "make demo CAMERA=<url>    the same with your own camera (rtsp://, http://, a file or /dev/video0)"
	@echo "make demo DURATION=180    end by itself after 180 s and print a JSON summary"
	@echo "make test                 checks and tests;  make test-slow, make bench, make check: see README.md"

.venv/ready: requirements-dev.lock
	@echo "setting up .venv (first run only: about a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Brightline needs Python 3.11 or newer; say make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@echo "  installing the pinned packages ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@echo "  installing brightline ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: .venv/ready
	@exec .venv/bin/brightline-sim demo $(if $(DURATION),--duration $(DURATION)) $(if $(CAMERA),--camera '$(CAMERA)')

check: .venv/ready
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(PY) tests/structure/check_sizes.py

test: check
	@$(PY) -m pytest -m "not slow" -n 3 --dist loadfile --no-loadscope-reorder

test-slow: .venv/ready
	@$(PY) -m pytest -m slow

bench: .venv/ready
	@$(PY) tests/load/bench.py

lock: .venv/ready
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --extra edge --extra vision --extra server --extra sim --extra dev pyproject.toml -o requirements-dev.lock
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --extra edge --extra vision pyproject.toml -o requirements-box.lock

clean:
	rm -rf .venv .demo build
