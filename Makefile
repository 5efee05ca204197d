# The one habit file: `make check` is what CI runs, no more and no less.

.PHONY: check fmt lint docs test bench family docker

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

# A line for each network: time grows with the multiply-adds.
FAMILY ?= resnet18 resnet34 resnet50 resnet101 resnet152 wide_resnet50_2 resnext50_32x4d resnetv2_50 seresnet50
DTYPE ?= auto
family:
	cargo build --release --locked
	for model in $(FAMILY); do \
		target/release/resnet bench --model $$model --dtype $(DTYPE) --batch $(BATCH) --threads $(THREADS); \
	done

docker:
	docker build -f docker/Dockerfile -t resnet .
