# Targets of the benchmark. Arguments: make bench BENCH="--only fanout".
BENCH ?=

.PHONY: bench bench-quick bench-list profile

bench: $(VENV)/.dev ## Measure the server beside its peers (some ten minutes)
	$(BIN)/python -m bench $(BENCH)

bench-quick: $(VENV)/.dev ## Run every measure once with a small load
	$(BIN)/python -m bench --quick $(BENCH)

bench-list: $(VENV)/.dev ## List the measures and their goals
	$(BIN)/python -m bench --list

profile: $(VENV)/.dev ## Profile the server in one measure: make profile MEASURE=fanout
	$(BIN)/python -m bench --profile $(or $(MEASURE),fanout) $(BENCH)
