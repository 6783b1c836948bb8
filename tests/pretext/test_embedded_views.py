"""Every embedded encoder shows its task on the real samples, out of the box."""

import numpy as np
import pytest

import napari_sslmaps as ssl
from napari_sslmaps.core.pretext_views import (
    PredictionView,
    ReconstructionView,
    RestorationView,
    ViewsView,
    upsampled,
)
from napari_sslmaps.encoders.catalog import ALIASES, EMBEDDED
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.sources.samples import SAMPLES

KINDS = {"mae": ReconstructionView, "ijepa": PredictionView, "dinov3": ViewsView, "dira": RestorationView}


@pytest.fixture(scope="module")
def samples():
    return {key: sample.open() for key, sample in SAMPLES.items()}


@pytest.fixture(scope="module")
def views(samples):
    return {
        name: ssl.pretext_view(samples[name.partition("-")[2]], name, fit="resize", seed=1)
        for name in EMBEDDED
    }


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_view_has_panels_that_lie_on_the_region(samples, views, name):
    view = views[name]
    assert isinstance(view, KINDS[name.partition("-")[0]])
    assert view.provenance.encoder == name
    assert len(view.provenance.weights_sha256) == len(view.provenance.image_sha256) == 64
    assert len({panel.name for panel in view.panels}) == len(view.panels) >= 3
    for panel in view.panels:
        finite = panel.values[np.isfinite(panel.values)]
        assert finite.size
        assert panel.values.dtype == np.float32
        low, high = (0.0, 1.0) if panel.limits is None or panel.name == "error" else panel.limits
        if panel.name != "discriminator":  # least squares bind scores to no range
            assert low <= finite.min() <= finite.max() <= high
        placed = view.placed(panel)
        # pixels of the sample per pixel that is read: ultrasound at 192 px across, as trained
        factor = min(samples[name.partition("-")[2]].levels[0].shape_yx) / 192 if "ultra" in name else 1.0
        assert view.provenance.resolution == ("192 px across" if "ultra" in name else "")
        np.testing.assert_allclose(placed.origin_yx, np.multiply((view.region.y, view.region.x), factor))
        sides = (placed.rows * placed.stride_yx[0], placed.cols * placed.stride_yx[1])
        np.testing.assert_allclose(sides, np.multiply(view.region.shape_yx, factor))
        assert panel.values.shape[0] * panel.stride == view.picture.shape[0]


@pytest.mark.parametrize("name", [name for name in EMBEDDED if name.startswith("mae")])
def test_mae_paints_hidden_patches_better_than_the_brightness_it_is_given(views, name):
    view = views[name]
    hidden = upsampled(view.mask, view.error.shape)
    preset = get_normalisation("imagenet")
    blocks = ((view.picture - preset.mean) / preset.std).reshape(16, 8, 16, 8, 3)
    given = np.broadcast_to(blocks.mean(axis=(1, 3, 4), keepdims=True), blocks.shape)
    painted = given.reshape(view.picture.shape) * preset.std + preset.mean
    blind = np.abs(painted - view.picture).mean(axis=-1)
    assert view.error[hidden].mean() < 0.95 * blind[hidden].mean()


@pytest.mark.parametrize("name", [name for name in EMBEDDED if name.startswith("dira")])
def test_dira_restores_what_was_cut_out(views, name):
    view = views[name]
    changed = (view.distorted != view.picture).any(axis=-1)
    grey = np.float32((0.299, 0.587, 0.114))
    left = np.abs(view.distorted @ grey - view.picture @ grey)
    assert view.error[changed].mean() < 0.6 * left[changed].mean()
    assert not any("mirrored" in note for note in view.notes)


def test_ijepa_predicts_more_than_the_mean_token_of_ultrasound(views):
    assert np.nanmean(views["ijepa-ultrasound"].centred) > 0.3


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_shows_what_its_original_does(samples, views, alias):
    view = ssl.pretext_view(samples["histology"], alias, fit="resize", seed=1)
    for own, other in zip(view.panels, views[ALIASES[alias]].panels, strict=True):
        np.testing.assert_array_equal(own.values, other.values)
