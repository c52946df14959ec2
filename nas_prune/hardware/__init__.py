"""Targets: which widths a device wants, and what widths cost on it: latency, memory, size."""
