"""Writes the licences of everything that is linked into the program for a target: licences.py TARGET, in the folder of Cargo.toml.

A text that several packages share stands once. A package without a text of its own, but with a licence whose text is well known, is named
with that text. If a package has neither, this fails, so that nothing is shipped without its licence.
"""

import html
import json
import pathlib
import re
import subprocess
import sys

target = sys.argv[1]


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# What is linked: no tools, no macros, and only what this target has.
tree = output(
    "cargo", "tree", "--locked", "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"
)
linked = {tuple(line.split()[:2]) for line in tree.splitlines()}
packages = [
    package
    for package in json.loads(output("cargo", "metadata", "--locked", "--format-version", "1"))["packages"]
    if (package["name"], "v" + package["version"]) in linked and package["source"]
]
assert len(packages) == len(linked) - 1, "the tree and the metadata name different packages"

doc = pathlib.Path(output("rustc", "--print", "sysroot").strip(), "share/doc/rust")
texts_of = [*(doc / "licenses").glob("*.txt"), *pathlib.Path(__file__).parent.glob("*.txt")]
known = {path.stem: path.read_text() for path in texts_of}
users = {}
for package in sorted(packages, key=lambda package: (package["name"], package["version"])):
    name = f"{package['name']} {package['version']} ({package['license']})"
    files = [
        path
        for path in sorted(pathlib.Path(package["manifest_path"]).parent.iterdir())
        if re.match(r"(licen[sc]e|copying|notice|unlicense)", path.name, re.I) and path.is_file()
    ]
    texts = [path.read_text(errors="replace") for path in files]
    if not texts:
        words = re.split(r"[/ ()]+", package["license"])
        texts = [known[word] for word in words if word in known]
        texts = texts if "AND" in words else texts[:1]
    assert texts, f"{name} has no licence text"
    for text in texts:
        users.setdefault("\n".join(line.rstrip() for line in text.strip().splitlines()), []).append(name)

print(f"fernchat for {target} is made of these packages, and of Rust's standard library.")
print("The source of each package is on crates.io, under its name and version.\n")
for text, names in sorted(users.items(), key=lambda item: item[1]):
    print("=" * 100, *names, "", text, "", sep="\n")


def other(title, *texts):
    print("=" * 100, title, "", *texts, sep="\n")


if target.endswith("-musl"):
    other("The C library musl: Copyright 2005-2020 Rich Felker, et al.", known["MIT"])
if target.endswith("-windows-gnu"):
    runtime = pathlib.Path("/usr/share/doc/mingw-w64-common/copyright").read_text(errors="replace")
    other("The runtime of mingw-w64", runtime)
    other("The runtime of GCC", known["GCC-exception-3.1"], known["GPL-3.0-or-later"])
library = re.sub(r"<[^>]*>", "", (doc / "COPYRIGHT-library.html").read_text())
other("Rust's standard library", re.sub(r"\n\s*\n+", "\n\n", html.unescape(library)))
