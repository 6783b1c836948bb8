"""What weights say of how they were trained: fixed positions, and the targets of MAE's decoder."""

import argparse

import numpy as np
import pytest
import torch
from official import mae_state, sincos_positions
from safetensors.torch import load_file

from napari_sslmaps.encoders.checkpoint.identify import has_sincos_positions
from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint, read_pretext_heads
from napari_sslmaps.encoders.methods.mae import predicts_normalised_pixels
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.lab.simulators.histology import simulate_histology

WIDTH, PATCH = 64, 8


def patches():
    """Patches of a simulated field, (N, 3 p²), about zero as a normalisation makes them."""
    field, _ = simulate_histology(np.random.default_rng(0), 128)
    image = (torch.from_numpy(field).float() / 255 - 0.5) / 0.25
    cut = image.unfold(0, PATCH, PATCH).unfold(1, PATCH, PATCH).permute(0, 1, 3, 4, 2)
    return cut.reshape(-1, 3 * PATCH**2)


def best_linear_decoder(targets):
    """Last layer that predicts targets from white features of a given width: their principal components."""
    mean = targets.mean(dim=0)
    _, values, axes = torch.linalg.svd(targets - mean, full_matrices=False)
    mixing = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0]
    weight = (axes[:WIDTH].T * values[:WIDTH] / len(targets) ** 0.5) @ mixing
    return {"decoder_pred.weight": weight, "decoder_pred.bias": mean}


@pytest.mark.parametrize("normalised", [True, False])
def test_the_last_layer_tells_what_it_predicts(normalised):
    torch.manual_seed(0)
    targets = patches()
    if normalised:
        mean, std = targets.mean(dim=1, keepdim=True), targets.std(dim=1, keepdim=True)
        targets = (targets - mean) / (std + 1e-3)
    assert predicts_normalised_pixels(best_linear_decoder(targets)) is normalised


@pytest.mark.parametrize("name", ["mae-histology", "mae-ultrasound"])
def test_the_embedded_decoders_predict_normalised_pixels(name):
    assert predicts_normalised_pixels(load_file(get_spec(name).path)) is True
    assert read_pretext_heads(get_spec(name).path).settings["norm_pix"] is True


@pytest.mark.parametrize(
    "shape", [(3 * PATCH**2, WIDTH), (3 * PATCH**2, 16), (100, WIDTH), (3, WIDTH), (0, 4)]
)
def test_untrained_odd_or_missing_layers_tell_nothing(shape):
    torch.manual_seed(0)
    assert predicts_normalised_pixels({}) is None
    for scale in (0.0, 1.0):
        drawn = {
            "decoder_pred.weight": scale * torch.randn(shape),
            "decoder_pred.bias": torch.randn(shape[0]),
        }
        assert predicts_normalised_pixels(drawn) is None


@pytest.mark.parametrize("normalised", [True, False])
def test_a_file_with_a_decoder_tells_its_targets_in_words_or_by_its_weights(tmp_path, normalised):
    torch.manual_seed(0)
    targets = patches()
    if normalised:
        targets = targets - targets.mean(dim=1, keepdim=True)
    content = {"model": mae_state(decoder=True) | best_linear_decoder(targets)}
    torch.save(content, tmp_path / "mae.pth")
    assert read_pretext_heads(tmp_path / "mae.pth").settings["norm_pix"] is normalised
    assert f"norm_pix = {normalised}  (the decoder's last layer" in str(
        inspect_checkpoint(tmp_path / "mae.pth")
    )
    content["args"] = argparse.Namespace(norm_pix_loss=not normalised)
    torch.save(content, tmp_path / "mae.pth")
    assert read_pretext_heads(tmp_path / "mae.pth").settings["norm_pix"] is not normalised


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_fixed_positions_are_known_in_any_precision(class_token, dtype):
    positions = sincos_positions(96, 7, class_token=class_token)
    assert has_sincos_positions({"pos_embed": positions.to(dtype)})
    assert not has_sincos_positions({"pos_embed": positions.flip(-1).to(dtype)})
    assert not has_sincos_positions({"pos_embed": torch.randn(positions.shape).to(dtype)})


@pytest.mark.parametrize("shape", [(1, 17, 30), (1, 0, 32), (17, 32)])
def test_positions_of_odd_shapes_are_no_fixed_ones(shape):
    assert not has_sincos_positions({"pos_embed": torch.zeros(shape)})
    assert not has_sincos_positions({})
