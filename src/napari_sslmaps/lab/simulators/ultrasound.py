"""Simulated B-mode ultrasound: anatomy, speckle, attenuation, scan conversion, log compression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.lab.simulators.anatomy import OUTSIDE, SHADOW, Anatomy, Mask
from napari_sslmaps.lab.simulators.fields import FloatArray, smooth_field
from napari_sslmaps.lab.simulators.organs import (
    bones,
    paint_body_wall,
    paint_heart,
    paint_kidney,
    paint_lesions,
    paint_parenchyma,
    paint_pool,
    paint_vessels,
)
from napari_sslmaps.lab.simulators.scanner import acquire, draw_settings
from napari_sslmaps.lab.simulators.transducer import (
    BeamSpace,
    Transducer,
    depth_and_angle,
    draw_transducer,
    sample_beams,
)


def simulate_ultrasound(
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
        (size, size, 3) uint8, three equal channels.
    labels
        (size, size) uint8, values index `CLASSES`.

    Examples
    --------
    >>> import numpy as np
    >>> image, labels = simulate_ultrasound(np.random.default_rng(0), 64)
    >>> image.shape, labels.shape
    ((64, 64, 3), (64, 64))
    """
    transducer, depth, angle, space = _look(rng, size)
    labels = np.empty((size, size), dtype=np.uint8)
    across = angle * np.float32(transducer.radius + 0.5 * size)
    zoom = rng.uniform(0.7, 1.3)
    wall = depth + rng.uniform(0.8, 3.0) * smooth_field(rng, size, 60 * zoom) - rng.uniform(22, 64) * zoom
    field = Anatomy(labels, np.empty_like(depth), depth, across, space.inside, zoom, wall.astype(np.float32))
    bone = _lay_out(rng, field)
    settings = draw_settings(rng, size)
    picture, shadow = acquire(rng, field, bone, space, settings)
    labels[shadow] = SHADOW
    labels[~space.inside] = OUTSIDE
    picture[~space.inside] = 0
    grey = np.clip(255 * picture + 0.5, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2), labels


def _look(rng: np.random.Generator, size: int) -> tuple[Transducer, FloatArray, FloatArray, BeamSpace]:
    """Draw a transducer that sees most of the field."""
    wanted = 0.5 if rng.random() < 0.3 else 0.75
    while True:
        transducer = draw_transducer(rng, size)
        depth, angle = depth_and_angle(transducer, size)
        space = sample_beams(transducer, depth, angle)
        if float(space.inside.mean()) >= wanted:
            return transducer, depth, angle, space


def _lay_out(rng: np.random.Generator, field: Anatomy) -> Mask:
    """Choose what is there; over many fields each class gets a like share. Return where bone is."""
    paint_parenchyma(rng, field)
    kidney, vessels, pool, lesions = rng.random(4) < (0.6, 0.5, 0.45, 0.6)
    if rng.random() < 0.3:
        paint_heart(rng, field)
    else:
        if kidney:
            paint_kidney(rng, field)
        if vessels:
            paint_vessels(rng, field)
        if pool:
            paint_pool(rng, field)
        lesions = lesions or not (kidney or pool)
    if lesions:
        paint_lesions(rng, field)
    if float(field.depth[field.visible].min()) < 12:
        paint_body_wall(rng, field)
    if rng.random() < 0.5:
        return bones(rng, field)
    return np.zeros_like(field.visible)
