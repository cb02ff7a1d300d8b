# Targets of the benchmark. PYTHON may be set by the Makefile that includes this. Arguments: make bench BENCH="--only fanout".
PYTHON ?= python
BENCH ?=

.PHONY: bench bench-quick bench-list profile

bench: ## Measure the server beside its peers (some ten minutes)
	$(PYTHON) -m bench $(BENCH)

bench-quick: ## Run every measure once with a small load
	$(PYTHON) -m bench --quick $(BENCH)

bench-list: ## List the measures and their goals
	$(PYTHON) -m bench --list

profile: ## Profile the server in one measure: make profile MEASURE=fanout
	$(PYTHON) -m bench --profile $(or $(MEASURE),fanout) $(BENCH)
