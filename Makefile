# The one habit file. `make check` is the habit; what touches CUDA runs `make cuda`,
# `make cuda-ptx` and `make cuda-release` too. CI runs these four, no more and no less.

.PHONY: check fmt lint docs test race miri tsan bench family docker cuda cuda-ptx cuda-release cuda-plans gpu

check: fmt lint docs test

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

test:
	cargo test --workspace --locked

# No data race: CONTRIBUTING.md says what each of these looks for. loom's part is
# an ordinary test. The others need `rustup toolchain install nightly
# --component miri --component rust-src`, and an hour or so.
race: miri tsan
	cargo test --package model --test loom --locked

# The team with several orders of its threads, then the kernels.
MIRI = CARGO_TARGET_DIR=target/miri cargo +nightly miri test --package model --lib --locked
miri:
	@if cargo +nightly miri --version > /dev/null 2>&1; then set -ex; \
		MIRIFLAGS=-Zmiri-many-seeds=0..8 $(MIRI) -- cores; \
		$(MIRI) -- cpu::tests; \
	else echo "skipped: miri, no nightly toolchain has it"; fi

# The standard library is built too: its locks are what orders the threads.
TSAN = CARGO_TARGET_DIR=target/tsan CARGO_INCREMENTAL=0 RUSTFLAGS=-Zsanitizer=thread \
	cargo +nightly test -Zbuild-std --target $$(rustc -vV | sed -n 's/^host: //p') --locked
tsan:
	@if [ -d "$$(rustc +nightly --print sysroot 2> /dev/null)/lib/rustlib/src" ]; then set -ex; \
		$(TSAN) --package model --lib --test plan; \
		$(TSAN) --package server --test http; \
	else echo "skipped: ThreadSanitizer, no nightly toolchain has rust-src"; fi

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

# The CUDA feature without a card (model/CUDA.md): lint, documentation, and the
# executor on a driver of our own. Nothing is downloaded. CUDA is a folder for
# what the build needs, kept between runs.
CUDA ?= target/cuda
WITH_CUDA = export CARGO_INCREMENTAL=0 && exports=$$(toolkit/install.sh $(CUDA)) && eval "$$exports" &&
cuda:
	$(WITH_CUDA) cargo clippy --workspace --all-targets --features cuda --locked -- -D warnings
	$(WITH_CUDA) RUSTDOCFLAGS="-D warnings" cargo doc --package model --no-deps \
		--document-private-items --features cuda --locked
	$(WITH_CUDA) cargo test --package model --features cuda --lib --test cuda --locked
	$(WITH_CUDA) LD_LIBRARY_PATH=target/tmp/fake-driver cargo run --package model --features cuda \
		--example gpu --locked -- --quick

# The kernels with NVIDIA's compiler, from PyPI (105 MB): fails where one spills
# registers, or kernels.ptx or the report of registers is stale;
# $(CUDA)/kernels.fatbin is the kernels for CAPABILITIES (all of 7.5 to 12.0 if
# unset). `make cuda-ptx UPDATE=update` writes both files.
cuda-ptx:
	toolkit/kernels.sh $(CUDA) $(UPDATE)

# The release binary with the feature, and with the kernels of `make cuda-ptx`
# if there are any: it links to no library of NVIDIA's, and starts without them.
cuda-release:
	$(WITH_CUDA) if [ -e "$$RESNET_KERNELS" ]; then feature=cubins; else feature=cuda; fi && \
		cargo test --release --package model --package server --features $$feature \
		--test cuda --locked -- cubins without_a_driver
	readelf --dynamic target/release/resnet | grep NEEDED
	! readelf --dynamic target/release/resnet | grep -E 'NEEDED.*lib(cu|nv)'

# Whether the real cuDNN, from PyPI (1.5 GB on disk), plans our graphs for five
# cards that need not be here. `make cuda-plans ARGUMENTS="f16 bf16"`.
cuda-plans:
	toolkit/plans.sh $(CUDA) $(ARGUMENTS)

# On a machine with a card: logits against the processor's, memory over many
# passes, speed; prints a table.
gpu:
	$(WITH_CUDA) cargo run --release --package model --features cuda --example gpu --locked
