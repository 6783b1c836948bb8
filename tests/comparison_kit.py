"""Small images with masks, tiny encoders, and comparisons of them."""

from pathlib import Path

import numpy as np
from encoders_factory import write_encoder
from PIL import Image

from napari_sslmaps.compare.request import ComparedImage, ComparisonOptions, ComparisonRequest, MaskFile
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.records.run import RunOptions

EXACT = RunOptions(precision="float32", device="cpu")
SIDE = 64


def draw(seed: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """An image of noise with a bright disc (class 1) and a striped half (class 2)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(60, 110, (side, side, 3), dtype=np.uint8)
    rows, cols = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint8)
    labels[:, 2 * side // 3 :] = 2
    centre = rng.uniform(side * 0.3, side * 0.5, 2)
    labels[(rows - centre[0]) ** 2 + (cols - centre[1]) ** 2 < (side / 5) ** 2] = 1
    pixels[labels == 1] = [250, 60, 90]
    pixels[(labels == 2) & (rows % 8 < 4)] = [30, 90, 200]
    return pixels, labels


def write_images(folder: Path, count: int = 1) -> tuple[Path, Path]:
    """Write ``images/<n>.png`` and ``masks/<n>.png``, and return both folders."""
    images, masks = folder / "images", folder / "masks"
    for place in (images, masks):
        place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels, labels = draw(number)
        Image.fromarray(pixels).save(images / f"{number}.png")
        Image.fromarray(labels).save(masks / f"{number}.png")
    return images, masks


def compared(folder: Path, count: int = 1, **more: object) -> tuple[ComparedImage, ...]:
    """Images of `write_images`, with their masks and an anchor."""
    images, masks = write_images(folder, count)
    names = {1: "disc", 2: "stripes"}
    return tuple(
        ComparedImage(
            f"{number}.png",
            str(images / f"{number}.png"),
            MaskFile(masks / f"{number}.png", names),
            anchors=((10.0, 60.0),),
            **more,
        )
        for number in range(count)
    )


def encoders_in(folder: Path, *methods: str) -> tuple[EncoderChoice, ...]:
    """Tiny encoders with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        EncoderChoice(str(write_encoder(folder / f"{method}-tiny.safetensors", method))) for method in methods
    )


def request_in(folder: Path, count: int = 1, **more: object) -> ComparisonRequest:
    """A comparison of a tiny MAE and a tiny DiRA on so many images."""
    return ComparisonRequest(
        compared(folder, count),
        encoders_in(folder / "weights", "mae", "dira"),
        options=ComparisonOptions(EXACT, anchor_count=8),
        **more,
    )
