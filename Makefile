# What can be done here: make run, make install, make uninstall, make test, make check, make bench, make idle, make burst, make bigfile,
# make vanished, make soak, make fuzz, make static, make msrv, make cross, make small, make dist.

PORT ?= 8000
SECONDS = 60
SEED = 1
FERNCHAT = target/release/fernchat
PYTHON = target/python/bin/python3

# Where make install puts the program, its manual page, its unit for systemd and the completions of bash, zsh and fish.
PREFIX ?= /usr/local
UNIT = $(DESTDIR)$(PREFIX)/lib/systemd/system/fernchat.service
MANUAL = $(DESTDIR)$(PREFIX)/share/man/man1/fernchat.1
BASH_COMPLETION = $(DESTDIR)$(PREFIX)/share/bash-completion/completions/fernchat
ZSH_COMPLETION = $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_fernchat
FISH_COMPLETION = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/fernchat.fish

.PHONY: run install uninstall test check bench idle burst bigfile vanished soak fuzz build \
  static msrv cross small dist

# A server on this machine and a client in this terminal; the server stops with the client.
# With piped input the client runs the conversation that it is given:  printf 'alice\nteam\nhello\n' | make run
run: build
	@$(FERNCHAT) server 127.0.0.1 $(PORT) >target/run.log 2>&1 & server=$$!; \
	trap 'kill $$server 2>/dev/null; wait $$server' EXIT; \
	until grep -q '^listening' target/run.log; do \
	  kill -0 $$server 2>/dev/null || { cat target/run.log; exit 1; }; sleep 0.1; \
	done; \
	$(FERNCHAT) client 127.0.0.1 $(PORT)

build:
	@cargo build --release --locked --quiet

install: build
	install -D -m 755 $(FERNCHAT) $(DESTDIR)$(PREFIX)/bin/fernchat
	install -D -m 644 src/extra/fernchat.1 $(MANUAL)
	install -D -m 644 src/extra/fernchat.bash $(BASH_COMPLETION)
	install -D -m 644 src/extra/fernchat.zsh $(ZSH_COMPLETION)
	install -D -m 644 src/extra/fernchat.fish $(FISH_COMPLETION)
	install -D -m 644 src/extra/fernchat.service $(UNIT)
	sed -i 's|/usr/local/bin|$(PREFIX)/bin|g' $(UNIT)

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/fernchat $(MANUAL) $(UNIT) $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION)

# All tests. Those that talk to the Python programs need Python 3 with cryptography, which is set up here.
test: $(PYTHON)
	cargo test --locked

# Made whole or not at all, so that a broken attempt is not taken for done.
$(PYTHON):
	@mkdir -p target
	@rm -rf target/python
	@{ python3 -m venv target/python && target/python/bin/pip install --quiet --disable-pip-version-check cryptography; } || { \
	  rm -rf target/python; \
	  echo "SKIPPED: the tests with the Python programs, because Python 3 with venv and cryptography cannot be had here"; \
	  test -z "$$CI"; }

# Everything that a change must pass.
check:
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	cargo clippy --locked --test bigfile --test vanished --test soak -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	$(MAKE) test
	$(MAKE) fuzz

# Beside redis-server, mosquitto without and with TLS, and the Python server: whoever cannot be had is named and left out.
bench: $(PYTHON)
	cargo bench --locked --bench fanout

# What clients cost that do nothing.
idle:
	cargo bench --locked --bench fanout -- --idle

# How long a pause the relay must make between two messages for a Python client.
burst: build $(PYTHON)
	$(PYTHON) benches/burst.py $(FERNCHAT)

# A file of 1 GiB through a server and its clients, with the peak memory of each.
bigfile:
	cargo test --locked --release --test bigfile

# Peers whose link is taken down, in a network namespace: within 90 s both ends notice. Needs root and iproute2.
vanished:
	cargo test --locked --test vanished

# Fifty clients that talk, share files, lose their connections and are killed, for SECONDS and with the random numbers of SEED.
soak:
	SECONDS=$(SECONDS) SEED=$(SEED) cargo test --locked --release --test soak

# Random bytes for everything that parses bytes from the network:  make fuzz SECONDS=600
fuzz:
	FUZZ_SECONDS=$(SECONDS) cargo test --locked --test fuzz -- --nocapture --test-threads=1

# One file that needs nothing of the system that it runs on: target/static/HOST/release/fernchat.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
static:
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target $(HOST) --target-dir target/static
	@ls -l target/static/$(HOST)/release/fernchat

# The program without its line editor, built with the oldest Rust that can.
OLDEST = 1.85
msrv:
	cargo +$(OLDEST) --version || rustup toolchain install $(OLDEST) --profile minimal
	cargo +$(OLDEST) build --locked --no-default-features --ignore-rust-version --target-dir target/msrv

# All machines that it claims to run on, built, run where that is possible, and in a table. Takes some twenty minutes.
cross:
	tests/cross.sh

# A server that may have 32 MB, or a tenth of a core, with fifty clients and a file; and what sealing costs with AES and SHA in
# software, whose tests pass, too. Needs root, for the limits.
SOFT = RUSTFLAGS="--cfg aes_force_soft" cargo
small:
	cargo test --locked --release --test small
	$(SOFT) test --locked --lib --features sha2/force-soft --target-dir target/soft
	$(SOFT) test --locked --release --test small --features sha2/force-soft --target-dir target/soft -- seal

# The source, with every package that it is built from: builds without a network, which is shown.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE = fernchat-$(VERSION)
dist:
	rm -rf target/dist
	mkdir -p target/dist/$(SOURCE)/.cargo target/dist/check
	git archive HEAD | tar -x -C target/dist/$(SOURCE)
	cd target/dist/$(SOURCE) && cargo vendor --locked >.cargo/config.toml
	XZ_OPT=-T0 tar -C target/dist --sort=name --owner=0 --group=0 --numeric-owner --mtime=@$$(git log -1 --format=%ct) -cJf target/$(SOURCE).tar.xz $(SOURCE)
	tar -C target/dist/check -xJf target/$(SOURCE).tar.xz
	cd target/dist/check/$(SOURCE) && CARGO_HOME=$(CURDIR)/target/dist/home cargo build --locked --offline --target-dir $(CURDIR)/target/dist/build
	@ls -l target/$(SOURCE).tar.xz
