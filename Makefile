# The one habit file: `make check` is what CI runs, no more and no less.

.PHONY: check fmt lint docs test bench docker

check: fmt lint docs test

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

test:
	cargo test --workspace --locked

# The forward pass alone; MODEL, BATCH and THREADS may be set.
MODEL ?= resnet50
BATCH ?= 1
THREADS ?= 2
bench:
	cargo build --release --locked
	target/release/resnet bench --model $(MODEL) --batch $(BATCH) --threads $(THREADS)
	target/release/resnet bench --model $(MODEL) --batch $(BATCH) --threads $(THREADS) --layers

docker:
	docker build -f docker/Dockerfile -t resnet .
