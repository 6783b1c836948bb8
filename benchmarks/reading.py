"""What reading regions of a slide costs over tifffile's own reading, and what it keeps in memory."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import openslide
import tifffile
from measure import Outcome, ratio, seconds
from napari.layers import Image
from skimage.data import immunohistochemistry

from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.viewer.canvas import npe2

SIDE, BLOCK = 8192, 1024
REGIONS = [Region(y, x, BLOCK, BLOCK) for y, x in product(range(0, SIDE, BLOCK), repeat=2)]


def write_slide(path: Path) -> Path:
    """Write 8192² px of histology as a pyramid of JPEG tiles."""
    pixels = np.tile(immunohistochemistry(), (SIDE // 512, SIDE // 512, 1))
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(3):
            step = 2**level
            file.write(
                np.ascontiguousarray(pixels[::step, ::step]),
                tile=(256, 256),
                compression="jpeg",
                photometric="ycbcr",
                subfiletype=int(level > 0),
                metadata=None,
            )
    return path


def write_huge(path: Path) -> Path:
    """Write a slide of 80 000 × 100 000 px, whose tiles all point to the same few: `tests/slide_kit.py`."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import slide_kit

    return slide_kit.write_slide(path, ((80_000, 100_000), (20_000, 25_000), (5000, 6250))).path


def read_by(path: Path, threads: int) -> Callable[[], object]:
    """Return a function that reads the whole slide by regions, opened anew so that nothing is kept."""

    def work() -> None:
        with open_image(path) as source, ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(source.read, REGIONS):
                pass

    return work


def over_tifffile(path: Path, threads: int) -> Outcome:
    """Reading by regions over reading whole, with as many threads each: a busy machine slows both."""

    def floor() -> None:
        with tifffile.TiffFile(path) as file:
            file.series[0].asarray(maxworkers=threads)

    found, ours, lowest = ratio(read_by(path, threads), floor, repeats=5)
    detail = f"{ours:.2f} s over {lowest:.2f} s, {SIDE}² px by {BLOCK}²"
    return Outcome(
        f"regions of a slide / tifffile's whole read, {threads} thread(s)", found, "×", 1.5, detail
    )


def over_openings(path: Path) -> list[Outcome]:
    """Opening a slide over tifffile's own and OpenSlide's: what is asked of a file costs little more."""

    def ours() -> None:
        with open_image(path):
            pass

    def by_tifffile() -> None:
        with tifffile.TiffFile(path) as file:
            file.series[0].levels  # noqa: B018  # it is read when asked for

    def by_openslide() -> None:
        with openslide.OpenSlide(path) as slide:
            slide.level_dimensions  # noqa: B018  # likewise

    found = []
    for name, floor, budget in (("tifffile's", by_tifffile, 3.0), ("OpenSlide's", by_openslide, 1.0)):
        over, opened, lowest = ratio(ours, floor, repeats=15)
        detail = f"{1e3 * opened:.1f} ms over {1e3 * lowest:.1f} ms"
        found.append(Outcome(f"opening a slide / {name} opening", over, "×", budget, detail))
    return found


def over_openslide(path: Path) -> Outcome:
    """Reading by regions over OpenSlide's reading of the same regions, with one thread each."""

    def floor() -> None:
        with openslide.OpenSlide(path) as slide:
            for region in REGIONS:
                np.asarray(slide.read_region((region.x, region.y), 0, (region.width, region.height)))

    over, ours, lowest = ratio(read_by(path, 1), floor, repeats=3)
    detail = f"{ours:.2f} s over {lowest:.2f} s, {SIDE}² px by {BLOCK}²"
    return Outcome("regions of a slide / OpenSlide's reading", over, "×", 0.7, detail)


def open_huge(path: Path) -> list[Outcome]:
    npe2.read(str(path))
    opened = min(seconds(lambda: npe2.read(str(path))) for _ in range(5))
    data, options, _ = npe2.read(str(path))[0]
    Image(np.zeros((8, 8), np.uint8))
    drawn = seconds(lambda: Image(data, **options))
    detail = "80 000 × 100 000 px"
    return [
        Outcome("open a slide in napari: read", 1e3 * opened, "ms", 100, detail),
        Outcome("open a slide in napari: layer with overview", 1e3 * drawn, "ms", 2000, detail),
    ]


PEAK = """
import re, sys
from pathlib import Path
from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.open import open_image

def resident(field):
    return int(re.search(rf"{field}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

path, side = sys.argv[1], int(sys.argv[2])
with open_image(path) as source:
    source.read(Region(0, 0, 256, 256))
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    for y in range(0, side, 512):
        for x in range(0, side, 512):
            source.read(Region(y, x, 512, 512))
print(resident("VmHWM") - before)
"""


def memory(path: Path) -> Outcome:
    """Peak memory of reading 32 768² px by tiles over that of 1024² px (Linux)."""

    def peak(side: int) -> float:
        command = [sys.executable, "-c", PEAK, str(path), str(side)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    small, large = peak(1024), peak(32_768)
    detail = f"{large:.0f} over {small:.0f} MiB, decoded tiles are kept up to 96 MiB"
    return Outcome("memory of reading 32k² over 1k² px", large - small, "MiB", 128, detail)


def outcomes() -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        slide = write_slide(Path(folder) / "slide.tif")
        huge = write_huge(Path(folder) / "huge.svs")
        return [
            *over_openings(slide),
            over_tifffile(slide, 1),
            over_tifffile(slide, 2),
            over_openslide(slide),
            *open_huge(huge),
            memory(huge),
        ]
