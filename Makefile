# Two commands set everything up from nothing: make demo, make test.
PYTHON ?= python3
PIP = -m pip install --quiet --disable-pip-version-check
# TensorFlow 2.17 has wheels up to Python 3.12; above that the edge package is installed and tested alone.
EXTRAS := $(shell $(PYTHON) -c "import sys; print('train,web,cluster,dev' if sys.version_info < (3, 13) else 'web,cluster,dev')")

.PHONY: demo test check fuzz pi verify clients cluster phone samples clean

demo: .venv-demo/ready  ## install the light edge package and scan the samples with the shipped model
	.venv-demo/bin/facetell scan samples --format table
	@mkdir -p build && rm -f build/demo.jpg
	@.venv-demo/bin/facetell scan samples/group.jpg --annotate build/demo.jpg --quiet > build/demo.csv
	@echo "build/demo.jpg shows the group with every face boxed."

test: .venv/ready  ## install everything and pass the tests
	@test "$(EXTRAS)" != web,cluster,dev || echo "No TensorFlow for this Python: the tests of training and export are skipped."
	.venv/bin/python -m pytest -n 3 --dist loadfile

check: .venv/ready  ## style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/basedpyright --pythonpath .venv/bin/python

FUZZ_S ?= 300
fuzz: .venv/ready  ## try FUZZ_S seconds of inputs that nobody has thought of on each of what reads files of strangers
	.venv/bin/python $(PIP) -e ".[fuzz]"
	@for target in picture bundle zip results manifest; do echo "$$target"; \
	    .venv/bin/python -m tests.fuzz $$target build/fuzz/$$target -artifact_prefix=build/fuzz/$$target- \
	    -max_total_time=$(FUZZ_S) -rss_limit_mb=512 -timeout=5 -verbosity=0 || exit 1; done

# The emulated Raspberry Pis need root on Debian, mmdebstrap, and half an hour.
pi: .venv/ready  ## pass the tests of the edge on emulated Raspberry Pis, with tflite-runtime and with ai-edge-litert
	PYTHON=.venv/bin/python tools/arm64.sh -t bookworm $(PI_TEST)
	PYTHON=.venv/bin/python tools/arm64.sh -t trixie $(PI_TEST)
PI_TEST = python3 -m pytest -p no:cacheprovider -n auto --maxprocesses 4 --dist loadfile tests/edge tests/tools/test_doctor.py

# RUN holds what the model was made from: docs/default-model.md. Its files score on the emulated Raspberry Pis as they do
# here (make clients).
RUN ?= runs/default
ARM64 = tools/arm64.sh -b $(abspath $(RUN))/crops
verify: .venv/ready  ## measure the shipped model against its Keras model on every runtime, on x86 and on arm64
	.venv/bin/facetell verify models/default $(RUN)/crops --run $(RUN) --strict
	.venv/bin/facetell verify models/default $(RUN)/crops --run $(RUN) --strict --precision int8 \
	    -o $(RUN)/verification-arm64 --python "$(ARM64) bookworm python3" --python "$(ARM64) trixie python3"

# What is not installed is skipped, and said. Debian: apt install chromium nodejs npm
clients: .venv/ready  ## run the exported files where phones and browsers would
	.venv/bin/python -m pytest -rs tests/clients

cluster: .venv/ready  ## scan on a Ray cluster of this machine and, where that is allowed (root), of two nodes
	FACETELL_CLUSTER=1 .venv/bin/python -m pytest -rs tests/tools/cluster

# npm and a network: what comes out ships, so that nobody else needs them.
phone:  ## build the page that facetell phone writes
	cd tools/phone/app && npm ci --ignore-scripts --no-audit --no-fund && npm run build

samples: .venv/ready  ## make the pictures in samples/, the README's and docs/golden.json again
	.venv/bin/python -m facetell.tools.make_samples samples
	rm -f docs/verdicts.jpg && .venv/bin/facetell scan samples/group.jpg --annotate docs/verdicts.jpg --format table
	.venv/bin/python -m facetell.tools.make_golden samples models/default docs/golden.json

clean:
	rm -rf .venv .venv-demo build *.egg-info

.venv-demo/ready: setup.cfg pyproject.toml $(wildcard edge/* tools/*.py models/default/*)
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python $(PIP) .
	touch $@

.venv/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) -e ".[$(EXTRAS)]"
	touch $@
