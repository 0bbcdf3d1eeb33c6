#!/usr/bin/env bash
# Builds fernchat for every machine that it claims to run on, runs there what can be run from here, and prints a table. Installs what it
# needs; what cannot be had is named and skipped. Started by make cross, which takes some twenty minutes on two shared cores, and 7 GB
# below target/.
#
#   built by   rustc with the prebuilt std of each target; only Windows 7 has none, and builds its own from rust-src
#   run by     itself, qemu-user or Wine: the unit tests (with Fernet's published vectors), then tests/cross.rs beside our own program
set -uo pipefail
cd "$(dirname "$0")/.." || exit

OUT=$PWD/target/cross
LOG=$OUT/log
ROWS=$OUT/table
VENV=$OUT/python
FAILED=0
export CARGO_TARGET_DIR=$OUT
mkdir -p "$OUT"
: >"$LOG"
printf 'target\tbuilt\trun how\tbytes\n' >"$ROWS"
trap 'wineserver -k 2>/dev/null' EXIT

row() { printf '%s\t%s\t%s\t%s\n' "$@" | tee -a "$ROWS"; }

# What the log says of a step that failed.
failed() {
  FAILED=1
  row "$1" "$2" "$3" -
  tail -n 20 "$LOG" >&2
}

quietly() { echo "+ $*" >>"$LOG"; "$@" >>"$LOG" 2>&1; }

# Whether these Debian packages are there, or can be had.
packages() {
  dpkg -s "$@" >/dev/null 2>&1 && return
  { [ -n "${UPDATED:-}" ] || quietly apt-get update; } && UPDATED=1 && DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends "$@"
}

# The linker that came with a package of Python's, which knows old and foreign systems.
zig() {
  [ -x "$VENV/bin/python" ] || { quietly python3 -m venv "$VENV" && quietly "$VENV/bin/pip" install --quiet ziglang; } || return
  "$VENV/bin/python" -m ziglang version >>"$LOG" 2>&1
}

# Builds for a target, runs the unit tests there and talks with it: `try TARGET "run how" RUNNER CARGO-OPTION...`.
# RUNNER is a command that starts a program of the target, and empty where this machine can.
try() {
  local target=$1 how=$2 runner=$3; shift 3
  local variable=${target^^}; variable=CARGO_TARGET_${variable//-/_}_RUNNER
  local program
  quietly cargo build --locked --release --target "$target" "$@" || { failed "$target" no -; return; }
  program=$(find "$CARGO_TARGET_DIR/$target/release" -maxdepth 1 -name fernchat -o -maxdepth 1 -name fernchat.exe)
  if [ -n "$runner" ]; then export "$variable=$runner"; fi
  quietly timeout 900 cargo test --locked --lib --target "$target" "$@" || { failed "$target" yes "$how: unit tests FAILED"; return; }
  # shellcheck disable=SC2086 # a runner is words
  CARGO_TARGET_DIR=$OUT quietly timeout 300 env -u RUSTFLAGS cargo test --locked --test cross -- $runner "$program" || { failed "$target" yes "$how: exchange FAILED"; return; }
  row "$target${LABEL:+ ($LABEL)}" yes "$how" "$(stat -c %s "$program")"
}

# The same for a target whose prebuilt std, and whose linker, come from elsewhere.
foreign() {
  local target=$1; shift
  quietly rustup target add "$target" || { row "$target" skipped "its std cannot be had" -; return 1; }
  packages "$@" || { row "$target" skipped "no $*" -; return 1; }
}

check() {
  foreign "$1" || return
  quietly cargo check --locked --target "$1" || { failed "$1" "does not check" -; return; }
  row "$1" type-checked "not run" -
}

HOST=x86_64-unknown-linux-gnu
[ "$(rustc -vV | sed -n 's/^host: //p')" = $HOST ] || { echo "make cross runs on $HOST only" >&2; exit 1; }

LABEL=dynamic try $HOST "on this machine" ""
CARGO_TARGET_DIR=$OUT/static RUSTFLAGS="-C target-feature=+crt-static" LABEL=static try $HOST "on this machine" ""
if zig; then
  printf '#!/bin/sh\nexec "%s" -m ziglang cc -target x86_64-linux-gnu.2.17 "$@"\n' "$VENV/bin/python" >"$OUT/cc-2.17"
  chmod +x "$OUT/cc-2.17"
  CARGO_TARGET_DIR=$OUT/old CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=$OUT/cc-2.17 LABEL="for glibc 2.17" try $HOST "on this machine, with its glibc" ""
  newest=$(objdump -T "$OUT/old/$HOST/release/fernchat" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
  [ "$newest" = GLIBC_2.17 ] || { echo "the program for glibc 2.17 needs $newest" | tee -a "$LOG"; failed "$HOST (for glibc 2.17)" "needs $newest" -; }
else
  row "$HOST (for glibc 2.17)" skipped "no ziglang from PyPI" -
fi
if foreign x86_64-unknown-linux-musl; then try x86_64-unknown-linux-musl "on this machine" ""; fi
if foreign i686-unknown-linux-gnu gcc-i686-linux-gnu libc6-dev-i386-cross; then
  loader=$(i686-linux-gnu-gcc -print-file-name=ld-linux.so.2)
  CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER=i686-linux-gnu-gcc \
    try i686-unknown-linux-gnu "on this machine" "$loader --library-path $(dirname "$loader")"
fi
if foreign armv7-unknown-linux-gnueabihf gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user; then
  CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc \
    try armv7-unknown-linux-gnueabihf "under qemu-arm, without multicast" "qemu-arm -L /usr/arm-linux-gnueabihf"
fi
if foreign aarch64-unknown-linux-gnu gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user; then
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    try aarch64-unknown-linux-gnu "under qemu-aarch64, without multicast" "qemu-aarch64 -L /usr/aarch64-linux-gnu"
fi

# Wine 8 lacks the library from which newer Windows programs take random bytes: it gets one here. It is never shipped.
wine_is_ready() {
  export WINEARCH=win64 WINEDEBUG=-all WINEPREFIX=$OUT/wine
  local missing=$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll
  [ -f "$missing" ] && return
  quietly timeout 300 wineboot -i
  printf '%s\n' '#include <windows.h>' 'BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);' \
    '__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) { return SystemFunction036(p, (ULONG)n); }' >"$OUT/random.c"
  quietly x86_64-w64-mingw32-gcc -shared -O1 -s -o "$missing" "$OUT/random.c" -ladvapi32
}
if foreign x86_64-pc-windows-gnu gcc-mingw-w64-x86-64 wine wine64; then
  wine_is_ready || failed "Wine" "-" "does not start"
  try x86_64-pc-windows-gnu "under Wine" wine
  if quietly rustup component add rust-src; then
    # For a target without a prebuilt std, stable builds one if it is told to.
    RUSTC_BOOTSTRAP=1 CARGO_TARGET_X86_64_WIN7_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc \
      try x86_64-win7-windows-gnu "under Wine" wine -Z build-std=std,panic_unwind,test
  else
    row x86_64-win7-windows-gnu skipped "no rust-src" -
  fi
fi

check x86_64-apple-darwin
check aarch64-apple-darwin

echo
column -t -s $'\t' "$ROWS"
[ $FAILED = 0 ] || { echo "error: something failed; $LOG has all of it" >&2; exit 1; }
