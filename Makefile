# `make demo` and `make test` do all the set-up themselves; they need make and Python 3.11 or newer with pip and venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
# For example PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu" for the smaller CPU build of torch.
PIP_FLAGS ?=
DEMO_FLAGS ?=
TEST_FLAGS ?=
STAMP := $(VENV)/.installed

# Debian's packages of the families in world/lettering/families.py, which scene text trains on; all are free.
FONTS := adf-accanthis adf-baskervald adf-berenis adf-gillius adf-ikarius adf-irianis adf-libris adf-mekanus \
    adf-oldania adf-romande adf-switzera adf-tribun adf-universalis adf-verana allerta \
    anonymous-pro arapey averia-gwf averia-sans-gwf averia-serif-gwf bebas-neue cabin cabinsketch \
    cantarell cherrybomb comfortaa courier-prime crosextra-caladea crosextra-carlito dancingscript \
    dejavu-core dejavu-extra dosis dustin ebgaramond essays1743 fantasque-sans firacode freefont-ttf \
    georgewilliams gnutypewriter goudybookletter hack humor-sans inconsolata jura karla kaushanscript \
    lato league-mono league-spartan leckerli-one liberation2 lobstertwo manrope monofur ocr-a ocr-b \
    oldstandard open-sans opendyslexic play prociono quattrocento roadgeek roboto-slab roboto-unhinted \
    sora tiresias tomsontalks tuffy urw-base35 vollkorn yanone-kaffeesatz \
    yusei-magic

# Without this, two processes that compute on the same cores slow each other down a hundredfold.
export OMP_WAIT_POLICY = passive

# Debian's packages of wallpapers that matching trains on, as in training/pairs/wallpapers.py; all are free.
WALLPAPERS := gnome-backgrounds mate-backgrounds plasma-workspace-wallpapers ukui-wallpapers \
    lomiri-wallpapers-16.04 lomiri-wallpapers-20.04

.PHONY: help demo test install check fonts wallpapers clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## Write demo/index.html with the shipped models (about three minutes on two cores)
	$(VENV)/bin/diffwright demo --out demo $(DEMO_FLAGS)

test: $(STAMP) ## Run the test suite in two processes (under ten minutes on two cores, no network)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n 2 --dist loadfile $(TEST_FLAGS)

install: $(STAMP) ## Make .venv and install the package under constraints.txt

check: $(STAMP) ## Lint, format, types, direction of imports, size of the tracked files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright --level error
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python .ci/sizes.py

fonts: ## Install the fonts that scene text trains on (Debian, as root; about 90 MB)
	apt-get update
	apt-get install -y --no-install-recommends $(addprefix fonts-,$(FONTS))

wallpapers: $(STAMP) ## Install and gather the photographs that matching trains on (Debian, as root; about 190 MB)
	apt-get update
	apt-get install -y --no-install-recommends $(WALLPAPERS)
	$(VENV)/bin/python -m diffwright.training.pairs.wallpapers .cache/photos

clean: ## Remove .venv and what the tools left behind
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, found: $$($(PYTHON) --version 2>&1). Name one with: make PYTHON=python3.12"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "venv failed; on Debian install it with: apt-get install python3-venv"; exit 1; }
	@echo "Installing diffwright and its dependencies into $(VENV) (once, a few minutes; torch is the large one) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[viz,test,check]'
	@# RapidOCR brings an OpenCV without contributed modules, which are put back over it.
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt \
		--force-reinstall --no-deps opencv-contrib-python-headless
	@touch $@
	@echo "Installed."
