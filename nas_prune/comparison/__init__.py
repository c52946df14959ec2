"""Is it structure or weights: arms × seeds, paired statistics, one table."""
