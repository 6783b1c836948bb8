# Two commands: `make demo` and `make test`. Each does its own set-up, on Debian, Ubuntu or macOS.
.PHONY: demo test check site installed changelog bench docs-figures clean
.DELETE_ON_ERROR:

PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
SHELL := bash
# Of pip's hundreds of lines those that tell a person how far it is; its errors come through whole.
PROGRESS := { grep --line-buffered -oE 'Downloading .*[MG]B|^Installing collected packages|^Successfully installed' || true; }
# A window needs a real GLX; on macOS there is always a screen. Tests start their own (pytest-xvfb).
DISPLAY_RUN := $(if $(filter Darwin,$(shell uname)),,xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX")

demo: .venv/.demo
	@scripts/system-libraries.sh window || true
	$(BIN)/napari-sslmaps demo

test: .venv/.dev
	@scripts/system-libraries.sh tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

check: .venv/.dev
	@scripts/system-libraries.sh tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate src/napari_sslmaps/napari.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/python scripts/check_wheel.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(DISPLAY_RUN) $(BIN)/python scripts/run_docs.py README.md ARCHITECTURE.md docs
	for example in examples/*.py; do $(BIN)/python $$example || exit 1; done

site: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

installed: .venv/bin/python
	$(BIN)/python scripts/try_installed.py --keep dist

changelog: .venv/.dev
	$(BIN)/towncrier build --yes --version "$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)"

bench: .venv/.dev
	$(DISPLAY_RUN) $(BIN)/python benchmarks/run.py

docs-figures: .venv/.dev
	@scripts/system-libraries.sh tests
	$(DISPLAY_RUN) $(BIN)/python docs/make_figures.py

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Expected Python 3.11, 3.12 or 3.13 with venv; found none. Install it, on Debian or Ubuntu: apt-get install python3 python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/.demo: .venv/bin/python pyproject.toml
	@echo "Installing into .venv: some 6 GB, most of it PyTorch; this takes minutes."
	@set -o pipefail; $(BIN)/python -m pip install --progress-bar off --editable '.[pyqt6]' | $(PROGRESS)
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml
	@echo "Installing into .venv: some 6 GB, most of it PyTorch; this takes minutes."
	@set -o pipefail; $(BIN)/python -m pip install --progress-bar off --editable '.[dev]' | $(PROGRESS)
	@touch $@ .venv/.demo

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
