# The commands of everyday work, in an environment with requirements-dev.txt.
.PHONY: check test test-all

check: ## style and types
	ruff check
	ruff format --check
	mypy

test: ## the fast tier: under five minutes on two cores
	python -m pytest

test-all: ## every tier, before a release: under forty minutes
	python -m pytest -m ""
