"""The ways to find a pattern, one file each, under the contract of `contract.py`."""
