"""Bring the score *retrieval* into docs/search.md: ``python docs/retrieval_table.py TITLE=FOLDER …``.

Each folder is what ``napari-sslmaps evaluate … --scores retrieval --controls untrained,colour --out FOLDER``
wrote.
"""

import csv
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "search.md"
BEGIN, END = "<!-- begin: made by docs/retrieval_table.py -->", "<!-- end -->"


def rows(folder: Path) -> list[str]:
    """Return the table of one comparison."""
    with (folder / "retrieval.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    ranks = [name for name in found[0] if name.startswith("Precision") and not name.endswith(")")]
    lines = [f"| method | {' | '.join(name.lower() for name in ranks)} |", "|---" * (1 + len(ranks)) + "|"]
    for row in found:
        cells = [
            "{:.2f} [{:.2f}, {:.2f}]".format(
                *(float(row[name + end]) for end in ("", " (2.5 %)", " (97.5 %)"))
            )
            for name in ranks
        ]
        lines.append(f"| {row['Method']} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Write the tables into the page."""
    parts = []
    for word in sys.argv[1:]:
        title, _, folder = word.partition("=")
        parts += [f"**{title}**", "", *rows(Path(folder)), ""]
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(
        f"{head}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{rest.partition(END)[2]}", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
