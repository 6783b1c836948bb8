"""Picture of docs/stride.md: one similarity map from tokens ever closer to each other."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw
from skimage.data import immunohistochemistry

import napari_sslmaps as ssl
from napari_sslmaps.encoders.registry import load_encoder

SIDE, FIRST = 160, (150, 240)
ANCHOR = (62, 74)
STRIDES = (8, 4, 2)
ZOOM, GAP = 3, 9
RED, WHITE = (227, 0, 27), (255, 255, 255)


def finer_tokens(path: Path) -> None:
    """Save a piece of the sample beside its similarity to a place, from tokens of patches and closer ones."""
    top, left = FIRST
    pixels = immunohistochemistry()[top : top + SIDE, left : left + SIDE]
    encoder = load_encoder("dinov3-histology", device="cpu")
    shown = [pixels]
    for stride in STRIDES:
        found = ssl.similarity_map(ssl.embed(pixels, encoder, stride=stride), [ANCHOR])
        low, high = np.percentile(found.values, (2, 98))
        coloured = colormaps["viridis"](np.clip((found.values - low) / (high - low), 0, 1))[..., :3]
        shown.append((255 * coloured).astype(np.uint8).repeat(stride, axis=0).repeat(stride, axis=1))
    large = SIDE * ZOOM
    sheet = Image.new("RGB", (len(shown) * large + (len(shown) - 1) * GAP, large), WHITE)
    for number, panel in enumerate(shown):
        sheet.paste(
            Image.fromarray(panel).resize((large, large), Image.Resampling.NEAREST),
            (number * (large + GAP), 0),
        )
    draw = ImageDraw.Draw(sheet)
    y, x = (ZOOM * place for place in ANCHOR)
    for number in range(len(shown)):
        for ink, width in ((WHITE, 7), (RED, 4)):
            for side in (1, -1):
                middle = x + number * (large + GAP)
                draw.line((middle - 9, y - 9 * side, middle + 9, y + 9 * side), ink, width)
    sheet.quantize(256).save(path, optimize=True)
