"""Width methods: algorithms that turn data and a network into channel scores.

A method is a file of its own; what it hands on are scores, never weights. `registry.py` lists them.
"""
