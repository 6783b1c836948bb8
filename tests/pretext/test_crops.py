"""DINO's, DINOv2's and DINOv3's views against transformers, and what must hold for any crops and masks."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_transformers import IMAGENET, random_model, save_folder

from napari_sslmaps.core.pretext_views import Crop, ViewsView
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.pretext.view import pretext_view

SHARED = settings(max_examples=15)
KINDS = ["dinov3_vit", "dinov2", "dinov2_with_registers"]


def normalised(picture):
    mean, std = (torch.tensor(IMAGENET[key]) for key in ("image_mean", "image_std"))
    return ((torch.from_numpy(picture) - mean) / std).permute(2, 0, 1)[None]


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    """A model of transformers with random weights, and ours loaded from the folder it was saved to."""
    folder = tmp_path_factory.mktemp("saved")
    model = random_model(request.param)
    save_folder(model, folder, preprocessor=IMAGENET)
    return model, load_encoder(folder, device="cpu", precision="float32")


def test_hidden_patches_are_predicted_as_transformers_do(saved, image):
    model, encoder = saved
    region = (8, 16, 32, 32)
    mask = np.zeros((4, 4), bool)
    mask[1:3, 2:] = mask[3, 0] = True
    view = pretext_view(image, encoder, mask, region=region)
    assert isinstance(view, ViewsView)
    pixels = normalised(view.picture)
    with torch.inference_mode():
        whole = model(pixels).last_hidden_state[0, -16:]
        guess = model(pixels, bool_masked_pos=torch.from_numpy(mask.reshape(1, -1))).last_hidden_state[
            0, -16:
        ]
    expected = torch.nn.functional.cosine_similarity(guess, whole, dim=-1).numpy().reshape(4, 4)
    np.testing.assert_allclose(view.patch_agreement[mask], expected[mask], atol=1e-5)
    assert np.isnan(view.patch_agreement[~mask]).all()
    assert expected[mask].max() < 0.9


def test_crops_are_compared_by_transformers_cls_tokens(saved, image):
    model, encoder = saved
    crops = [
        Crop(Region(8, 16, 64, 64), "global"),
        Crop(Region(30, 40, 32, 32), "global"),
        Crop(Region(40, 20, 20, 20), "local"),
    ]
    view = pretext_view(image, encoder, region=(8, 16, 64, 64), fit="whole", crops=crops)
    large = 224 if encoder.spec.method == "dinov3" else 32  # of rotary positions no grid tells the side
    small = {224: 96, 32: 16}[large]  # 96 to 224, in whole patches
    tokens = []
    for crop, side in zip(crops, (large, large, small), strict=True):
        y, x, size = crop.region.y - 8, crop.region.x - 16, crop.region.height
        pixels = torch.from_numpy(view.picture[y : y + size, x : x + size]).permute(2, 0, 1)[None]
        pixels = torch.nn.functional.interpolate(pixels, size=side, mode="bilinear", antialias=True)
        with torch.inference_mode():
            found = model(normalised(pixels[0].permute(1, 2, 0).numpy())).last_hidden_state[0, 0]
        tokens.append(found / found.norm())
    expected = torch.stack(tokens) @ torch.stack(tokens).T
    np.testing.assert_allclose(view.agreement, expected.numpy(), atol=2e-5)


def test_a_grid_of_another_shape_is_masked_too(saved, image):
    _, encoder = saved
    view = pretext_view(image, encoder, region=(0, 0, 40, 88), fit="whole", seed=1)
    assert view.grid.shape == view.mask.shape == (5, 11)
    assert view.mask.sum() == round(0.3 * 55)
    assert np.isfinite(view.patch_agreement).sum() == view.mask.sum()


@SHARED
@given(data=st.data())
def test_agreement_is_a_matrix_of_cosines_with_globals_first(image, encoders, data):
    crops = []
    for _ in range(data.draw(st.integers(2, 5))):
        height, width = data.draw(st.integers(1, 64)), data.draw(st.integers(1, 64))
        place = Region(
            16 + data.draw(st.integers(0, 64 - height)),
            24 + data.draw(st.integers(0, 64 - width)),
            height,
            width,
        )
        crops.append(Crop(place, data.draw(st.sampled_from(["global", "local"]))))
    view = pretext_view(image, encoders["dinov3"], crops=crops)
    kinds = [crop.kind for crop in view.crops]
    assert kinds == sorted(kinds)  # global before local
    assert sorted(map(str, view.crops)) == sorted(map(str, crops))
    np.testing.assert_allclose(view.agreement, view.agreement.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(view.agreement), 1, atol=1e-5)
    assert view.agreement.min() >= -1
    assert view.agreement.max() <= 1
    painted = np.isfinite(view.crop_map)
    if "global" in kinds:
        for crop in view.crops:
            y, x = crop.region.y - 16, crop.region.x - 24
            if crop.kind == "local":
                assert painted[y : y + crop.region.height, x : x + crop.region.width].all()
    else:
        assert not painted.any()


def test_a_local_crop_is_painted_with_its_mean_agreement_with_the_global_ones(image, encoders):
    crops = [
        Crop(Region(16, 24, 64, 64), "global"),
        Crop(Region(20, 28, 48, 48), "global"),
        Crop(Region(30, 40, 20, 24), "local"),
    ]
    view = pretext_view(image, encoders["dinov3"], crops=crops)
    expected = np.full((64, 64), np.nan)
    expected[14:34, 16:40] = view.agreement[2, :2].mean()
    np.testing.assert_allclose(view.crop_map, expected, rtol=1e-6)


def test_a_resampled_picture_shows_crops_where_they_lie(image, encoders):
    """The square of 96 px is brought to 64: a crop of its right half covers half of the picture."""
    crops = [Crop(Region(0, 8, 96, 96), "global"), Crop(Region(0, 56, 96, 48), "local")]
    view = pretext_view(image, encoders["dinov3"], crops=crops, fit="resize")
    painted = np.isfinite(view.crop_map)
    assert painted[:, 32:].all()
    assert not painted[:, :32].any()


def test_drawn_crops_lie_on_what_is_looked_at_and_repeat(image, encoders):
    first, again, other = (pretext_view(image, encoders["dinov3"], seed=seed) for seed in (0, 0, 1))
    assert [crop.kind for crop in first.crops] == ["global"] * 2 + ["local"] * 6
    assert first.crops[0].region == first.region
    assert first.crops == again.crops != other.crops
    np.testing.assert_array_equal(first.mask, again.mask)
    for crop in other.crops:
        assert crop.region.height == crop.region.width
        y, x = crop.region.y - 16, crop.region.x - 24
        assert min(y, x) >= 0
        assert max(y, x) + crop.region.height <= 64


def test_without_a_mask_token_crops_alone_are_compared(image):
    view = pretext_view(image, "dinov3-untrained")
    assert view.mask is view.masked is view.patch_agreement is None
    assert "no mask token" in view.notes[0]
    assert [panel.name for panel in view.panels] == ["view agreement"]


def test_the_hidden_share_can_be_chosen(image, encoders):
    assert pretext_view(image, encoders["dinov3"], ratio=0.5).mask.sum() == 32


def numbers(note):
    return [float(found) for found in re.findall(r"-?\d\.\d\d", note)]


def test_the_notes_tell_what_agrees_without_knowing_the_place(image, encoders):
    mask = np.zeros((8, 8), bool)
    mask[2, 3] = True
    crops, patches, _ = pretext_view(image, encoders["dinov3"], mask).notes
    assert "local and global crops" in crops
    assert "other hidden places" not in patches
    mask[5, 5] = True
    view = pretext_view(image, encoders["dinov3"], mask)
    own, _ = numbers(view.notes[1])
    assert own == pytest.approx(view.patch_agreement[mask].mean(), abs=0.006)
    assert numbers(view.notes[0])[0] == pytest.approx(view.agreement[2:, :2].mean(), abs=0.006)


def test_files_without_heads_are_compared_by_their_tokens_alone(saved, image):
    _, encoder = saved
    (note,) = pretext_view(image, encoder, region=(8, 16, 32, 32)).notes
    assert note.startswith("Mean cosine of hidden patches")
