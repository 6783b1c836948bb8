"""Whole fields of simulated ultrasound."""

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_sslmaps.core.region import Region
from napari_sslmaps.lab.simulators.anatomy import FLUID, OUTSIDE, PARENCHYMA, SHADOW
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.lab.simulators.ultrasound import simulate_ultrasound
from napari_sslmaps.sources.samples import SAMPLES

FIELDS = [simulate_ultrasound(field_seed(8, index), 96) for index in range(60)]


def test_outside_of_the_sector_is_black():
    for image, labels in FIELDS:
        assert not image[labels == OUTSIDE].any()


def test_most_fields_are_mostly_tissue():
    outside = np.array([(labels == OUTSIDE).mean() for _, labels in FIELDS])
    assert outside.max() <= 0.5
    assert np.median(outside) < 0.15
    assert (outside > 0.05).mean() > 0.2


def test_fluid_and_shadow_are_darker_than_tissue_nearly_always():
    for dark in (FLUID, SHADOW):
        pairs = [
            (image[labels == dark].mean(), image[labels == PARENCHYMA].mean())
            for image, labels in FIELDS
            if (labels == dark).sum() > 200 and (labels == PARENCHYMA).sum() > 200
        ]
        assert len(pairs) > 10
        assert np.mean([low < high for low, high in pairs]) > 0.85


def test_shadows_reach_the_bottom():
    """A shadow ends where the field or the sector ends, not above."""
    for image, labels in FIELDS:
        inside = labels != OUTSIDE
        if not (labels == SHADOW).any() or not inside.all():
            continue
        assert (labels[-1] == SHADOW).any() or (labels[:, [0, -1]] == SHADOW).any(), image.shape


def test_scanners_differ():
    """Grey level and speckle size vary between fields as between clinics."""
    levels = [image[labels == PARENCHYMA].mean() for image, labels in FIELDS if (labels == PARENCHYMA).any()]
    assert np.std(levels) > 12
    grain = []
    for image, labels in FIELDS:
        grey = image[..., 0].astype(float)
        inner = (labels == PARENCHYMA)[:, :-2] & (labels == PARENCHYMA)[:, 2:]
        if inner.sum() > 1000:
            difference = (grey[:, :-2] - grey[:, 2:])[inner].std()
            grain.append(difference / grey[labels == PARENCHYMA].std())
    assert np.std(grain) > 0.1


def grain(grey: np.ndarray, where: np.ndarray) -> list[float]:
    """Distance in pixels, down and across, at which speckle's correlation has fallen to one half."""
    background = gaussian_filter(grey * where, 8) / np.maximum(gaussian_filter(where.astype(float), 8), 1e-3)
    left = (grey - background) * where
    found = []
    for axis in (0, 1):
        size = left.shape[axis]
        likeness = [1.0]
        for shift in range(1, 12):
            moved, still = (np.arange(*span) for span in ((shift, size), (0, size - shift)))
            both = where.take(moved, axis) & where.take(still, axis)
            product = (left.take(moved, axis) * left.take(still, axis))[both]
            likeness.append(float(product.mean() / (left[where] ** 2).mean()))
        found.append(float(np.interp(-0.5, -np.minimum.accumulate(likeness), np.arange(12))))
    return found


def test_speckle_is_as_coarse_as_in_the_real_clip():
    """The myocardium near the apex of the real heart lies among simulated tissue, in both directions."""
    apex = SAMPLES["ultrasound"].open().read(Region(45, 140, 50, 60)).mean(axis=2)
    real = grain(apex, np.ones(apex.shape, dtype=bool))
    simulated = [
        grain(image[..., 0].astype(float), labels == PARENCHYMA)
        for image, labels in FIELDS
        if (labels == PARENCHYMA).sum() > 2000
    ]
    assert len(simulated) > 20
    low, high = np.percentile(simulated, [5, 95], axis=0)
    assert (low < real).all(), (low, real)
    assert (real < high).all(), (real, high)


def test_a_seed_s_field_stays_what_it_was():
    """Training sets are named by their seeds; the tolerance is for other versions of numpy."""
    image, _ = simulate_ultrasound(field_seed(0, 1), 64)
    coarse = image[..., 0].reshape(4, 16, 4, 16).mean(axis=(1, 3))
    expected = [
        [27.8, 45.2, 45.2, 52.1],
        [85.4, 64.8, 43.9, 26.7],
        [72.9, 112.7, 86.6, 47.6],
        [19.3, 41.6, 38.1, 41.6],
    ]
    np.testing.assert_allclose(coarse, expected, atol=1.5)
