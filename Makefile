# make serve | test | demo | check: everything else is done by these.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test test-postgresql demo bench check format schema readme collection graphiql lock clean

serve: .venv/.runtime graphiql
	@./patchbay serve

# Two at a time; what loads the machine takes turns. One alone: .venv/bin/python -m pytest tests/gateway/test_keys.py
test: .venv/.dev graphiql
	@$(BIN)/python -m pytest -n 2

# The part that leans most on the database, on PostgreSQL and Redis of its own.
test-postgresql: .venv/.dev
	@$(BIN)/python -m tests.on_postgresql -n 2

demo: .venv/.dev
	@$(BIN)/python -m gateway.demo

# Side by side with others; BENCH takes options, as in make bench BENCH="drain --messages 5000".
bench: .venv/.dev
	@$(BIN)/python -m bench $(BENCH)

check: .venv/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# The API's own description, as clients and reviewers read it.
schema: .venv/.runtime
	@$(BIN)/python -c "from schema.roots import sdl; print(sdl(), end='')" > schema/schema.graphql

# The tables and operations in README.md.
readme: .venv/.dev
	@$(BIN)/python -m tests.readme

# The examples as a collection for Postman, Insomnia and others.
collection: .venv/.dev
	@$(BIN)/python -m tests.collection

.venv/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Patchbay needs Python 3.11 or newer; say which with make PYTHON=python3.x')"
	@$(PYTHON) -m venv .venv
	@ln -sf ../../patchbay .venv/bin/patchbay

.venv/.runtime: .venv/bin/python requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# GraphiQL's files, from npm and kept by ourselves; the copied lock file says which. Without them /graphql says what to do.
VENDOR := gateway/static/vendor
ASSETS := graphiql/graphiql.min.js graphiql/graphiql.min.css graphql-ws/umd/graphql-ws.min.js \
	react/umd/react.production.min.js react-dom/umd/react-dom.production.min.js
graphiql: $(VENDOR)/package-lock.json
	@:

$(VENDOR)/package-lock.json: package-lock.json
	@if ! command -v npm > /dev/null; then \
		echo "GraphiQL is left out: it takes Node.js with npm to fetch it. Install them and run make graphiql."; \
	elif ! npm ci --silent --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-timeout=30000; then \
		echo "GraphiQL is left out: npm could not fetch it. Run make graphiql when the npm registry can be reached."; \
	else \
		rm -rf $(VENDOR) && mkdir -p $(VENDOR) && cp $(addprefix node_modules/,$(ASSETS)) $(VENDOR) && \
		rm -rf node_modules && cp package-lock.json $@; \
	fi

# Compiled by hand when a dependency in pyproject.toml changes.
LOCK := $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock: .venv/.dev
	@$(LOCK) -o requirements.lock pyproject.toml
	@$(LOCK) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean:
	@rm -rf .venv node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
