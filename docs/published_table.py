"""The page of published encoders, of what the list says of each: ``python docs/published_table.py``."""

from pathlib import Path

from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.entry import Published
from napari_sslmaps.encoders.spec import get_normalisation

PAGE = Path(__file__).parent / "published.md"
_HEAD = """# Published encoders

What `napari-sslmaps encoders download NAME` fetches, and how each is read.
Made by `docs/published_table.py` of the list in the package.

*Input* is the side in pixels that stored positions are of; others work, at which positions are resampled.
*Needs* is what its files leave open and its name brings along: a copy of the same files of your own asks for
it. *Statistics* are those of its model card until its files say them. Licences are those of the weights:
read them on the page before you use any.

| name | repository | method | network | input | statistics | µm/px | needs | MB | licence | |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """Return the page as it is to be."""
    return _HEAD + "".join(_row(entry) for entry in PUBLISHED.values())


def _row(entry: Published) -> str:
    shape, statistics = entry.architecture, get_normalisation(entry.normalisation)
    named = statistics.name.replace(",", ", ").replace("/", " / ")
    trained = entry.trained.um_per_px if entry.trained is not None else None
    remarks = [word for word, holds in (("gated", entry.gated), ("not tried", not entry.tried)) if holds]
    cells = (
        f"`{entry.name}`",
        f"[{entry.repository}]({entry.page})",
        METHODS[entry.method].title,
        shape.summary,
        f"{shape.stored_side}" if shape.stored_side else "any",
        named,
        f"{trained:g}" if trained else "",
        ", ".join(f"`{key}={value!r}`" for key, value in entry.overrides.items()),
        f"{entry.megabytes:.0f}",
        entry.licence,
        ", ".join(remarks),
    )
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
