# Targets of the benchmark. Arguments: make bench BENCH="--only fanout".
BENCH ?=

.PHONY: bench bench-quick bench-list profile

bench: $(BIN)/ntfyish ## Measure the server beside its peers (some ten minutes)
	$(BIN)/python -m bench $(BENCH)

bench-quick: $(BIN)/ntfyish ## Run every measure once with a small load
	$(BIN)/python -m bench --quick $(BENCH)

bench-list: $(BIN)/ntfyish ## List the measures and their goals
	$(BIN)/python -m bench --list

profile: $(BIN)/ntfyish ## Profile the server in one measure: make profile MEASURE=fanout
	$(BIN)/python -m bench --profile $(or $(MEASURE),fanout) $(BENCH)
