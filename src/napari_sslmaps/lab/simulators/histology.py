"""Simulated haematoxylin-and-eosin histology with a label map.

A field is laid out as compartments (stroma, glands with a lumen, tumour nests, lymphoid infiltrate, fat,
glass), each is populated with its own nuclei and texture as stain *concentrations*, and Beer-Lambert mixing
turns these into colour. About a third of the fields are stained as immunohistochemistry: DAB in one
compartment over a pale haematoxylin counterstain.

The magnification is that of a x20 objective: a lymphocyte is about 8 pixels wide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_sslmaps.lab.simulators.fields import smooth_field
from napari_sslmaps.lab.simulators.stains import draw_stain_mix, transmit
from napari_sslmaps.lab.simulators.tissue import (
    FAT,
    GLAND,
    GLASS,
    LYMPHOID,
    STROMA,
    TUMOUR,
    TissueField,
    paint_fat,
    paint_glands,
    paint_lymphoid,
    paint_nests,
    paint_stroma,
)


def simulate_histology(
    rng: np.random.Generator, size: int = 192
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Simulate one field and its label map.

    Parameters
    ----------
    rng
        Source of randomness; the same state gives the same field.
    size
        Side in pixels, at least 32.

    Returns
    -------
    image
        (size, size, 3) uint8 RGB.
    labels
        (size, size) uint8, values index `CLASSES`.

    Examples
    --------
    >>> import numpy as np
    >>> image, labels = simulate_histology(np.random.default_rng(0), 64)
    >>> image.shape, labels.shape
    ((64, 64, 3), (64, 64))
    """
    angle = rng.uniform(0, np.pi) + 0.5 * smooth_field(rng, size, 90)
    field = TissueField(
        labels=np.full((size, size), STROMA, dtype=np.uint8),
        nuclei=np.zeros((size, size), dtype=np.float32),
        cytoplasm=np.zeros((size, size), dtype=np.float32),
        angle=angle.astype(np.float32),
    )
    _lay_out(rng, field)
    paint_stroma(rng, field)
    paint_nests(rng, field)
    paint_lymphoid(rng, field)
    paint_fat(rng, field)
    paint_glands(rng, field)
    field.nuclei *= 1 + 0.16 * smooth_field(rng, size, 2.6)
    return _stain(rng, field), field.labels


def _blob(rng: np.random.Generator, size: int, share: float, wavelength: float) -> NDArray[np.bool_]:
    """Draw a region with a wavy border that covers about `share` of the field."""
    field = smooth_field(rng, size, wavelength) + 0.25 * smooth_field(rng, size, wavelength / 4)
    blob: NDArray[np.bool_] = field > np.quantile(field, 1 - share)
    return blob


def _lay_out(rng: np.random.Generator, field: TissueField) -> None:
    """Choose two or three compartments beside the stroma; over many fields each class gets a like share."""
    kinds = rng.permutation([TUMOUR, LYMPHOID, FAT, GLASS])[: rng.integers(1, 4)]
    for kind in kinds:
        share = rng.uniform(0.12, 0.34) if kind == GLASS else rng.uniform(0.22, 0.6)
        field.labels[_blob(rng, field.size, share, rng.uniform(60, 140))] = kind


def _stain(rng: np.random.Generator, field: TissueField) -> NDArray[np.uint8]:
    """Concentrations to a camera image: stain, optics, sensor noise."""
    immuno = bool(rng.random() < 0.35)
    mix = draw_stain_mix(rng, immuno=immuno)
    eosin = (
        field.cytoplasm * (1 + 0.12 * smooth_field(rng, field.size, 40)) * np.clip(1.2 - field.nuclei, 0.2, 1)
    )
    brown = np.zeros_like(eosin)
    if immuno:
        marked = field.labels == rng.choice([STROMA, GLAND, TUMOUR, TUMOUR, LYMPHOID])
        uneven = np.clip(0.9 + 0.35 * smooth_field(rng, field.size, 25), 0.1, None)
        brown = (
            np.where(marked, rng.uniform(0.8, 1.8), rng.uniform(0.03, 0.2)) * field.cytoplasm * uneven
        ).astype(np.float32)
    light = transmit(np.stack([field.nuclei, eosin, brown]).astype(np.float32), mix)
    light = gaussian_filter(light, (sigma := float(rng.uniform(0.45, 0.9)), sigma, 0))
    light += rng.normal(0, rng.uniform(0.006, 0.02), light.shape).astype(np.float32)
    image: NDArray[np.uint8] = np.clip(255 * light + 0.5, 0, 255).astype(np.uint8)
    return image
