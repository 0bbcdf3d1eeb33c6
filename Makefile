# make run                       builds the program, starts a server on this machine and joins it in this terminal
# make install, make uninstall   put the program, its manual page, completions and systemd unit in place, or take them away
# make test, make check          all tests; and everything that a change must pass
# make bench, idle, burst, slow  measure how fast lines reach a group, what idle clients cost, the relay's pause, and lines beside a file
# make guesses                   measures how many phrases one core can try against a closed server
# make bigfile, vanished, soak   long tests: a file of 1 GiB, peers that vanish, fifty busy clients
# make discovery                 servers that are found without an address, beside avahi
# make fuzz, make small          random bytes for every parser; a server with 32 MB of memory
# make static, msrv, cross       one static program; the oldest Rust that builds it; every supported system
# make packages, packages-test   what people without Rust install; and whether it can be installed, run and removed
# make dist                      an archive with all packages, which builds without a network

PORT ?= 8000
SECONDS = 60
SEED = 1
FERNCHAT = target/release/fernchat
PYTHON = target/python/bin/python3

# Where make install puts things. The shell takes both from its environment, so any character may stand in them. In the unit some would
# mean something else, so these are refused.
PREFIX ?= /usr/local
export PREFIX DESTDIR
UNIT = lib/systemd/system/fernchat.service
BASH_COMPLETION = share/bash-completion/completions/fernchat
ZSH_COMPLETION = share/zsh/site-functions/_fernchat
FISH_COMPLETION = share/fish/vendor_completions.d/fernchat.fish
MANUAL = share/man/man1/fernchat.1
CHECK_PREFIX = @case "$$PREFIX" in \
  *[\"\'\\%\$$\|\&]*) echo "error: a PREFIX has none of the characters \" ' \\ % \$$ | &" >&2; exit 1 ;; \
  /*) ;; *) echo "error: PREFIX is a path from the root on, such as /usr/local, and not '$$PREFIX'" >&2; exit 1 ;; esac

.PHONY: run install uninstall test check bench idle restart guesses burst slow bigfile vanished discovery soak fuzz build \
  static msrv cross small packages packages-test dist

# Starts a server on this machine and a client in this terminal. The server stops when the client does.
# The client also takes its lines from a pipe:  printf 'alice\nteam\nhello\n' | make run
run: build
	@$(FERNCHAT) server 127.0.0.1 $(PORT) >target/run.log 2>&1 & server=$$!; \
	trap 'kill $$server 2>/dev/null; wait $$server' EXIT; \
	until grep -q '^listening' target/run.log; do \
	  kill -0 $$server 2>/dev/null || { cat target/run.log; exit 1; }; sleep 0.1; \
	done; \
	echo "A server runs on 127.0.0.1:$(PORT); its log is target/run.log. From another terminal on this machine join it with:" >&2; \
	echo "  $(FERNCHAT) client 127.0.0.1 $(PORT)" >&2; \
	$(FERNCHAT) client 127.0.0.1 $(PORT)

# Without cargo, as for root under sudo, a program that has been built before will do.
build:
	@if command -v cargo >/dev/null; then \
	  test -x $(FERNCHAT) || echo "Building fernchat. The first build takes a minute or more." >&2; \
	  cargo build --release --locked; \
	elif test ! -x $(FERNCHAT); then \
	  echo "error: cargo is missing: building fernchat needs Rust 1.95 or newer, from https://rustup.rs" >&2; exit 1; \
	fi

install: build
	$(CHECK_PREFIX)
	install -D -m 755 $(FERNCHAT) "$$DESTDIR$$PREFIX/bin/fernchat"
	install -D -m 644 src/extra/fernchat.1 "$$DESTDIR$$PREFIX/$(MANUAL)"
	install -D -m 644 src/extra/fernchat.bash "$$DESTDIR$$PREFIX/$(BASH_COMPLETION)"
	install -D -m 644 src/extra/fernchat.zsh "$$DESTDIR$$PREFIX/$(ZSH_COMPLETION)"
	install -D -m 644 src/extra/fernchat.fish "$$DESTDIR$$PREFIX/$(FISH_COMPLETION)"
	install -D -m 644 src/extra/fernchat.service "$$DESTDIR$$PREFIX/$(UNIT)"
	path=$$(printf %s "$$PREFIX" | sed 's/ /\\\\x20/g'); sed -i "s|/usr/local/bin|$$path/bin|g" "$$DESTDIR$$PREFIX/$(UNIT)"

uninstall:
	$(CHECK_PREFIX)
	for file in bin/fernchat $(MANUAL) $(UNIT) $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION); do \
	  rm -f "$$DESTDIR$$PREFIX/$$file"; done

# Runs all tests. The tests with Python programs need Python 3 with the package cryptography, which is set up here.
test: $(PYTHON)
	cargo test --locked

# If the set-up fails, nothing stays, so the next make tries again.
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
	cargo clippy --locked --test bigfile --test vanished --test discovery --test soak -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	$(MAKE) test
	$(MAKE) fuzz

# Measures beside redis-server, mosquitto without and with TLS, and the Python server. What is not installed is named and left out.
bench: $(PYTHON)
	cargo bench --locked --bench fanout

# Measures the memory and the CPU time of clients that do nothing.
idle:
	cargo bench --locked --bench fanout -- --idle

# Measures how long it takes until 1,000 clients are back after the server was killed, and what that costs it.
restart:
	cargo bench --locked --bench fanout -- --restart

# Measures how many phrases of a closed server one core can try in a second.
guesses:
	cargo bench --locked --bench fanout -- --guesses

# Measures how long the relay must pause between two messages for a Python client.
burst: build $(PYTHON)
	$(PYTHON) benches/burst.py $(FERNCHAT)

# Measures how late a line is while a file passes over a slow link.
slow:
	cargo bench --locked --bench slow_link

# Sends a file of 1 GiB through a server to a client, beside scp, and measures the CPU time and the peak memory of each.
bigfile:
	cargo test --locked --release --test bigfile

# Takes the link between two ends down, in a network namespace. Both ends must notice within 90 s. A file that passes over a slow link
# when it goes down must go on where it stopped. Needs root and iproute2.
vanished:
	cargo test --locked --test vanished

# Servers are found without an address, in network namespaces and beside avahi. Needs root, iproute2, avahi-daemon and avahi-utils.
discovery:
	cargo test --locked --test discovery

# Fifty clients talk, share files, lose their connections and are killed, for SECONDS. SEED chooses the random numbers.
soak:
	SECONDS=$(SECONDS) SEED=$(SEED) cargo test --locked --release --test soak

# Feeds random bytes to everything that parses bytes from the network:  make fuzz SECONDS=600
fuzz:
	FUZZ_SECONDS=$(SECONDS) cargo test --locked --test fuzz -- --nocapture --test-threads=1

# Builds a program that needs no library of the system it runs on: target/static/HOST/release/fernchat.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
static:
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target $(HOST) --target-dir target/static
	@ls -l target/static/$(HOST)/release/fernchat

# Builds the program without its line editor, with the oldest Rust that can.
OLDEST = 1.85
msrv:
	cargo +$(OLDEST) --version || rustup toolchain install $(OLDEST) --profile minimal
	cargo +$(OLDEST) build --locked --no-default-features --ignore-rust-version --target-dir target/msrv

# Builds for every supported system, runs the tests where this machine can, and prints a table. Takes some twenty minutes.
cross:
	tests/cross.sh

# Runs a server and two clients in 32 MB of memory, then on a fifth of a core, with fifty clients in the group and a file of 200 MB.
# Then tests and measures sealing with AES and SHA in software. Needs root, for the limits.
SOFT = RUSTFLAGS="--cfg aes_force_soft" cargo
small:
	cargo test --locked --release --test small
	$(SOFT) test --locked --lib --features sha2/force-soft --target-dir target/soft
	$(SOFT) test --locked --release --test small --features sha2/force-soft --target-dir target/soft -- seal

# Makes the packages for people without Rust, from the last commit: wheels, a .deb, a .tar.gz for each architecture, a .zip for Windows.
# Needs PyPI for maturin, and gcc-mingw-w64-x86-64 for Windows. Then tries them, which takes root and as long again.
packages:
	src/extra/packages/make.sh
packages-test:
	tests/packages.sh

# Makes an archive of the source with every package it needs, unpacks it, and builds it without a network.
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
