"""Pictures of an image and of a map for readers, without a word of where they are from."""

import base64
import io
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.figures.panels import Extent, label_colours
from napari_sslmaps.figures.run_figure import Picture
from napari_sslmaps.maps.contrast import limits_of
from napari_sslmaps.maps.registry import map_type_of

_QUALITY = 92
_STEPS = 255


def image_picture(picture: Picture) -> str:
    """Return the pixels of an image as a data address, JPEG without metadata."""
    values = np.rint(np.clip(picture.pixels, 0, 1) * 255).astype(np.uint8)
    grey = values.ndim == 3 and bool((values == values[..., :1]).all())
    return _address(Image.fromarray(values[..., 0] if grey else values), "jpeg", quality=_QUALITY)


def map_picture(result: TokenMap, picture: Picture) -> str:
    """Return a map over the same pixels as a data address, PNG without metadata; NaN is transparent.

    Each map is drawn between limits of its own, so that no method is told by a common scale.
    """
    kind = map_type_of(result)
    if kind.labels:
        labels: NDArray[np.int32] = result.labels  # type: ignore[attr-defined]  # every such map has them
        coloured: NDArray[Any] = label_colours(labels, kind.palette(result))
    elif result.values.ndim == 3:
        coloured = result.values
    else:
        return _indexed(result, kind.colormap, picture)
    shown = _on(coloured, result.grid, picture)
    known = np.isfinite(shown).all(axis=-1)
    pixels = np.rint(np.clip(np.nan_to_num(shown), 0, 1) * 255).astype(np.uint8)
    return _address(Image.fromarray(np.dstack([pixels, np.where(known, 255, 0).astype(np.uint8)])), "png")


def _indexed(result: TokenMap, colours: str, picture: Picture) -> str:
    (limits,) = limits_of(map_type_of(result), [result], "each")
    low, high = limits or (0.0, 1.0)
    shown = _on(result.values, result.grid, picture)
    steps = np.rint((np.clip(shown, low, high) - low) / (high - low) * (_STEPS - 1))
    image = Image.fromarray(np.where(np.isfinite(shown), np.nan_to_num(steps), _STEPS).astype(np.uint8), "P")
    table = colormaps[colours](np.linspace(0, 1, _STEPS))[:, :3]
    image.putpalette(np.rint(np.vstack([table, [0, 0, 0]]) * 255).astype(np.uint8).tobytes())
    return _address(image, "png", transparency=_STEPS)


def _on(values: NDArray[Any], grid: TokenGrid, picture: Picture) -> NDArray[Any]:
    """Give every pixel of a picture the value of the token that covers it."""
    extent = picture.pixels_extent or picture.extent
    height, width = picture.pixels.shape[:2]
    rows = _tokens_along(grid, extent, height, 0)
    cols = _tokens_along(grid, extent, width, 1)
    return values[rows][:, cols]


def _tokens_along(grid: TokenGrid, extent: Extent, count: int, axis: int) -> NDArray[np.intp]:
    start, length = ((extent.y, extent.height), (extent.x, extent.width))[axis]
    centres = np.zeros((count, 2))
    centres[:, axis] = start - 0.5 + (np.arange(count) + 0.5) * length / count
    tokens = np.floor(grid.pixel_to_token(centres)[:, axis] + 0.5).astype(np.intp)
    return np.clip(tokens, 0, grid.shape[axis] - 1)


def _address(image: Image.Image, form: str, **options: Any) -> str:
    out = io.BytesIO()
    image.save(out, form, optimize=True, **options)
    return f"data:image/{form};base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
