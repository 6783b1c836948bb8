"""What streaming a region from a file costs over the bare network, in time and memory, and a second look."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
import torch
from embedding import write_random
from measure import Outcome, ratio, seconds
from napari.layers import Image

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.registry import get_spec, load_encoder
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import plan
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import Level
from napari_sslmaps.viewer.canvas.image_layer import LayerSource
from napari_sslmaps.viewer.canvas.lazy_array import lazy_levels

SIDE, TILE = 1024, 512
TILING = Tiling(TILE // 16, 0)


def write_slide(path: Path, side: int) -> Path:
    """Write a tiled JPEG TIFF of smooth noise, block by block."""
    rng = np.random.default_rng(0)

    def tiles():
        for _ in range((side // 256) ** 2):
            coarse = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            yield coarse.repeat(8, axis=0).repeat(8, axis=1)

    tifffile.imwrite(
        path,
        tiles(),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(256, 256),
        compression="jpeg",
        photometric="rgb",
    )
    return path


def streamed_over_forward(slide: Path, encoder: Encoder) -> Outcome:
    """Embedding a region of a file, reading included, over the bare network on the same batches in memory."""
    with open_image(slide) as source:
        pixels = source.read(plan(source, encoder.spec).region)
    preset = get_normalisation("imagenet")
    tiles = (
        pixels.reshape(SIDE // TILE, TILE, SIDE // TILE, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
    )
    batch = normalise(torch.from_numpy(tiles).float() / 255, preset.mean, preset.std).to(encoder.device)

    def forward() -> None:
        with torch.inference_mode():
            encoder.extractor.network.forward_features(batch)

    found, ours, floor = ratio(lambda: embed(slide, encoder, tiling=TILING), forward, repeats=7)
    detail = f"{ours:.2f} s over {floor:.2f} s, ViT-S/16, {len(tiles)} tiles of {TILE} px, {encoder.device}"
    return Outcome("streamed embedding of a file / raw forward", found, "×", 1.05, detail)


def second_look(slide: Path, encoder: Encoder, folder: Path) -> list[Outcome]:
    """A cache hit, and a first look that fills the cache, over computing without one."""
    cache = Cache(folder / "cache", 10**10)

    def first_look() -> None:
        cache.clear()
        embed(slide, encoder, tiling=TILING, cache=cache)

    filled, with_cache, without = ratio(first_look, lambda: embed(slide, encoder, tiling=TILING), repeats=5)
    hit = min(seconds(lambda: embed(slide, encoder, tiling=TILING, cache=cache)) for _ in range(9))
    detail = f"{hit * 1e3:.0f} ms over {without:.2f} s, {(SIDE // 16) ** 2} × 384 tokens"
    layer = LayerSource(Image(lazy_levels(open_image(slide))[0], rgb=True))
    through = min(seconds(lambda: embed(layer, encoder, tiling=TILING, cache=cache)) for _ in range(9))
    return [
        Outcome("cache hit / computing", hit / without, "×", 0.05, detail),
        Outcome(
            "cache hit through a lazy layer / computing",
            through / without,
            "×",
            0.05,
            f"{through * 1e3:.0f} ms",
        ),
        Outcome(
            "first look with a cache / without", filled, "×", 1.05, f"{with_cache:.2f} over {without:.2f} s"
        ),
    ]


PEAK = """
import re, sys
from pathlib import Path
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.pipeline.embedding import embed

def resident(field):
    return int(re.search(rf"{field}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

slide, side = sys.argv[1], int(sys.argv[2])
encoder = load_encoder("mae-histology", precision="float32", device="cpu")
embed(slide, encoder, region=(0, 0, 1024, 1024))  # what is allocated once
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
embedding = embed(slide, encoder, region=(0, 0, side, side))
planes = (embedding.tokens, embedding.attention, embedding.foreground)
print(resident("VmHWM") - before - sum(plane.nbytes for plane in planes) / 2**20)
"""


def peak_memory(folder: Path) -> Outcome:
    """Peak memory beside the result for 1, 4 and 16 times the region, each in its own process (Linux).

    Large blocks go back to the system when freed: what glibc would keep of them for itself is not counted.
    """
    slide = write_slide(folder / "large.tif", 4096)
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "500000"}
    peaks = []
    for side in (1024, 2048, 4096):
        command = [sys.executable, "-c", PEAK, str(slide), str(side)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        peaks.append(float(answer.stdout))
    detail = "peaks beside the result: " + ", ".join(
        f"{peak:.0f} MiB at {times}×" for peak, times in zip(peaks, (1, 4, 16), strict=True)
    )
    return Outcome("memory added by 16 times the region", peaks[2] - peaks[0], "MiB", 64, detail)


class Slide:
    """Where the pixels of a slide would be."""

    name, channels, frames, dtype = "slide", 3, 1, np.dtype(np.uint8)
    levels = (Level((100_000, 80_000)),)
    spacing_um_yx = (0.25, 0.25)


def planning() -> Outcome:
    """A plan of a whole slide, which the window makes anew whenever the view moves."""
    spec = get_spec("mae-histology")
    taken = min(seconds(lambda: plan(Slide(), spec)) for _ in range(20))
    return Outcome("plan of a whole slide", 1e3 * taken, "ms", 5, plan(Slide(), spec).describe())


SPILLED = """
import re, sys
from pathlib import Path
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.token_store import TokenBudget

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

slide, side, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
encoder = load_encoder("mae-histology", precision="float32", device="cpu")
embed(slide, encoder, region=(0, 0, 1024, 1024))  # what is allocated once
before, peaks = anonymous(), []
embedding = embed(
    slide, encoder, region=(0, 0, side, side), budget=TokenBudget(0, 0, folder),
    on_progress=lambda _: peaks.append(anonymous()),
)
print(max(peaks) - before, embedding.tokens.nbytes / 2**20)
"""


def spilled_memory(folder: Path) -> Outcome:
    """What tokens that are kept in a file take of memory all the same, for 16 times the region (Linux).

    Pages of the file are in memory as long as nobody else wants them, and are not counted.
    """
    found = []
    for side in (1024, 4096):
        command = [sys.executable, "-c", SPILLED, str(folder / "large.tif"), str(side), str(folder)]
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "500000"}
        answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        found.append([float(word) for word in answer.stdout.split()])
    (small, _), (large, size) = found
    detail = f"{small:.0f} and {large:.0f} MiB at the peak; {size:.0f} MiB of tokens in the file"
    return Outcome("memory added by 16 times the region, tokens in a file", large - small, "MiB", 64, detail)


def outcomes() -> list[Outcome]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = write_random(folder / "mae.safetensors", "mae")
        encoder = load_encoder(weights, precision="float32")
        slide = write_slide(folder / "slide.tif", SIDE)
        return [
            planning(),
            streamed_over_forward(slide, encoder),
            *second_look(slide, encoder, folder),
            peak_memory(folder),
            spilled_memory(folder),
        ]
