# What people and CI type. Each target installs what it needs first.

# All programs, and what plays with them on Kubernetes.
BUILD_ALL = cargo build -p tidemark-worker -p tidemark-operator -p tidemark-kubectl -p tidemark-e2e

# Where the programs of Kubernetes are, and helm; they are built once a machine.
WITH_HELM = KUBERNETES_BIN="$$(target/debug/tidemark-kubernetes --programs)"

.PHONY: help setup run run-kubernetes test e2e bench cluster replay vectors generate lint deny size clean

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## Install what building and testing need
	@tests/setup.sh

run: setup ## Stream a live, failing cluster to Kafka and files, under the judge (RUN="--help" for options)
	cargo build -p tidemark-worker -p tidemark-e2e
	target/debug/tidemark-demo --worker target/debug/tidemark-worker $(RUN)

run-kubernetes: setup ## The same on a real Kubernetes, by the operator (needs root; RUN="--help" for options)
	$(BUILD_ALL)
	target/debug/tidemark-e2e --demo $(RUN)

test: setup lint ## Checks, unit tests, replays, real Kafka, S3 and API server, end to end without Kubernetes, the chart
	cargo build -p tidemark-worker -p tidemark-harness
	cargo test --workspace --no-fail-fast
	$(WITH_HELM) tests/delivery/run.sh

e2e: setup ## Operator, workers and all servers on a real Kubernetes, disturbed and judged (needs root; E2E="--help" for options)
	$(BUILD_ALL)
	target/debug/tidemark-e2e $(E2E)

bench: setup ## Speed and size as ratios to ceilings measured in the same run (BENCH="--help" for options)
	cargo build --release -p tidemark-worker -p tidemark-bench
	target/release/tidemark-bench --worker target/release/tidemark-worker $(BENCH)

cluster: setup ## A real Kubernetes with one node for people, until Ctrl-C (needs root; CLUSTER="--control-plane" for the API alone)
	cargo build -q -p tidemark-harness
	target/debug/tidemark-kubernetes $(CLUSTER)

replay: setup ## Replay recordings of a real TiKV through the real puller: make replay DIR=folder
	cargo run -q -p tidemark-replay -- recordings $(or $(DIR),tests/data/recordings)

vectors: setup ## Decode golden vectors of TiDB's encodings: make vectors DIR=folder
	cargo run -q -p tidemark-replay -- vectors $(or $(DIR),tests/data/vectors)

generate: ## Write the generated files anew
	cargo build -q -p tidemark-crds --bin crdgen
	target/debug/crdgen crd > crds/changefeeds.yaml
	target/debug/crdgen reference > docs/changefeed.md
	cargo build -q -p tidemark-harness
	$(WITH_HELM) deploy/render.sh

lint: ## Format, lints, file sizes
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	tests/size.sh

deny: ## Licences, advisories and bans of dependencies (installs cargo-deny)
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check

size: ## Lines per file
	@tests/size.sh --print

clean: ## Remove what was built
	cargo clean
