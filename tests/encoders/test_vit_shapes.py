"""Shapes of vision transformers beyond the embedded ones, and their positions on other grids."""

import math
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from encoders_factory import TINY_VIT, tiny_architecture
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import resample_abs_pos_embed
from torch.nn import functional

from napari_sslmaps.encoders.families.registry import architecture_from_dict, architecture_to_dict
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.families.vit_network import PlainViT, ViTExtractor, build_vit, resample_positions

GRIDS = [(4, 4), (9, 5), (2, 7), (3, 2)]
SWIGLU = replace(TINY_VIT, swiglu=True, layer_scale=True, registers=2, mlp_hidden=40)


def drawn(architecture, seed=0):
    """Build a network whose every weight is drawn."""
    network = build_vit(architecture).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return network


def keys_cubic(length, wanted, scale):
    """Return the matrix (wanted, length) of cubic convolution with Keys' a = -0.75, edges repeated."""
    a = -0.75
    matrix = np.zeros((wanted, length))
    for row in range(wanted):
        source = (row + 0.5) / scale - 0.5
        first = math.floor(source) - 1
        for index in range(first, first + 4):
            x = abs(source - index)
            if x <= 1:
                weight = (a + 2) * x**3 - (a + 3) * x**2 + 1
            else:
                weight = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
            matrix[row, min(max(index, 0), length - 1)] += weight
    return matrix


@pytest.mark.parametrize("offset", [0.0, 0.1])
@pytest.mark.parametrize("wanted", GRIDS)
def test_without_filter_positions_are_resampled_by_cubic_convolution(wanted, offset):
    grid = (4, 5)
    positions = torch.randn(1, 20, 6, generator=torch.Generator().manual_seed(1))
    found = resample_positions(positions, grid, wanted, antialias=False, offset=offset)
    down, across = (keys_cubic(old, new, (new + offset) / old) for old, new in zip(grid, wanted, strict=True))
    image = positions.numpy().reshape(*grid, 6)
    expected = np.einsum("ri,cj,ijd->rcd", down, across, image).reshape(1, -1, 6)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("wanted", GRIDS)
def test_with_filter_positions_are_resampled_as_timm_does(wanted):
    positions = torch.randn(1, 20, 6)
    expected = resample_abs_pos_embed(positions, wanted, (4, 5), num_prefix_tokens=0)
    assert torch.equal(resample_positions(positions, (4, 5), wanted), expected)


def test_positions_keep_their_precision():
    positions = torch.randn(1, 16, 4, dtype=torch.bfloat16)
    assert resample_positions(positions, (4, 4), (3, 5)).dtype == torch.bfloat16


@pytest.mark.parametrize("method", ["mae", "ijepa", "dinov2"])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_defaults_are_timms_own_network(method, grid):
    architecture = tiny_architecture(method)
    network = drawn(architecture)
    plain = timm.models.VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
        num_classes=0,
        class_token=architecture.class_token,
        reg_tokens=architecture.registers,
        no_embed_class=architecture.registers > 0,
        init_values=1e-5 if architecture.layer_scale else None,
        global_pool="",
        dynamic_img_size=True,
    ).eval()
    plain.load_state_dict(network.state_dict())
    pixels = torch.randn(1, 3, grid[0] * 8, grid[1] * 8)
    with torch.inference_mode():
        assert torch.equal(network.forward_features(pixels), plain.forward_features(pixels))


def test_positions_of_other_methods_differ_from_timms_on_other_grids_only():
    filtered, plain = build_vit(TINY_VIT), build_vit(replace(TINY_VIT, antialias=False))
    moved = build_vit(replace(TINY_VIT, antialias=False, position_offset=0.1))
    for network in (plain, moved):
        network.load_state_dict(filtered.state_dict())
    assert isinstance(plain, PlainViT)
    with torch.inference_mode():
        assert torch.equal(plain.positions(4, 4), moved.positions(4, 4))
        found = [network.positions(3, 6) for network in (filtered, plain, moved)]
        for one, other in ((0, 1), (1, 2)):
            assert torch.equal(found[one][:, 0], found[other][:, 0]), "CLS stays where it is"
            assert (found[one] - found[other]).abs().max() > 1e-4


def test_tokens_that_pass_no_final_norm_have_their_blocks_output():
    bare = drawn(replace(TINY_VIT, final_norm=False))
    assert not any(key.startswith("norm.") for key in bare.state_dict())
    full = build_vit(TINY_VIT).eval()
    full.load_state_dict(bare.state_dict() | {"norm.weight": torch.ones(32), "norm.bias": torch.zeros(32)})
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        raw = ViTExtractor(bare).extract(pixels)
        normed = ViTExtractor(full).extract(pixels)
    expected = functional.layer_norm(raw.tokens, (32,), eps=1e-6)
    torch.testing.assert_close(normed.tokens, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(normed.attention, raw.attention)


def test_a_rotary_transformer_can_lack_the_final_norm_too():
    network = build_vit(replace(tiny_architecture("dinov3"), final_norm=False))
    assert not any(key.startswith("norm.") for key in network.state_dict())


def test_a_gated_block_is_silu_of_the_first_half_times_the_second():
    network = drawn(SWIGLU)
    mlp = network.blocks[0].mlp
    assert mlp.fc1.weight.shape == (80, 32)
    assert mlp.fc2.weight.shape == (32, 40)
    tokens = torch.randn(3, 32)
    with torch.inference_mode():
        gate, value = (tokens @ mlp.fc1.weight.T + mlp.fc1.bias).split(40, dim=1)
        expected = (gate * gate.sigmoid() * value) @ mlp.fc2.weight.T + mlp.fc2.bias
        torch.testing.assert_close(mlp(tokens), expected, atol=1e-6, rtol=1e-5)


def test_a_gated_network_is_timms_dinov2_giant_made_small():
    name, small = "vit_giant_patch14_reg4_dinov2", {"depth": 2, "embed_dim": 48, "num_heads": 2}
    giant = timm.create_model(name, **small, img_size=56, num_classes=0, dynamic_img_size=True).eval()
    hidden = giant.blocks[0].mlp.fc2.in_features
    ours = build_vit(
        ViTArchitecture(
            patch=14,
            dim=48,
            depth=2,
            heads=2,
            grid=(4, 4),
            mlp_hidden=hidden,
            class_token=True,
            registers=4,
            layer_scale=True,
            swiglu=True,
        )
    ).eval()
    ours.load_state_dict(giant.state_dict())
    pixels = torch.randn(1, 3, 42, 70)
    with torch.inference_mode():
        torch.testing.assert_close(ours.forward_features(pixels), giant.forward_features(pixels))


@given(st.integers(2, 12), st.integers(1, 300), st.booleans())
def test_an_mlp_is_as_wide_as_is_asked(half_dim, hidden, gated):
    shape = ViTArchitecture(
        patch=2,
        dim=4 * half_dim,
        depth=1,
        heads=1,
        grid=(1, 1),
        mlp_hidden=hidden,
        class_token=True,
        swiglu=gated,
    )
    for rope in (False, True):
        with torch.device("meta"):
            network = build_vit(replace(shape, rope=rope and half_dim % 2 == 0))
        assert network.blocks[0].mlp.fc2.in_features == hidden


def test_a_description_carries_how_positions_are_resampled():
    changed = replace(TINY_VIT, antialias=False, position_offset=0.1, final_norm=False)
    assert architecture_from_dict(architecture_to_dict(changed)) == changed
    older = architecture_to_dict(TINY_VIT)
    for field in ("antialias", "position_offset", "final_norm"):
        del older[field]
    assert architecture_from_dict(older) == TINY_VIT
