"""A report holds everything in one file, says words as they are, and looks right in a browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from napari_sslmaps.core.findings import Curve, Estimate, Plot, Table
from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.report import ReportSection, report_html, write_report

PINK = (255, 0, 170)
TABLE = Table(
    "Scores",
    ("method", "AUROC", "tokens"),
    (("mae <b>", Estimate(0.84251, 0.8, 0.9), 64), ("dira & co", Estimate(0.5), None)),
    ("dira & co does not beat its controls.",),
    tips={"AUROC": '0.5 is "chance".'},
)
X = np.array([0.0, 0.5, 1.0], np.float32)
PLOT = Plot(
    "Robustness", "noise (SD)", "cosine to clean", (Curve("mae", X, 1 - X), Curve("dira", X, 1 - X / 2))
)


class Page(HTMLParser):
    """Collects the words, and the targets of every attribute that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.targets: list[str] = []
        self.tags: list[str] = []
        self.tips: list[str] = []
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.tips += [str(value) for name, value in attrs if (tag, name) == ("th", "title")]
        self.targets += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "data")]


def pink_figure() -> Figure:
    return Figure(figsize=(4, 2), facecolor=np.array(PINK) / 255)


def sections() -> list[ReportSection]:
    return [
        ReportSection("Scores <of maps>", ("A paragraph with 1 < 2.", TABLE)),
        ReportSection("Curves", (PLOT,)),
        ReportSection("Figure", (pink_figure(),)),
    ]


def test_words_and_numbers_stand_in_it_as_they_are() -> None:
    page = Page(
        report_html(title="A & B", sections=sections(), subtitle="made <today>", command="evaluate 'a b'")
    )
    for words in (
        "A & B",
        "made <today>",
        "Scores <of maps>",
        "A paragraph with 1 < 2.",
        "mae <b>",
        "0.843 [0.800, 0.900]",
        "dira & co",
        "64",
        "–",
        "dira & co does not beat its controls.",
        "Robustness",
        "evaluate 'a b'",
    ):
        assert words in page.words
    assert page.tags.count("tr") == 3
    assert page.tips == ['0.5 is "chance".']
    assert "script" not in page.tags


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = Page(report_html(title="t", sections=sections()))
    assert page.targets
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in page.targets)
    assert not re.findall(r"url\((?!#)", report_html(title="t", sections=sections()))


def test_the_same_findings_give_the_same_file() -> None:
    first, second = (report_html(title="t", sections=[ReportSection("s", (TABLE, PLOT))]) for _ in range(2))
    assert first == second


def test_a_path_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ExportError):
        write_report(tmp_path / "taken" / "report.html", title="t", sections=sections())


@pytest.fixture(scope="session")
def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs Chromium, which `make test` installs where apt is at hand")
    return found


def looked_at(
    browser: str, page: Path, picture: Path, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], str]:
    """Open a page in a real browser without a window; return what is seen, and what the console says."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={picture.parent / 'profile'}", f"--window-size={size[0]},{size[1]}"]
    command += ["--enable-logging=stderr", f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB")), "\n".join(re.findall(r".*CONSOLE.*", done.stderr))


def test_a_browser_shows_it_whole(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_report(page, title="Four methods", sections=sections(), command="napari-sslmaps evaluate")
    seen, console = looked_at(browser, page, tmp_path / "seen.png", (1000, 2200))
    assert console == ""
    pink = (np.abs(seen.astype(int) - PINK) < 8).all(axis=-1)
    rows, cols = np.flatnonzero(pink.any(axis=1)), np.flatnonzero(pink.any(axis=0))
    height, width = np.ptp(rows) + 1, np.ptp(cols) + 1
    assert pink.sum() == height * width, "the figure is shown unbroken"
    assert width == pytest.approx(2 * height, rel=0.02)
    assert 500 < width < 1000
    blue = (np.abs(seen.astype(int) - [0x3B, 0x82, 0xD6]) < 20).all(axis=-1)
    assert blue.sum() > 200, "the first curve of the plot is drawn"
    assert np.flatnonzero(blue.any(axis=1)).max() < rows.min(), "in the order of the sections"
