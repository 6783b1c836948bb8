"""MAE's view against transformers' ViTMAE, and what must hold for any mask."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_transformers import IMAGENET, random_model, save_folder
from test_heads import headed

from napari_sslmaps.core.pretext_views import ReconstructionView, upsampled
from napari_sslmaps.encoders.checkpoint.read import read_pretext_heads
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError
from napari_sslmaps.pretext.view import pretext_view

from .conftest import made

SHARED = settings(max_examples=15)


@pytest.fixture(scope="module", params=[False, True], ids=["pixels", "normalised pixels"])
def saved(request, tmp_path_factory):
    """ViTMAE with random weights, and ours loaded from the folder it was saved to."""
    folder = tmp_path_factory.mktemp("saved")
    model = random_model("vit_mae", norm_pix_loss=request.param)
    save_folder(model, folder, preprocessor=IMAGENET)
    return model, load_encoder(folder, device="cpu", precision="float32"), folder


def their_reconstruction(model, picture, mask):
    """What transformers' model predicts, pasted into the picture by the paper's definition."""
    mean, std = (torch.tensor(IMAGENET[key]) for key in ("image_mean", "image_std"))
    images = ((torch.from_numpy(picture) - mean) / std).permute(2, 0, 1)[None]
    model.config.mask_ratio = float(mask.mean())
    with torch.inference_mode():
        noise = torch.from_numpy(mask.reshape(1, -1)).float()  # the smallest noise stays visible
        predicted = model(images, noise=noise).logits
        patches = model.patchify(images)
        if model.config.norm_pix_loss:
            predicted = predicted * (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
            predicted = predicted + patches.mean(dim=-1, keepdim=True)
        hidden = torch.from_numpy(mask.reshape(1, -1, 1))
        pasted = model.unpatchify(torch.where(hidden, predicted, patches))
    return (pasted[0].permute(1, 2, 0) * std + mean).clamp(0, 1).numpy()


def test_the_reconstruction_is_transformers(saved, image):
    model, encoder, _ = saved
    view = pretext_view(image, encoder, seed=3)
    assert isinstance(view, ReconstructionView)
    assert view.grid.shape == (4, 4)
    expected = their_reconstruction(model, view.picture, view.mask)
    np.testing.assert_allclose(view.reconstruction, expected, atol=1e-5)
    assert np.abs(view.reconstruction - view.picture).max() > 0.05


def test_the_notes_say_whether_the_true_mean_leaks(saved, image):
    model, encoder, _ = saved
    leaks = any("taken from the hidden" in note for note in pretext_view(image, encoder).notes)
    assert leaks == model.config.norm_pix_loss


def test_what_the_file_says_of_pixels_can_be_corrected(saved, image):
    model, encoder, _ = saved
    told, corrected = (
        pretext_view(image, encoder, norm_pix=wanted) for wanted in (None, not model.config.norm_pix_loss)
    )
    assert np.abs(told.reconstruction - corrected.reconstruction).max() > 0.05
    same = pretext_view(image, encoder, norm_pix=model.config.norm_pix_loss)
    np.testing.assert_array_equal(told.reconstruction, same.reconstruction)


def test_the_colours_that_come_back_from_a_grey_image_are_told_as_an_error(saved, image):
    model, encoder, _ = saved
    grey = np.repeat(image[..., :1], 3, axis=-1)
    told = [
        any("any colour is an error" in note for note in pretext_view(pixels, encoder).notes)
        for pixels in (image, grey)
    ]
    assert told == [False, model.config.norm_pix_loss]


def test_a_file_that_does_not_tell_is_taken_for_pixels_and_says_so(image, tmp_path):
    model = random_model("vit_mae", norm_pix_loss=True)
    folder = save_folder(model, tmp_path, preprocessor=IMAGENET)
    config = json.loads((folder / "config.json").read_text())
    for key in ("norm_pix_loss", "decoder_num_attention_heads"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    view = pretext_view(image, load_encoder(folder, device="cpu", precision="float32"))
    assert any("norm_pix=True" in note for note in view.notes)


def bare_file(folder, encoder, *, decoder_rows=None):
    """Write encoder and decoder as MAE's own code does: no word of the decoder's heads."""
    state = encoder.extractor.network.state_dict() | dict(read_pretext_heads(folder).state)
    if decoder_rows is not None:
        state |= {f"decoder_{name}": value for name, value in decoder_rows.items()}
    torch.save({"model": state}, folder / "checkpoint.pth")
    known = {"num_heads": 3, "eps": encoder.spec.architecture.eps, "normalisation": "imagenet"}
    return load_encoder(folder / "checkpoint.pth", device="cpu", precision="float32", **known)


def test_the_heads_of_a_decoder_can_be_given(image, tmp_path):
    model = random_model("vit_mae", norm_pix_loss=False)
    folder = save_folder(model, tmp_path / "folder", preprocessor=IMAGENET)
    told = load_encoder(folder, device="cpu", precision="float32")
    bare = bare_file(folder, told)
    (folder / "config.json").unlink()  # it would be read beside any file of the folder
    expected = their_reconstruction(
        model, *(getattr(pretext_view(image, bare), name) for name in ("picture", "mask"))
    )
    guessed, given = pretext_view(image, bare), pretext_view(image, bare, decoder_heads=4)
    assert any("decoder_blocks; 2 are assumed" in note for note in guessed.notes)
    assert not any("heads" in note for note in given.notes)
    np.testing.assert_allclose(given.reconstruction, expected, atol=1e-5)
    assert np.abs(guessed.reconstruction - expected).max() > 1e-3
    with pytest.raises(InvalidOptionError, match="at least one head of the decoder"):
        pretext_view(image, bare, decoder_heads=0)
    with pytest.raises(InvalidOptionError, match="heads that divides the width 64; got 5"):
        pretext_view(image, bare, decoder_heads=5)


def test_the_heads_of_a_decoder_are_read_off_its_weights(image, tmp_path):
    folder = save_folder(random_model("vit_mae"), tmp_path / "folder", preprocessor=IMAGENET)
    told = load_encoder(folder, device="cpu", precision="float32")
    bare = bare_file(folder, told, decoder_rows=headed(64, 4, strength=0.7))
    (folder / "config.json").unlink()
    assert any("4 are what its weights speak for" in note for note in pretext_view(image, bare).notes)


@SHARED
@given(data=st.data())
def test_visible_pixels_come_back_exactly_and_errors_are_where_patches_are_hidden(image, encoders, data):
    rows, cols = data.draw(st.sampled_from([(64, 64), (40, 88), (96, 112)]))
    count = (rows // 8) * (cols // 8)
    hidden = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
    mask = np.isin(np.arange(count), list(hidden)).reshape(rows // 8, cols // 8)
    view = pretext_view(image[:rows, :cols], encoders["mae"], mask, fit="whole")
    np.testing.assert_array_equal(view.mask, mask)
    shown = upsampled(mask, (rows, cols))
    np.testing.assert_array_equal(view.reconstruction[~shown], view.picture[~shown])
    np.testing.assert_array_equal(view.masked[shown], np.float32(0.5))
    np.testing.assert_array_equal(view.masked[~shown], view.picture[~shown])
    assert view.error[~shown].max() == 0
    for values in (view.reconstruction, view.error):
        assert values.dtype == np.float32
        assert 0 <= values.min() <= values.max() <= 1
    np.testing.assert_allclose(view.error, np.abs(view.reconstruction - view.picture).mean(-1), atol=1e-6)


def test_what_is_hidden_has_no_influence_but_through_its_mean_and_contrast(image, tmp_path):
    encoder = made(tmp_path, "mae", norm_pix_loss=False)
    view = pretext_view(image, encoder, seed=5)
    changed = image.copy()
    rows, cols = np.nonzero(view.mask)
    y, x = view.region.y + 8 * rows[0], view.region.x + 8 * cols[0]
    changed[y : y + 8, x : x + 8] = 0
    again = pretext_view(changed, encoder, seed=5)
    shown = upsampled(view.mask, view.picture.shape[:2])
    np.testing.assert_array_equal(again.reconstruction[shown], view.reconstruction[shown])


def test_equal_seeds_give_equal_views_and_others_other_masks(image, encoders):
    first, again, other = (pretext_view(image, encoders["mae"], seed=seed) for seed in (2, 2, 3))
    np.testing.assert_array_equal(first.reconstruction, again.reconstruction)
    assert first.provenance == again.provenance
    assert (first.mask != other.mask).any()
    assert first.mask.mean() == other.mask.mean() == 0.75
    assert pretext_view(image, encoders["mae"], ratio=0.25).mask.mean() == 0.25


def test_the_error_is_told_beside_that_of_a_blind_guess(image, tmp_path):
    """With normalised pixels a prediction of 0 paints a patch in the mean of its normalised channels."""
    encoder = made(tmp_path, "mae", norm_pix_loss=True)
    flat = np.full_like(image, 90)
    flat[:, ::2] = 140
    mean, std = (np.array(IMAGENET[key]) for key in ("image_mean", "image_std"))
    levels = np.array([[90], [140]]) / 255
    painted = ((levels - mean) / std).mean() * std + mean
    note = pretext_view(flat, encoder).notes[0]
    assert note.endswith(f"would be {np.abs(painted - levels).mean():.3f}.")


def test_a_ratio_that_hides_no_patch_is_refused(image, encoders):
    with pytest.raises(InvalidOptionError, match="hides some of the 64 patches"):
        pretext_view(image, encoders["mae"], ratio=0.001)


def test_an_untrained_control_has_no_decoder(image):
    with pytest.raises(MapUnavailableError, match="mae-untrained is an untrained control"):
        pretext_view(image, "mae-untrained")


def test_a_file_without_a_decoder_says_which_files_have_one(image, tmp_path):
    from encoders_factory import write_encoder

    encoder = load_encoder(write_encoder(tmp_path / "alone.safetensors"), precision="float32", device="cpu")
    with pytest.raises(MapUnavailableError, match="mae_visualize"):
        pretext_view(image, encoder)
