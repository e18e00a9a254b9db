# Everything a person or a machine does with this repository, one word each. `make` lists the words.
#
#   DATA=./data   where `make run` keeps its store       ARGS="--retention 2d"   flags for `make run`
#   DEMO=1        `make run` with a live workload        HEADLESS=1              build without the web UI

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo mesh build package test check fuzz bench picture env fmt clean

help: ## List these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: build ## Set up, build and serve everything on ./data (DEMO=1: with a live workload)
	@scripts/run.sh serve $(ARGS)

demo: build ## Let a live e-commerce workload flow into a running server
	@scripts/run.sh demo $(ARGS)

mesh: build ## Let a shop behind real Envoys flow into a running server (ARGS="--scenario zone-failover")
	@scripts/run.sh mesh $(ARGS)

build: ## Build the release binary, web UI included
	@scripts/build.sh

package: ## Pack the release binary: tarball, Debian package, folder for docker build
	@scripts/package.sh

test: ## Set up and run every check and test; this is what CI runs
	@scripts/test.sh

check: ## Format, lints and unit tests: the quick look before a commit
	@scripts/test.sh quick

fmt: ## Format Rust and TypeScript
	@cargo fmt --all
	@scripts/ui.sh packages ui
	@cd ui && npm run --silent format

fuzz: ## Fuzz the decoders for SECONDS_EACH per target (default 60)
	@scripts/fuzz.sh $${SECONDS_EACH:-60}

bench: ## Measure a real server against its targets, at 1M and 5M spans (PROFILE=0: without a flame graph)
	@scripts/bench.sh $(ARGS)

picture: build ## Take the README's picture again: a trace of the demo in the web UI
	@scripts/picture.sh

env: ## Print the environment of the tests, as exports for eval
	@scripts/env.sh

clean: ## Remove what the build made in this clone (the cache outside it stays)
	@rm -rf target ui/dist ui/node_modules .cargo/rocksdb.toml
