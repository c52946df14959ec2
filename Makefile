.PHONY: check test slow format

# What CI runs, and the linters beside it.
check:
	ruff check .
	ruff format --check .
	mypy
	pytest

test:
	pytest

slow:
	pytest -m slow

format:
	ruff check --fix .
	ruff format .
