"""The licences of all that seqdet needs, by what the installed packages say of themselves.

    python tools/licences.py                           # a table; exit code 1 if one may not be used
    python tools/licences.py --write docs/licences.md  # into the page, between its markers

Followed from pyproject.toml: the required packages, each extra, and what those need in turn. What only the
development of seqdet needs is left out; it reaches nobody.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = "seqdet"
MARKERS = ("<!-- licences -->\n", "<!-- end of licences -->")
FREE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "HPND",
        "ISC",
        "LLVM-exception",
        "MIT",
        "MIT-CMU",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    }
)
# Its terms are for changed copies of its own files, and nothing here changes any.
OF_OWN_FILES = frozenset({"MPL-2.0"})
# What PyTorch's wheels for Linux bring for GPUs; may be used and passed on, a build for CPUs has none of it.
OF_A_VENDOR = frozenset({"LicenseRef-NVIDIA-Proprietary"})
ALLOWED = FREE | OF_OWN_FILES | OF_A_VENDOR
# What people write instead of an identifier of SPDX.
SAID = (
    (r"nvidia", "LicenseRef-NVIDIA-Proprietary"),
    (r"mpl[- ]2\.0 and mit", "MPL-2.0 AND MIT"),
    (r"mozilla public license 2|^mpl", "MPL-2.0"),
    (r"affero|agpl", "AGPL"),
    (r"lesser general|lgpl", "LGPL"),
    (r"general public|gpl", "GPL"),
    (r"apache", "Apache-2.0"),
    (r"bsd[- ]3|3-clause bsd", "BSD-3-Clause"),
    (r"bsd[- ]2", "BSD-2-Clause"),
    (r"bsd", "BSD"),
    (r"\bmit\b", "MIT"),
    (r"\bisc\b", "ISC"),
    (r"python software foundation|psf", "PSF-2.0"),
)
# Packages whose metadata name none; read in the files that they bring.
KNOWN = {
    "faster-coco-eval": "Apache-2.0",
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",
    "opencv-python-headless": "Apache-2.0",  # as opencv-python, in whose place it may be
}
# Native libraries under the GPL that wheels are known to bundle, and the one that may.
GPL_LIBRARY = re.compile(r"lib(x264|x265|xvidcore|fftw3|readline|gsl)[-.]")
MAY_BUNDLE_THEM = "av"


class Entry(NamedTuple):
    """One package.

    Attributes:
        name: normalised, as on the package index.
        licence: an expression of SPDX; "" if it says nothing, "not installed" if it is not here.
        wanted_by: "seqdet" if it is required, else the extras that bring it.
        direct: whether pyproject.toml names it.
        bundles: native libraries under the GPL in it.
    """

    name: str
    licence: str
    wanted_by: tuple[str, ...]
    direct: bool
    bundles: tuple[str, ...] = ()

    @property
    def may_be_used(self) -> bool:
        """By its licence, and by what it bundles."""
        return is_allowed(self.licence) and (not self.bundles or self.name == MAY_BUNDLE_THEM)


def normalised(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_allowed(expression: str) -> bool:
    """Whether an expression of SPDX leaves a way to use the package in a product: one of OR, all of AND."""
    ways = re.sub(r"[()]", " ", expression).split(" OR ")
    return any(all(part in ALLOWED for part in re.split(r" AND | WITH ", way.strip())) for way in ways)


def licence_of(name: str) -> str:
    """What an installed package says of itself, as an expression of SPDX if it can be read as one."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return KNOWN.get(name, "not installed")
    if expression := about.get("License-Expression"):
        return str(expression)
    classifiers = [text for text in about.get_all("Classifier") or [] if text.startswith("License ::")]
    # Some put the whole text into the field; its first line says what it is, or whose.
    field = (about.get("License") or "").strip().partition("\n")[0]
    for text in [field, *(text.rpartition("::")[2] for text in classifiers)]:
        for pattern, identifier in SAID:
            if re.search(pattern, text, re.IGNORECASE):
                return identifier
    return KNOWN.get(name, "")


def bundled(name: str) -> tuple[str, ...]:
    """Native libraries under the GPL among the files of an installed package."""
    try:
        files = metadata.distribution(name).files or []
    except metadata.PackageNotFoundError:
        return ()
    return tuple(sorted({match[0].rstrip("-.") for file in files if (match := GPL_LIBRARY.match(file.name))}))


def needed(requirements: list[str], seen: set[str], extras: tuple[str, ...] = ("",)) -> Iterator[str]:
    """Names of packages that requirements bring on this machine, each once."""
    for text in requirements:
        wanted = Requirement(text)
        applies = wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras)
        name = normalised(wanted.name)
        if not applies or f"{name}{sorted(wanted.extras)}" in seen:
            continue
        seen.add(f"{name}{sorted(wanted.extras)}")
        yield name
        try:
            more = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        yield from needed(more, seen, tuple(wanted.extras) or ("",))


def entries(pyproject: Path = ROOT / "pyproject.toml") -> list[Entry]:
    """Every package, by name."""
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    groups = {REQUIRED: project["dependencies"], **project["optional-dependencies"]}
    wanted: dict[str, list[str]] = {}
    for group, requirements in groups.items():
        for name in dict.fromkeys(needed(requirements, set())):
            wanted.setdefault(name, []).append(group)
    direct = {normalised(Requirement(text).name) for texts in groups.values() for text in texts}
    return [
        Entry(
            name,
            licence_of(name),
            (REQUIRED,) if REQUIRED in by else tuple(by),
            name in direct,
            bundled(name),
        )
        for name, by in sorted(wanted.items())
    ]


def table(found: list[Entry]) -> str:
    """Markdown; packages that pyproject.toml names are bold."""
    lines = ["| package | licence | needed by |", "| --- | --- | --- |"]
    for entry in found:
        name = f"**{entry.name}**" if entry.direct else entry.name
        bundles = f"; bundles {', '.join(entry.bundles)}" if entry.bundles else ""
        lines.append(f"| {name} | {entry.licence}{bundles} | {', '.join(entry.wanted_by)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Show the table, or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the table in this page")
    page = parser.parse_args().write
    found = entries()
    if page is None:
        print(table(found), end="")
    else:
        before, _, rest = page.read_text("utf-8").partition(MARKERS[0])
        after = rest.partition(MARKERS[1])[2]
        page.write_text(before + MARKERS[0] + table(found) + MARKERS[1] + after, "utf-8")
    if refused := [entry.name for entry in found if not entry.may_be_used]:
        sys.exit(f"may not be used, or not known: {', '.join(refused)}")


if __name__ == "__main__":
    main()
