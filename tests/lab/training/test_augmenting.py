from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.color import hed2rgb, rgb2hed

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.augmenting import (
    Augmentation,
    add_speckle,
    attenuate,
    augment,
    cut_to_sector,
    jitter_stains,
)
from napari_sslmaps.lab.training.numerics import TrainingPosition
from napari_sslmaps.lab.training.objectives import build_objective

from .conftest import tiny_recipe
from .tiny import seeded, some_fields

_ALL = Augmentation(stain=0.3, attenuation=0.4, speckle=0.3, sector=0.5)


def grey(count=8, side=24):
    return torch.rand(count, 1, side, side, generator=seeded(1)).expand(-1, 3, -1, -1).contiguous()


def test_stains_are_scaled_as_scikit_image_unmixes_them():
    amounts = np.random.default_rng(0).uniform(0.02, 0.05, (12, 12, 3))
    section = hed2rgb(amounts)
    image = torch.from_numpy(section).float().permute(2, 0, 1)[None]
    jittered = jitter_stains(image, seeded(3), 0.2)[0].permute(1, 2, 0).double().numpy()
    draws = seeded(3)
    factor, shift = (torch.randn(1, 3, generator=draws).double().numpy() for _ in range(2))
    expected = rgb2hed(section) * np.exp(0.2 * factor) + 0.04 * shift / -np.log(1e-6)
    assert (expected > 0).all()  # else scikit-image would clip it
    np.testing.assert_allclose(jittered, hed2rgb(expected), atol=2e-3)


def test_grey_images_keep_their_stain():
    assert torch.equal(jitter_stains(grey(), seeded(), 0.5), grey())


def test_the_gain_changes_with_depth_alone():
    even = torch.full((200, 3, 32, 8), 0.4)
    changed = attenuate(even, seeded(), 0.3)
    assert float(changed.std(dim=(1, 3)).max()) < 1e-6
    slope = (changed[:, 0, -1, 0] / changed[:, 0, 0, 0]).log() * 32 / 31
    assert float(slope.std()) == pytest.approx(0.3, rel=0.2)
    assert float(changed[:, 0, 15:17, 0].mean(dim=1).sub(0.4).abs().max()) < 0.01


def test_speckle_keeps_black_black_and_channels_equal():
    images = grey()
    images[:, :, :12] = 0
    speckled = add_speckle(images, seeded(), 0.5)
    assert float(speckled[:, :, :12].abs().max()) == 0
    assert torch.equal(speckled[:, 0], speckled[:, 2])
    assert float((speckled - images).abs().mean()) > 0.01


def test_a_sector_is_black_outside_and_untouched_inside():
    images = torch.full((400, 3, 32, 32), 0.5)
    cut = cut_to_sector(images, seeded(), 0.25)
    assert set(cut.unique().tolist()) == {0.0, 0.5}
    black = (cut[:, 0] == 0).float().mean(dim=(1, 2))
    assert float((black > 0).float().mean()) == pytest.approx(0.25, abs=0.08)
    assert float(black.max()) < 0.8
    corners, middle = cut[black > 0][:, 0, 0, 0], cut[black > 0][:, 0, 20, 16]
    assert float((corners == 0).float().mean()) > 0.7
    assert float((middle > 0).float().mean()) > 0.8


def test_images_stay_in_range_and_nothing_asked_for_draws_nothing():
    images, generator = some_fields(4), seeded()
    before = generator.get_state()
    assert augment(images, Augmentation(), generator) is images
    assert torch.equal(generator.get_state(), before)
    varied = augment(images, _ALL, seeded())
    assert varied.shape == images.shape
    assert float(varied.min()) >= 0
    assert float(varied.max()) <= 1
    assert torch.equal(varied, augment(images, _ALL, seeded()))


@pytest.mark.parametrize("values", [{"stain": -0.1}, {"sector": 1.5}])
def test_strengths_out_of_range_are_refused(values):
    with pytest.raises(InvalidOptionError, match=r"Expected \[augment\] with strengths of at least 0"):
        Augmentation(**values)


def test_depth_wants_upright_crops():
    recipe = tiny_recipe("mae")
    with pytest.raises(InvalidOptionError, match=r"Expected upright = true in .crop. with attenuation"):
        replace(recipe, augment=Augmentation(sector=0.2))
    upright = replace(recipe.crop, upright=True)
    assert replace(recipe, crop=upright, augment=_ALL).augment.has_depth


def test_every_method_sees_what_the_recipe_varies(method):
    recipe = tiny_recipe(method)
    recipe = replace(recipe, crop=replace(recipe.crop, upright=True))
    losses = []
    for chosen in (Augmentation(), _ALL):
        objective = build_objective(replace(recipe, augment=chosen))
        seen = objective.loss(some_fields(2), TrainingPosition(0, 10), seeded())
        losses.append(seen["total"].item())
    assert losses[0] != losses[1]
