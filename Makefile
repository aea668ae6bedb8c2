PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
CODE := hnas_kit tests performance notebooks docs

# Two files at a time, each process with one thread, in the order of tests/conftest.py. Notebooks are named, or
# pytest would collect executed copies from outputs/ too.
define run_tests
OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -p no:cacheprovider \
    --nbval-lax --nbval-current-env tests notebooks/0*.ipynb
endef

.DEFAULT_GOAL := help
.PHONY: help run test test-gpu lab notebooks site lint ffcv clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(INSTALLED) ## all notebooks with the quick parameters, on embedded data, into outputs/
	$(BIN)/hnas run quick

test: export HNAS_DEVICE := cpu
test: $(INSTALLED) ## unit tests, and the notebooks against their stored outputs, on the CPU
	$(run_tests)

test-gpu: export HNAS_DEVICE := cuda
test-gpu: $(INSTALLED) ## the same on the GPU
	@$(BIN)/python -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "no CUDA device here")'
	$(run_tests)

lab: $(INSTALLED) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

notebooks: $(INSTALLED) ## run the quick profile and store its outputs in the notebooks, and the references
	$(BIN)/python tests/reference/record.py
	$(BIN)/ruff format notebooks

site: $(INSTALLED) .venv/.site ## the documentation, into build/site: offline, every warning is an error
	rm -rf build/site
	$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs -d build/doctrees . build/site
	$(BIN)/python docs/links.py build/site

lint: $(INSTALLED) ## check format and style, of the notebooks too
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

ffcv: $(INSTALLED) ## build the reader of FFCV files: libopencv-dev libturbojpeg0-dev pkg-config g++ come first
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt wheel
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation ffcv==1.0.2

clean: ## remove caches and all of outputs/
	find outputs -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .hypothesis build *.egg-info

distclean: clean ## remove .venv as well
	rm -rf .venv

# The stamp comes last, so an install that broke off is taken up again by the next make.
$(INSTALLED): pyproject.toml constraints.txt
	$(if $(shell $(PYTHON) -c 'import sys; print("new enough" * (sys.version_info >= (3, 11)))'),,\
	    $(error $(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=python3.11))
	@echo "Installing PyTorch, JupyterLab and the rest into .venv: 2 to 5 minutes, about 6 GB on disk (once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

.venv/.site: $(INSTALLED)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[site]'
	@touch $@
