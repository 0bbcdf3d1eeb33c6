#!/usr/bin/env bash
# Makes the packages for people without Rust, in target/packages. Started by make packages. What cannot be made here is named and skipped;
# in CI that is a failure.
#
#   fernchat-VERSION-ARCH-linux.tar.gz   the program for any Linux, with the manual page, completions and the unit
#   fernchat-VERSION-x86_64-windows.zip  the program for Windows
#   fernchat-VERSION-...whl              the same programs for pip
#   fernchat_VERSION_ARCH.deb            for Debian, and what comes from it
#   SHA256SUMS                           their checksums
#
# It is all made from the last commit. Two runs give the same bytes: times are those of the commit, and paths are not in the programs.
set -euo pipefail
cd "$(dirname "$0")/../../.."

OUT=$PWD/${1:-target/packages}
SOURCE=$OUT/source
EXTRA=$SOURCE/src/extra
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C CARGO_TARGET_DIR=$OUT/build
export RUSTFLAGS="--remap-path-prefix=$SOURCE=/fernchat --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
umask 022

skip() {
  echo "SKIPPED: $*" >&2
  test -z "${CI:-}"
}

rm -rf "$SOURCE" "$OUT/stage"
rm -f "$OUT"/*.whl "$OUT"/*.deb "$OUT"/*.tar.gz "$OUT"/*.zip "$OUT/SHA256SUMS"
mkdir -p "$SOURCE" "$OUT/stage"
git archive HEAD | tar -x -C "$SOURCE"
cp "$EXTRA/packages/pyproject.toml" "$SOURCE"

[ -x "$OUT/python/bin/maturin" ] || {
  python3 -m venv "$OUT/python" && "$OUT/python/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
} || skip "the wheels, because maturin cannot be had from PyPI"

has_std() { rustup target add "$1" >/dev/null 2>&1 || { skip "$1, because its standard library cannot be had"; return 1; }; }

# Builds for a target, writes its licences, and makes its wheel: `program TARGET MATURIN-OPTION...`. Without options there is no wheel.
program() {
  local target=$1; shift
  cd "$SOURCE"
  cargo build --locked --release --target "$target"
  python3 src/extra/packages/licences.py "$target" >THIRD-PARTY.txt
  if [ $# -gt 0 ] && [ -x "$OUT/python/bin/maturin" ]; then
    "$OUT/python/bin/maturin" build --locked --release --target "$target" --out "$OUT" "$@"
  fi
}

# What lies beside the program in an archive.
stage() {
  local folder=$OUT/stage/$1
  mkdir -p "$folder"
  install -m 644 "$SOURCE"/{README.md,LICENSE,THIRD-PARTY.txt} "$folder"
  echo "$folder"
}

same_times() { find "$1" -exec touch --no-dereference --date=@"$SOURCE_DATE_EPOCH" {} +; }

for architecture in x86_64 aarch64; do
  target=$architecture-unknown-linux-musl
  # The linker of Rust knows every architecture, and brings what a static program needs.
  export "CARGO_TARGET_${architecture^^}_UNKNOWN_LINUX_MUSL_LINKER=rust-lld"
  # The program is static, so it runs where either of the two kinds of C libraries is.
  has_std $target || continue
  program $target --compatibility manylinux2014 musllinux_1_1
  name=fernchat-$VERSION-$architecture-linux
  folder=$(stage "$name")
  install -m 755 "$CARGO_TARGET_DIR/$target/release/fernchat" "$folder"
  install -m 644 "$EXTRA"/fernchat.{1,bash,zsh,fish,service} "$folder"
  same_times "$folder"
  tar -C "$OUT/stage" --sort=name --owner=0 --group=0 --numeric-owner -c "$name" | gzip -9n >"$OUT/$name.tar.gz"
done

if ! command -v x86_64-w64-mingw32-gcc >/dev/null; then
  skip "the wheel and the zip for Windows, because there is no x86_64-w64-mingw32-gcc: apt install gcc-mingw-w64-x86-64"
elif has_std x86_64-pc-windows-gnu; then
  # Without this the linker writes the time of the build into the program.
  RUSTFLAGS="$RUSTFLAGS -C link-arg=-Wl,--no-insert-timestamp" program x86_64-pc-windows-gnu --compatibility pypi
  name=fernchat-$VERSION-x86_64-windows
  folder=$(stage "$name")
  install -m 755 "$CARGO_TARGET_DIR/x86_64-pc-windows-gnu/release/fernchat.exe" "$folder"
  same_times "$folder"
  (cd "$OUT/stage" && python3 -c 'import shutil, sys; shutil.make_archive(sys.argv[1], "zip", base_dir=sys.argv[2])' "$OUT/$name" "$name")
fi

if ! command -v dpkg-deb >/dev/null; then
  skip "the .deb, because there is no dpkg-deb"
else
  target=$(rustc -vV | sed -n 's/^host: //p')
  program "$target"
  root=$OUT/stage/deb
  architecture=$(dpkg --print-architecture)
  make --silent -C "$SOURCE" install DESTDIR="$root" PREFIX=/usr FERNCHAT="$CARGO_TARGET_DIR/$target/release/fernchat" --old-file build
  # Where Debian has these.
  mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
  mkdir -p "$root/lib" && mv "$root/usr/lib/systemd" "$root/lib" && rmdir "$root/usr/lib"
  gzip -9n "$root/usr/share/man/man1/fernchat.1"
  doc=$root/usr/share/doc/fernchat
  mkdir -p "$doc" "$root/DEBIAN"
  {
    echo "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
    printf '\nFiles: *\nCopyright: The fernchat authors\nLicense: MIT\n'
    sed '/^$/s/^/./; s/^/ /' "$SOURCE/LICENSE"
    printf '\nComment:\n The licences of what is linked are in THIRD-PARTY.txt.gz.\n'
  } >"$doc/copyright"
  gzip -9nc "$SOURCE/THIRD-PARTY.txt" >"$doc/THIRD-PARTY.txt.gz"
  printf 'fernchat (%s) unstable; urgency=medium\n\n  * See the page "changes" of the guide.\n\n -- The fernchat authors <nobody@fernchat.invalid>  %s\n' \
    "$VERSION" "$(date -R -d @"$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
  newest=$(objdump -T "$root/usr/bin/fernchat" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
  size=$(du -k --apparent-size -s "$root" | cut -f 1)
  sed "s/VERSION/$VERSION/; s/ARCHITECTURE/$architecture/; s/DEPENDS/libc6 (>= ${newest#GLIBC_}), libgcc-s1/; s/SIZE/$size/" \
    "$EXTRA/packages/control" >"$root/DEBIAN/control"
  install -m 755 "$EXTRA"/packages/{postinst,prerm,postrm} "$root/DEBIAN"
  (cd "$root" && find usr lib -type f -exec md5sum {} + | sort -k 2 >DEBIAN/md5sums)
  same_times "$root"
  dpkg-deb --root-owner-group -Zxz --build "$root" "$OUT/fernchat_${VERSION}_$architecture.deb" >/dev/null
fi

cd "$OUT"
shopt -s nullglob
sha256sum -- *.whl *.deb *.tar.gz *.zip | tee SHA256SUMS
