# Run `make check` before each commit. After a change to the CUDA backend, also run
# `make cuda`, `make cuda-ptx` and `make cuda-release`. CI runs these four targets.

.PHONY: metrics deploy workflows deny youngest package-files deb wheel packages-check aarch64 parity protos clients hostile soak fairness fuzz reload page page-shots check fmt lint docs test race miri tsan bench family plot docker cuda cuda-ptx cuda-release cuda-plans gpu

check: fmt lint docs test

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

test:
	cargo test --workspace --locked

# Checks for data races; CONTRIBUTING.md explains the tools. The loom test is part of
# `make test`. Miri and ThreadSanitizer take about an hour each and need
# `rustup toolchain install nightly --component miri --component rust-src`.
race: miri tsan
	cargo test --package resnet-model --test loom --locked

# The thread pool in eight thread schedules, then the portable kernels.
MIRI = CARGO_TARGET_DIR=target/miri cargo +nightly miri test --package resnet-model --lib --locked
miri:
	@if cargo +nightly miri --version > /dev/null 2>&1; then set -ex; \
		MIRIFLAGS=-Zmiri-many-seeds=0..8 $(MIRI) -- threads; \
		$(MIRI) -- cpu::tests; \
	else echo "skipped: Miri is not installed for the nightly toolchain"; fi

# The standard library is instrumented too, because its locks synchronize the threads.
TSAN = CARGO_TARGET_DIR=target/tsan CARGO_INCREMENTAL=0 RUSTFLAGS=-Zsanitizer=thread \
	cargo +nightly test -Zbuild-std --target $$(rustc -vV | sed -n 's/^host: //p') --locked
tsan:
	@if [ -d "$$(rustc +nightly --print sysroot 2> /dev/null)/lib/rustlib/src" ]; then set -ex; \
		$(TSAN) --package resnet-model --lib --test plan; \
		$(TSAN) --package resnet-server --test http; \
	else echo "skipped: ThreadSanitizer needs rust-src of the nightly toolchain"; fi

# Models are replaced, broken, unloaded and evicted under load, for minutes.
reload:
	RELOAD_SECONDS=60 RELOAD_CYCLES=50 RELOAD_MODEL=resnet50 cargo test --release \
		--package resnet-server --test reload --locked -- --nocapture --test-threads 1

# Each fuzz target for a minute; fuzz/README.md explains them. `skipped` without cargo-fuzz
# or a nightly toolchain. One target for an hour: fuzz/run.sh 3600 jpeg.
fuzz:
	fuzz/run.sh 60

# The logits of every ResNet-like network of timm, torchvision and transformers against
# those of `resnet`: make parity NAMES="'resnetaa*' resnext50_32x4d" PARITY=--speed.
# Installs torch from PyPI into target/parity (3 GB), once.
parity:
	cargo build --release --package resnet-model --example parity --locked
	model/tests/parity/run.sh target/parity target/release/examples/parity $(PARITY) $(NAMES)

# The HTML pages in Chromium: what a visitor does, by mouse and by keyboard, and axe's
# rules of accessibility. Prints `skipped` without chromium, node or npm.
page:
	cargo build --release --locked
	server/tests/page/run.sh

# The screenshots of the README.
page-shots:
	cargo build --release --locked
	server/tests/page/run.sh shots.mjs

# The messages of gRPC from server/proto/*.proto; no protoc is needed. `make protos
# CHECK=--check` says whether the committed files are current.
protos:
	cargo run --quiet --manifest-path server/proto/generate/Cargo.toml --target-dir target/protos -- $(CHECK)

# The clients of other servers, from PyPI, against the release binary. Prints `skipped`
# where PyPI cannot be reached.
clients:
	cargo build --release --locked
	server/tests/clients/run.sh

# The Helm chart and the manifests of deploy/, without a cluster. Prints `skipped` where
# PyPI cannot be reached.
deploy:
	deploy/check/run.sh

# Clients and files that try to take the server's memory, time or connections, against
# the release binary within a memory limit. Needs only Python 3 and Linux.
hostile:
	cargo build --release --locked
	server/tests/hostile/run.sh $(TESTS)

# Good, bad, aborted, slow and hostile clients at 70 % of the capacity, half an hour. Fails
# if an answer differs, if memory grows, or if descriptors or threads are left behind.
SOAK_SECONDS ?= 1800
soak:
	cargo build --release --locked
	RESNET=$(CURDIR)/target/release/resnet SOAK_SECONDS=$(SOAK_SECONDS) python3 server/tests/hostile/soak.py

# How long a client with single images waits beside clients with many.
fairness:
	cargo build --release --locked
	RESNET=$(CURDIR)/target/release/resnet python3 server/tests/hostile/fairness.py

# Speed of the forward pass: make bench MODEL=resnet18 BATCH=16 THREADS=8
MODEL ?= resnet50
BATCH ?= 1
THREADS ?= 2
bench:
	cargo build --release --locked
	target/release/resnet bench --model $(MODEL) --batch $(BATCH) --threads $(THREADS)
	target/release/resnet bench --model $(MODEL) --batch $(BATCH) --threads $(THREADS) --layers

# Speed of several architectures, one line each: make family DTYPE=f32
FAMILY ?= resnet18 resnet34 resnet50 resnet101 resnet152 wide_resnet50_2 resnext50_32x4d resnetv2_50 seresnet50
DTYPE ?= auto
family:
	cargo build --release --locked
	for model in $(FAMILY); do \
		target/release/resnet bench --model $$model --dtype $(DTYPE) --batch $(BATCH) --threads $(THREADS); \
	done

# The plot and the speed table of the README, from bench/results.json.
plot:
	python3 bench/plot.py

# The workflows of GitHub: valid, and with the least rights. Prints `skipped` where PyPI
# cannot be reached.
workflows:
	.github/check.sh

# Licences, sources and duplicates of the dependencies (deny.toml). Known vulnerabilities
# need a database that is downloaded: `cargo deny check advisories`.
deny:
	@if cargo deny --version > /dev/null 2>&1; then \
		cargo deny --locked --offline check licenses bans sources; \
	else echo "skipped: deny: cargo-deny is not installed; cargo install --locked cargo-deny"; fi

# The dependencies that were published first within the last two years.
youngest:
	python3 packaging/youngest.py

# What packages contain besides the binary: manual pages and completions.
package-files:
	cargo build --release --locked
	packaging/generate.sh

# The Debian package, in target/debian. Needs `cargo install --locked cargo-deb`.
deb: package-files
	cargo deb --no-build --no-strip --package resnet-server

# A Python wheel with the binary, in target/package.
wheel:
	cargo build --release --locked
	packaging/wheel.sh

# Makes the packages from the release binary, installs each and runs it. Installs the
# Debian package on this machine if it is run as root, and removes it.
packages-check:
	packaging/check.sh

# The tests of the kernels, and the binary, for aarch64 on an x86-64 machine under qemu;
# packaging/aarch64.sh says what it needs. CI does not run it.
aarch64:
	packaging/aarch64.sh

# The container image.
docker:
	docker build -f docker/Dockerfile -t resnet .

# The CUDA feature without a GPU (model/CUDA.md): lints, documentation, and the
# executor on a simulated driver. Downloads nothing. CUDA is the folder of the
# generated build files; it is kept between runs.
CUDA ?= target/cuda
CUDA_WORKSPACE = --workspace --features cuda --locked
# No code of the server's library depends on the feature. Its test of the binary runs in
# `cuda-release`.
CUDA_MODEL = --package resnet-model --features cuda --locked
WITH_CUDA = export CARGO_INCREMENTAL=0 && exports=$$(toolkit/install.sh $(CUDA)) && eval "$$exports" &&
# Clippy also reads the code of object stores, which releases have too.
cuda:
	$(WITH_CUDA) cargo clippy $(CUDA_WORKSPACE) --features resnet-server/stores --all-targets -- -D warnings
	$(WITH_CUDA) RUSTDOCFLAGS="-D warnings" cargo doc $(CUDA_WORKSPACE) --no-deps --document-private-items
	$(WITH_CUDA) cargo test $(CUDA_MODEL) --lib --test cuda
	$(WITH_CUDA) cargo build $(CUDA_MODEL) --example gpu
	LD_LIBRARY_PATH=$${CARGO_TARGET_DIR:-target}/tmp/fake-driver $${CARGO_TARGET_DIR:-target}/debug/examples/gpu --quick

# Compiles the kernels with NVIDIA's compiler from PyPI (105 MB). Fails if a kernel
# spills registers, or if kernels.ptx or registers.txt is not up to date;
# `make cuda-ptx UPDATE=update` writes both. The output, $(CUDA)/kernels.fatbin,
# is for the compute capabilities in CAPABILITIES (default: all from 7.5 to 12.0).
cuda-ptx:
	toolkit/kernels.sh $(CUDA) $(UPDATE)

# Builds the release binary with the CUDA feature, and with the compiled kernels of
# `make cuda-ptx` if they exist. Checks that it links to no NVIDIA library and
# starts without them.
cuda-release:
	$(WITH_CUDA) if [ -e "$$RESNET_KERNELS" ]; then feature=cubins; else feature=cuda; fi && \
		cargo test --release --package resnet-model --package resnet-server --features $$feature,resnet-server/stores \
		--test cuda --locked -- cubins without_a_driver
	readelf --dynamic target/release/resnet | grep NEEDED
	! readelf --dynamic target/release/resnet | grep -E 'NEEDED.*lib(cu|nv)'

# Checks that the real cuDNN, from PyPI (1.5 GB on disk), can plan our graphs for five
# GPU models. Needs no GPU. `make cuda-plans ARGUMENTS="f16 bf16"`.
cuda-plans:
	toolkit/plans.sh $(CUDA) $(ARGUMENTS)

# On a machine with a GPU: compares the logits with the CPU's, checks the memory over
# many passes, and prints a table with the speed.
gpu:
	$(WITH_CUDA) cargo run --release --package resnet-model --features cuda --example gpu --locked

# docs/metrics.md, from the code. A test checks that it is current.
metrics:
	UPDATE=1 cargo test --workspace --lib --locked reference_of_the_metrics
