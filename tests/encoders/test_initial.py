import math

import numpy as np
import pytest
import torch
from encoders_factory import tiny_architecture
from official import sincos_positions as published_positions

from napari_sslmaps.encoders.families.unet_network import UNet, UNetExtractor, build_unet
from napari_sslmaps.encoders.families.vit_network import ViTExtractor, build_vit, sincos_positions
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.untrained import untrained_network
from napari_sslmaps.errors import InvalidOptionError


def drawn(method, seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return untrained_network(method, tiny_architecture(method), **options)


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_draw_equal_weights_and_others_do_not(method):
    first, second, other = (drawn(method, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_network_that_files_are_read_into(method):
    network, architecture = drawn(method), tiny_architecture(method)
    read = build_unet(architecture) if method == "dira" else build_vit(architecture)
    read.load_state_dict(network.state_dict())
    network, read = network.eval(), read.eval()
    pixels = torch.from_numpy(np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32))
    make = UNetExtractor if isinstance(network, UNet) else ViTExtractor
    with torch.inference_mode():
        assert torch.equal(make(network).extract(pixels).tokens, make(read).extract(pixels).tokens)


@pytest.mark.parametrize("side", [3, 4])
def test_positions_are_the_published_ones(side):
    torch.testing.assert_close(
        sincos_positions(32, side, side), published_positions(32, side, class_token=False)
    )


def test_positions_tell_columns_first_then_rows():
    positions = sincos_positions(8, 2, 3)[0].reshape(2, 3, 8)
    column, row = 2, 1
    omega = np.array([1.0, 0.01])
    expected = np.concatenate(
        [np.sin(column * omega), np.cos(column * omega), np.sin(row * omega), np.cos(row * omega)]
    )
    np.testing.assert_allclose(positions[row, column].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("method", ["mae", "ijepa"])
def test_fixed_positions_are_not_trained_and_leave_the_class_token_at_zero(method):
    network = drawn(method)
    assert not network.pos_embed.requires_grad
    shape = tiny_architecture(method)
    prefix = int(shape.class_token)
    assert network.pos_embed.shape == (1, prefix + math.prod(shape.grid), shape.dim)
    assert not network.pos_embed[:, :prefix].any()


@pytest.mark.parametrize("method", ["mae", "ijepa"])
def test_linear_layers_are_xavier_uniform(method):
    layer = drawn(method).blocks[0].mlp.fc1
    bound = math.sqrt(6 / (layer.in_features + layer.out_features))
    assert 0.97 * bound < layer.weight.detach().abs().max() <= bound
    assert not layer.bias.any()


def test_ijepa_starts_with_a_louder_patch_embedding():
    own, plain = drawn("ijepa"), drawn("ijepa", patch_gain=1.0)
    torch.testing.assert_close(own.patch_embed.proj.weight, 4 * plain.patch_embed.proj.weight)


@pytest.mark.parametrize("method", ["dinov2", "dinov3"])
def test_layer_scales_start_at_a_tenth(method):
    scales = [value for name, value in drawn(method).named_parameters() if "gamma" in name]
    assert len(scales) == 4
    assert all(bool((scale == 0.1).all()) for scale in scales)


@pytest.mark.parametrize(("method", "other"), [("mae", "dira"), ("dira", "mae")])
def test_a_method_refuses_the_other_family(method, other):
    with pytest.raises(InvalidOptionError, match=f"for {method}"):
        untrained_network(method, tiny_architecture(other))
