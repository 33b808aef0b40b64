# The commands of everyday work, in an environment with requirements-dev.txt.
.PHONY: check test test-all docs

check: ## style and types
	ruff check
	ruff format --check
	mypy

test: ## the fast tier: under five minutes on two cores
	python -m pytest

test-all: ## every tier, before a release: under forty minutes
	python -m pytest -m ""

docs: ## the documents as a site, in site/ (pip install -r requirements-docs.txt)
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict
