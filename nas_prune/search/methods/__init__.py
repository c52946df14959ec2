"""Width methods: algorithms that turn data and a network into channel scores.

Each method has its own file; it returns scores, never weights. `registry.py` lists them.
"""
