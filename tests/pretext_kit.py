"""Pretext views made by hand, without a network."""

import numpy as np

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.pretext_views import (
    Crop,
    PredictionView,
    ReconstructionView,
    RestorationView,
    TokenBlock,
    ViewsView,
    upsampled,
)
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Provenance

SIDE, STRIDE = 64, 8
REGION = Region(32, 48, SIDE, SIDE)
GRID = TokenGrid.covering(REGION, STRIDE)


def picture(seed=0):
    return np.random.default_rng(seed).random((SIDE, SIDE, 3), dtype=np.float32)


def common(method):
    return {
        "method": method,
        "region": REGION,
        "grid": GRID,
        "picture": picture(),
        "notes": ("a sentence",),
        "provenance": Provenance(encoder=f"{method}-made", method=method, region=REGION),
    }


def reconstruction():
    mask = np.random.default_rng(1).random(GRID.shape) < 0.75
    hidden = upsampled(mask, (SIDE, SIDE))[..., None]
    guess = np.where(hidden, picture(2), picture())
    error = np.abs(guess - picture()).mean(axis=-1)
    masked = np.where(hidden, np.float32(0.5), picture())
    return ReconstructionView(**common("mae"), mask=mask, masked=masked, reconstruction=guess, error=error)


def prediction():
    targets = (TokenBlock(1, 1, 3, 2), TokenBlock(4, 5, 2, 3))
    inside = np.zeros(GRID.shape, bool)
    for block in targets:
        inside[block.row : block.row + block.height, block.col : block.col + block.width] = True
    draw = np.random.default_rng(3)
    agreement = np.where(inside, draw.random(GRID.shape), np.nan).astype(np.float32)
    predicted, actual = (
        np.where(inside[..., None], draw.random((*GRID.shape, 3)), np.nan).astype(np.float32)
        for _ in range(2)
    )
    return PredictionView(
        **common("ijepa"),
        targets=targets,
        context=~inside,
        agreement=agreement,
        predicted=predicted,
        actual=actual,
    )


def views(*, patches=True):
    crops = (
        Crop(REGION, "global"),
        Crop(REGION.part(4, 4, 56, 56), "global"),
        Crop(REGION.part(0, 0, 24, 24), "local"),
        Crop(REGION.part(32, 32, 24, 24), "local"),
    )
    agreement = np.eye(4, dtype=np.float32) * 0.5 + 0.5
    if not patches:
        return ViewsView(**common("dinov3"), crops=crops, agreement=agreement)
    made = reconstruction()
    shown = np.where(made.mask, np.float32(0.7), np.float32(np.nan))
    return ViewsView(
        **common("dinov3"),
        crops=crops,
        agreement=agreement,
        mask=made.mask,
        masked=made.masked,
        patch_agreement=shown,
    )


def restoration():
    grey = picture().mean(axis=-1)
    return RestorationView(
        **common("dira"),
        distorted=picture(5),
        restoration=grey * np.float32(0.9),
        error=np.abs(grey * np.float32(0.1)),
        scores=np.full((7, 7), 0.6, np.float32),
        score_stride=SIDE / 7,
    )


def all_views():
    return [reconstruction(), prediction(), views(), restoration()]
