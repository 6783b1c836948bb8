"""DiRA's view against segmentation-models-pytorch's U-Net, its distortions, its judge, its mirror."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

from napari_sslmaps.core.pretext_views import RestorationView
from napari_sslmaps.encoders.pretext_heads.reading import pretext_heads_of
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import MapUnavailableError
from napari_sslmaps.pretext.dira import mirror_note
from napari_sslmaps.pretext.view import pretext_view

from .conftest import made

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


def random_unet(name="resnet18", **options):
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        model = smp.Unet(name, encoder_weights=None, decoder_channels=(32, 16, 16, 8, 8), **options).eval()
        for key, value in model.state_dict().items():
            if "running_var" in key:
                value.copy_(0.5 + torch.rand_like(value))
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """segmentation-models-pytorch's U-Net, and ours loaded from the file its weights were saved to."""
    model = random_unet()
    path = tmp_path_factory.mktemp("saved") / "unet.pth"
    torch.save(model.state_dict(), path)
    return model, load_encoder(path, device="cpu", precision="float32")


@pytest.mark.parametrize("distortion", ["trained", "cutout", "outer-cutout", "shuffle", "none"])
def test_the_restoration_is_that_unets(saved, image, distortion):
    model, encoder = saved
    view = pretext_view(image, encoder, distortion=distortion, seed=2)
    assert isinstance(view, RestorationView)
    with torch.inference_mode():
        logits = model(torch.from_numpy(view.distorted).permute(2, 0, 1)[None])
    np.testing.assert_allclose(view.restoration, logits.sigmoid()[0, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(
        view.error, np.abs(view.restoration - view.picture @ np.float32(GREY)), atol=1e-5
    )
    assert view.scores is None
    assert any("no discriminator" in note for note in view.notes)


def changed(view):
    return (view.distorted != view.picture).any(axis=-1)


def test_a_cut_out_replaces_the_inside_and_an_outer_one_what_lies_around(image, encoders):
    inner = changed(pretext_view(image, encoders["dira"], distortion="cutout", seed=1))
    outer = changed(pretext_view(image, encoders["dira"], distortion="outer-cutout", seed=1))
    assert 1 / 36 - 0.01 < inner.mean() < 5 / 9
    assert 1 - 4 * 16 / 49 - 0.01 < outer.mean() < 1
    assert outer[0].any()


def test_shuffling_keeps_every_pixel_value(image, encoders):
    view = pretext_view(image, encoders["dira"], distortion="shuffle", region=(0, 0, 64, 64))
    assert changed(view).any()
    np.testing.assert_array_equal(
        np.sort(view.distorted.reshape(-1, 3), axis=0), np.sort(view.picture.reshape(-1, 3), axis=0)
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_trained_mixture_always_changes_something(image, encoders, seed):
    assert changed(pretext_view(image, encoders["dira"], seed=seed)).any()


def test_nothing_is_distorted_on_request_and_pictures_need_be_no_square(image, encoders):
    place = {"region": (0, 0, 64, 96), "fit": "whole"}
    view = pretext_view(image, encoders["dira"], distortion="none", **place)
    assert not changed(view).any()
    assert "not distorted" in view.notes[0]
    for distortion in ("cutout", "shuffle"):
        wide = pretext_view(
            image, encoders["dira"], distortion=distortion, region=(0, 0, 64, 96), fit="whole"
        )
        assert wide.distorted.shape == (64, 96, 3)
        assert wide.restoration.shape == (64, 96)


def test_equal_seeds_give_equal_views(image, encoders):
    first, again, other = (pretext_view(image, encoders["dira"], seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.restoration, again.restoration)
    assert (first.distorted != other.distorted).any()


def test_the_judge_scores_the_restoration_in_patches(image, encoders):
    view = pretext_view(image, encoders["dira"], seed=3)
    state = {
        key.removeprefix("discriminator."): value.float()
        for key, value in pretext_heads_of(encoders["dira"]).state.items()
        if key.startswith("discriminator.")
    }
    values = torch.from_numpy(view.restoration)[None, None]
    for layer in (0, 2, 4):
        weights = state[f"{layer}.weight"], state[f"{layer}.bias"]
        values = torch.nn.functional.leaky_relu(
            torch.nn.functional.conv2d(values, *weights, stride=2, padding=1), 0.2
        )
    expected = torch.nn.functional.conv2d(values, state["6.weight"], state["6.bias"], padding=1)
    np.testing.assert_allclose(view.scores, expected[0, 0].numpy(), atol=1e-5)
    assert view.scores.shape == (8, 8)
    assert view.score_stride == 8
    assert view.panels[-1].name == "discriminator"


def test_training_without_an_adversary_leaves_no_scores(image, tmp_path):
    view = pretext_view(image, made(tmp_path, "dira", ingredients="Di+Re"))
    assert view.scores is None
    assert len(view.panels) == 3


def test_a_restoration_that_fits_better_mirrored_is_said_to():
    clean = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    assert "mirrored" in mirror_note(clean[:, ::-1], clean)
    assert "mirrored" in mirror_note(0.3 * clean + 0.7 * clean[:, ::-1], clean)
    assert mirror_note(clean, clean) == ""
    assert mirror_note(0.7 * clean + 0.3 * clean[:, ::-1], clean) == ""
    symmetric = clean + clean[:, ::-1]
    assert mirror_note(symmetric + 0.01, symmetric) == ""


def test_an_encoder_alone_restores_nothing(image, tmp_path):
    encoder = made(tmp_path, "dira", ingredients="Di")
    with pytest.raises(MapUnavailableError, match=r"encoder alone.*resnet50\.pth does not"):
        pretext_view(image, encoder)


def test_a_segmentation_model_is_told_from_one_that_restores(image, tmp_path):
    path = tmp_path / "segments.pth"
    torch.save(random_unet(classes=3).state_dict(), path)
    with pytest.raises(MapUnavailableError, match="gives 3 channels"):
        pretext_view(image, load_encoder(path, device="cpu", precision="float32"))
