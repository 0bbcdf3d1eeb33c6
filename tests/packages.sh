#!/usr/bin/env bash
# Installs each package of target/packages in a clean place, runs it there, and removes it. Then makes all packages once more, in another
# folder, and compares the bytes. Started by make packages-test, as root. What cannot be tried here is named and skipped; in CI that is a
# failure. TWICE=no leaves the second making out.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=$PWD/target/packages
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
PLACE=$(mktemp -d)
trap 'rm -rf "$PLACE"' EXIT
N_PROVEN=0

skip() {
  echo "SKIPPED: $*" >&2
  test -z "${CI:-}"
}
proven() {
  N_PROVEN=$((N_PROVEN + 1))
  echo "proven: $*"
}
has() { command -v "$1" >/dev/null; }
fail() {
  echo "error: $*" >&2
  exit 1
}

# Lets a program serve itself: `talks COMMAND...`.
talks() {
  local log=$PLACE/log port server
  # Nothing of the server before is left in it, also if the next line takes its time.
  : >"$log"
  "$@" server 127.0.0.1 0 >"$log" 2>"$log.errors" &
  server=$!
  for _ in $(seq 300); do
    port=$(sed -n 's/^listening on 127.0.0.1:\([0-9]*\),.*/\1/p' "$log")
    [ -z "$port" ] || break
    kill -0 $server || fail "the server has ended: $(cat "$log.errors")"
    sleep 0.1
  done
  [ -n "$port" ] || fail "the server does not listen: $(cat "$log" "$log.errors")"
  XDG_CONFIG_HOME=$PLACE/config "$@" client 127.0.0.1 "$port" --name alice --group team <<<'/members' | tr -d '\r' | grep -x 'members: alice' >/dev/null
  kill -INT $server
  wait $server || true
}

(cd "$OUT" && sha256sum --quiet -c SHA256SUMS) && proven "SHA256SUMS holds for all"

# The wheel, in an environment of its own, and without a network.
wheel=$(echo "$OUT"/fernchat-"$VERSION"-*x86_64.whl)
python3 -m venv "$PLACE/venv"
"$PLACE/venv/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
[ "$("$PLACE/venv/bin/fernchat" --version)" = "fernchat $VERSION" ]
talks "$PLACE/venv/bin/fernchat"
"$PLACE/venv/bin/pip" show --files fernchat | grep "licenses/THIRD-PARTY.txt" >/dev/null
"$PLACE/venv/bin/pip" uninstall --quiet --yes fernchat
[ ! -e "$PLACE/venv/bin/fernchat" ]
proven "${wheel##*/}: installed, run and removed"

# The static program, in a place where nothing else is.
for architecture in x86_64 aarch64; do
  archive=$OUT/fernchat-$VERSION-$architecture-linux.tar.gz
  if [ ! -f "$archive" ]; then skip "no ${archive##*/} was made"; continue; fi
  folder=$PLACE/$architecture
  # The server keeps files there.
  mkdir -p "$folder/tmp" && tar -C "$folder" -xzf "$archive" --strip-components=1
  grep -q 'fernet .*MPL-2.0' "$folder/THIRD-PARTY.txt"
  run=(chroot "$folder" /fernchat)
  if [ $architecture != "$(uname -m)" ]; then
    has qemu-$architecture || { skip "${archive##*/}, because there is no qemu-$architecture"; continue; }
    run=("qemu-$architecture" "$folder/fernchat")
  fi
  [ "$("${run[@]}" --version)" = "fernchat $VERSION" ]
  talks "${run[@]}"
  proven "${archive##*/}: unpacked and run where nothing else is"
done
# The wheel for ARM64, in a system of that kind which has Python and nothing else. pip is the one of the environment above.
wheel=$(echo "$OUT"/fernchat-"$VERSION"-*aarch64.whl)
emulator=$(command -v qemu-aarch64-static || true)
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
if [ ! -f "$wheel" ]; then
  skip "no wheel for ARM64 was made"
elif ! has mmdebstrap || [ -z "$emulator" ]; then
  skip "${wheel##*/}, because mmdebstrap or qemu-aarch64-static is not here"
else
  system=$OUT/arm64
  [ -d "$system" ] || { mmdebstrap --quiet --variant=extract --arch=arm64 --include=python3 "$release" "$system.new" && mv "$system.new" "$system"; }
  cp -a "$system" "$PLACE/arm"
  cp "$emulator" "$PLACE/arm/emulator"
  cp -r "$wheel" "$PLACE"/venv/lib/python3*/site-packages/pip "$PLACE/arm"
  run=(chroot "$PLACE/arm" /emulator)
  pip=("${run[@]}" /usr/bin/python3 /pip --quiet --disable-pip-version-check)
  "${pip[@]}" install --no-index --break-system-packages --root-user-action=ignore "/${wheel##*/}"
  [ "$("${run[@]}" /usr/local/bin/fernchat --version)" = "fernchat $VERSION" ]
  talks "${run[@]}" /usr/local/bin/fernchat
  "${pip[@]}" uninstall --yes --break-system-packages --root-user-action=ignore fernchat
  [ ! -e "$PLACE/arm/usr/local/bin/fernchat" ]
  proven "${wheel##*/}: installed, run and removed in an ARM64 system, under qemu-aarch64"
fi

# The program for Windows. pip puts the wheel where a Windows machine would have it.
zip=$OUT/fernchat-$VERSION-x86_64-windows.zip
wheel=$OUT/fernchat-$VERSION-py3-none-win_amd64.whl
if [ ! -f "$zip" ]; then
  skip "no ${zip##*/} was made"
else
  python3 -m zipfile -e "$zip" "$PLACE/zip"
  "$PLACE/venv/bin/pip" install --quiet --disable-pip-version-check --no-index --only-binary :all: --platform win_amd64 --target "$PLACE/windows" "$wheel"
  program=$PLACE/zip/fernchat-$VERSION-x86_64-windows/fernchat.exe
  cmp "$program" "$PLACE/windows/bin/fernchat.exe"
  grep -q 'fernet .*MPL-2.0' "${program%/*}/THIRD-PARTY.txt"
  if ! has wine; then
    skip "${zip##*/}, because there is no wine"
  else
    export WINEARCH=win64 WINEDEBUG=-all WINEPREFIX=$PLACE/wine
    wineboot -i >/dev/null 2>&1
    # Wine 8 lacks the library from which newer Windows programs take random bytes.
    printf '%s\n' '#include <windows.h>' 'BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);' \
      '__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) { return SystemFunction036(p, (ULONG)n); }' >"$PLACE/random.c"
    x86_64-w64-mingw32-gcc -shared -O1 -s -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" "$PLACE/random.c" -ladvapi32
    [ "$(wine "$program" --version | tr -d '\r')" = "fernchat $VERSION" ]
    talks wine "$program"
    talks wine "$PLACE/windows/bin/fernchat.exe"
    wineserver -k || true
    proven "${zip##*/} and ${wheel##*/}: unpacked, and run under Wine"
    echo "NOT TRIED: pip of Windows, because no registry that this test uses has a Python for Windows" >&2
  fi
fi

# The Debian package, in a clean Debian that has started.
deb=$(echo "$OUT/fernchat_${VERSION}_"*.deb)
if has lintian; then
  lintian --allow-root --fail-on error "$deb" && proven "${deb##*/}: lintian finds no error"
else
  skip "lintian is not here"
fi
if ! has mmdebstrap || ! has systemd-nspawn; then
  skip "${deb##*/}, because mmdebstrap or systemd-nspawn is not here"
else
  system=$OUT/debian
  # A fresh one takes some minutes, so it is kept; each test has a copy.
  [ -d "$system" ] || {
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $release" | sed -n 1p)
    mmdebstrap --quiet --variant=apt --include=systemd,systemd-sysv,dbus "$release" "$system.new" "$mirror" && mv "$system.new" "$system"
  }
  cp -a "$system" "$PLACE/debian"
  cp "$deb" "$PLACE/debian/one.deb"
  dpkg-deb -R "$deb" "$PLACE/newer"
  sed -i 's/^Version: .*/&+newer/' "$PLACE/newer/DEBIAN/control"
  dpkg-deb --root-owner-group --build "$PLACE/newer" "$PLACE/debian/two.deb" >/dev/null
  cat >"$PLACE/debian/proof.sh" <<'EOS'
set -ex
export DEBIAN_FRONTEND=noninteractive HOME=/root
joins() { for n in $(seq 100); do printf 'alice\nteam\n/members\n' | fernchat client 127.0.0.1 8000 && return; sleep 0.2; done; false; }
process() { systemctl show --property MainPID --value fernchat; }
apt-get install --yes /one.deb
fernchat --version
test "$(systemctl is-active fernchat)" = inactive
systemctl enable --now fernchat
joins | grep 'The group team is new'
before=$(process)
apt-get install --yes /two.deb
test "$(systemctl is-active fernchat)" = active
test "$(process)" != "$before"
joins | grep 'You are in the group team'
apt-get remove --yes fernchat
test ! -e /usr/bin/fernchat
test "$(systemctl is-active fernchat)" = inactive
test -s /var/lib/private/fernchat/groups
apt-get install --yes /two.deb
apt-get purge --yes fernchat
test ! -e /var/lib/private/fernchat
test -z "$(find / -xdev -name '*fernchat*' -not -path '/root/*' -not -path '/var/log/*')"
echo proven >/proven
EOS
  cat >"$PLACE/debian/etc/systemd/system/proof.service" <<'EOS'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /proof.sh
StandardOutput=file:/proof.log
StandardError=file:/proof.log
ExecStopPost=systemctl poweroff
EOS
  mkdir -p "$PLACE/debian/etc/systemd/system/multi-user.target.wants"
  ln -s ../proof.service "$PLACE/debian/etc/systemd/system/multi-user.target.wants"
  timeout 300 systemd-nspawn --quiet --register=no --keep-unit --private-network --directory "$PLACE/debian" --boot >"$PLACE/boot.log" 2>&1 || true
  if [ ! -f "$PLACE/debian/proof.log" ]; then
    tail -n 5 "$PLACE/boot.log" >&2
    skip "${deb##*/}, because no Debian starts here"
  else
    [ -f "$PLACE/debian/proven" ] || { cat "$PLACE/debian/proof.log" >&2; fail "${deb##*/} does not do what it should"; }
    proven "${deb##*/}: installed, started on request, upgraded, removed and purged"
  fi
fi

if [ "${TWICE:-yes}" = yes ]; then
  rm -rf target/packages-again
  src/extra/packages/make.sh target/packages-again
  diff "$OUT/SHA256SUMS" target/packages-again/SHA256SUMS
  proven "two makings give the same bytes"
fi
echo "$N_PROVEN passed, 0 failed"
