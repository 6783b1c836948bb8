"""See that everything that names the version names the same: ``python scripts/check_release.py v0.2.0``.

A release has no fragments left in ``changes/`` and its notes on top of ``CHANGELOG.md``.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def faults(tag: str) -> list[str]:
    """Say what a release under a tag still lacks; nothing if it can be made."""
    version = tomllib.loads(_text("pyproject.toml"))["project"]["version"]
    cited = _first(r"^version: (\S+)$", "CITATION.cff")
    told = _first(r"^## (\S+) \(", "CHANGELOG.md")
    found = []
    if tag != f"v{version}":
        found.append(f"Expected the tag v{version}, as pyproject.toml says; got {tag!r}.")
    found += [
        f"Expected {version} in {name}, as in pyproject.toml; it has {there}."
        for name, there in (("CITATION.cff", cited), ("CHANGELOG.md, on top", told))
        if there != version
    ]
    left = sorted(path.name for path in (ROOT / "changes").glob("*.md"))
    if left:
        found.append(f"Expected no fragments in changes/; {len(left)} are left. Type: make changelog")
    return found


def _first(pattern: str, name: str) -> str:
    match = re.search(pattern, _text(name), re.MULTILINE)
    return match[1] if match else "none"


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def main() -> int:
    """Print what is at fault, and return how much."""
    if len(sys.argv) != 2:
        sys.exit(f"{__doc__}\nExpected one tag; got {len(sys.argv) - 1}.")
    found = faults(sys.argv[1])
    print("\n".join(found) or f"{sys.argv[1]} can be released")
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
