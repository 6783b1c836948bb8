"""Views of files as the methods' own repositories write them."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from official import dinov3_state, mae_state, transformer_state
from torch.nn import functional

from napari_sslmaps.encoders.pretext_heads.blocks import Stack
from napari_sslmaps.encoders.pretext_heads.mae import MAEDecoder
from napari_sslmaps.encoders.pretext_heads.reading import pretext_heads_of
from napari_sslmaps.encoders.pretext_heads.sequence import summarise
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import MapUnavailableError
from napari_sslmaps.pretext.view import pretext_view


def view_of(path, content, image, *, fit="crop", seed=0, **overrides):
    torch.save(content, path)
    encoder = load_encoder(path, device="cpu", precision="float32", **overrides)
    return pretext_view(image, encoder, fit=fit, seed=seed)


@pytest.mark.parametrize("options", [{}, {"bias": True, "bias_mask": True}, {"swiglu": True}])
def test_a_hub_file_of_dinov3_has_its_mask_token(tmp_path, image, options):
    view = view_of(tmp_path / "dinov3_vit.pth", dinov3_state(**options), image)
    assert view.grid.shape == (6, 7)  # smaller than the 224 px that are meant where a file says nothing
    assert np.isfinite(view.patch_agreement).sum() == view.mask.sum() > 0
    assert view.patch_agreement[view.mask].max() < 0.999


def test_cls_has_a_norm_of_its_own_where_dinov3_kept_one_apart(tmp_path, image):
    state = dinov3_state() | {"cls_norm.weight": torch.rand(128) + 0.5, "cls_norm.bias": torch.randn(128)}
    torch.save(state, tmp_path / "untied.pth")
    encoder = load_encoder(tmp_path / "untied.pth", device="cpu", precision="float32")
    pretext_heads = pretext_heads_of(encoder).state
    network, pixels = encoder.extractor.network, torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        plain = network.forward_intermediates(
            pixels, indices=1, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
        )[0][1][:, 0]
        expected = functional.layer_norm(
            plain, (128,), pretext_heads["cls_norm.weight"], pretext_heads["cls_norm.bias"], network.norm.eps
        )
        torch.testing.assert_close(summarise(network, pixels, pretext_heads), expected)
        torch.testing.assert_close(summarise(network, pixels, {}), network.norm(plain))
    tied = {key: value for key, value in state.items() if not key.startswith("cls_norm")}
    shown = [view_of(tmp_path / "x.pth", content, image).agreement for content in (state, tied)]
    assert np.abs(shown[0] - shown[1]).max() > 1e-3


def test_a_teacher_of_dinov2_has_its_mask_token_and_one_of_dino_none(tmp_path, image):
    network = {f"backbone.{key}": value for key, value in transformer_state(layer_scale=True).items()}
    with_token = network | {"backbone.mask_token": torch.ones(1, 128)}
    view = view_of(tmp_path / "teacher.pth", {"teacher": with_token}, image, method="dinov2")
    assert view.patch_agreement is not None
    plain = {"teacher": {f"backbone.{key}": value for key, value in transformer_state().items()}}
    alone = view_of(tmp_path / "dino.pth", plain, image, method="dino")
    assert alone.method == "dino"
    assert alone.patch_agreement is None
    assert alone.agreement.shape == (8, 8)


def test_a_teacher_of_dino_has_the_head_that_crops_were_matched_by(tmp_path, image):
    network = {f"backbone.{key}": value for key, value in transformer_state().items()}
    head = {"head.mlp.0.weight": torch.randn(64, 128), "head.mlp.0.bias": torch.randn(64)}
    head |= {"head.mlp.2.weight": torch.randn(32, 64), "head.mlp.2.bias": torch.randn(32)}
    head |= {"head.last_layer.weight_g": torch.ones(9, 1), "head.last_layer.weight_v": torch.randn(9, 32)}
    view = view_of(tmp_path / "checkpoint.pth", {"teacher": network | head}, image)
    assert any("through the head that they were matched by in training" in note for note in view.notes)


@pytest.mark.parametrize("normalised", [False, True])
def test_mae_tells_its_targets_among_its_options(tmp_path, image, normalised):
    from argparse import Namespace

    state = mae_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state |= MAEDecoder(128, 16, (4, 4), Stack(64, 1, 2)).state_dict()
    content = {"model": state, "epoch": 199, "args": Namespace(norm_pix_loss=normalised, mask_ratio=0.5)}
    view = view_of(tmp_path / "checkpoint-199.pth", content, image)
    assert view.mask.mean() == 0.5
    assert any("taken from the hidden" in note for note in view.notes) == normalised


def test_a_fine_tuned_mae_has_no_decoder(tmp_path, image):
    state = mae_state(head=True)
    state = {
        key.replace("norm.", "fc_norm.") if key.startswith("norm.") else key: state[key] for key in state
    }
    with pytest.raises(MapUnavailableError, match="MAE's decoder"):
        view_of(tmp_path / "finetuned.pth", {"model": state}, image, method="mae")


def test_dira_restores_from_a_checkpoint_of_its_training(tmp_path, image):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = smp.Unet("resnet18", encoder_weights=None).eval()
    wrapped = {f"module.encoder_q.backbone.{key}": value for key, value in unet.state_dict().items()}
    view = view_of(tmp_path / "checkpoint.pth", {"epoch": 3, "state_dict": wrapped}, image)
    with torch.inference_mode():
        expected = unet(torch.from_numpy(view.distorted).permute(2, 0, 1)[None]).sigmoid()
    np.testing.assert_allclose(view.restoration, expected[0, 0].numpy(), atol=1e-5)
    assert view.region.shape_yx == (96, 96)


def test_dira_by_discrimination_alone_restores_nothing(tmp_path, image):
    encoder = smp.Unet("resnet18", encoder_weights=None).encoder.state_dict()
    content = encoder | {"fc.0.weight": torch.ones(4, 4), "fc.2.weight": torch.ones(2, 4)}
    with pytest.raises(MapUnavailableError, match="encoder alone"):
        view_of(tmp_path / "resnet18.pth", content, image)
