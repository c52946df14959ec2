"""Which single weights stay: patterns as structure, found by pruning and written without a weight."""
