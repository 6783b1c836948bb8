"""I-JEPA's view against a predictor written from the paper, and what must hold for any targets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslmaps.core.pretext_views import PredictionView, TokenBlock
from napari_sslmaps.encoders.pretext_heads.reading import pretext_heads_of
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.errors import MapUnavailableError
from napari_sslmaps.pretext.view import pretext_view

SHARED = settings(max_examples=15)
HEADS = 2


def norm(x, state, key, eps=1e-6):
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return scaled if key is None else scaled * state[f"{key}.weight"] + state[f"{key}.bias"]


def linear(x, state, key):
    return x @ state[f"{key}.weight"].T + state[f"{key}.bias"]


def block(x, state, key):
    """Pre-norm attention and MLP with exact GELU, by their definitions (arXiv 2010.11929)."""
    q, k, v = linear(norm(x, state, f"{key}.norm1"), state, f"{key}.attn.qkv").chunk(3, dim=-1)
    width = q.shape[-1] // HEADS
    heads = []
    for index in range(HEADS):
        part = slice(index * width, (index + 1) * width)
        heads.append((q[:, part] @ k[:, part].T / math.sqrt(width)).softmax(-1) @ v[:, part])
    x = x + linear(torch.cat(heads, dim=-1), state, f"{key}.attn.proj")
    hidden = linear(norm(x, state, f"{key}.norm2"), state, f"{key}.mlp.fc1")
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    return x + linear(hidden, state, f"{key}.mlp.fc2")


def transformer(x, state, name):
    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith(f"{name}."))
    for index in range(depth):
        x = block(x, state, f"{name}.{index}")
    return x


def embedded_patches(encoder, picture, state):
    preset = get_normalisation(encoder.spec.normalisation)
    pixels = (torch.from_numpy(picture) - torch.tensor(preset.mean)) / torch.tensor(preset.std)
    rows, cols = picture.shape[0] // 8, picture.shape[1] // 8
    patches = pixels.reshape(rows, 8, cols, 8, 3).permute(0, 2, 4, 1, 3).reshape(rows * cols, -1)
    kernel = state["patch_embed.proj.weight"].flatten(1)
    return patches @ kernel.T + state["patch_embed.proj.bias"] + state["pos_embed"][0]


def by_definition(encoder, picture, context, targets, context_state=None):
    """(targets, T) cosines of arXiv 2301.08243, section 3, token by token."""
    state = {key: value.double().float() for key, value in encoder.extractor.network.state_dict().items()}
    part = "predictor."
    pretext_heads = {key: value.float() for key, value in pretext_heads_of(encoder).state.items()}
    predictor = {
        key.removeprefix(part): value for key, value in pretext_heads.items() if key.startswith(part)
    }
    seen = torch.from_numpy(np.flatnonzero(context))
    own = state if context_state is None else context_state
    known = embedded_patches(encoder, picture, own)[seen]
    known = norm(transformer(known, own, "blocks"), own, "norm")
    actual = norm(transformer(embedded_patches(encoder, picture, state), state, "blocks"), state, "norm")
    actual = norm(actual, state, None, eps=1e-5)
    positions = predictor["predictor_pos_embed"][0]
    known = linear(known, predictor, "predictor_embed") + positions[seen]
    cosines = []
    for target in targets:
        tokens = [
            row * context.shape[1] + col
            for row in range(target.row, target.row + target.height)
            for col in range(target.col, target.col + target.width)
        ]
        asked = predictor["mask_token"][0] + positions[tokens]
        sequence = transformer(torch.cat([known, asked]), predictor, "predictor_blocks")[len(seen) :]
        guess = linear(norm(sequence, predictor, "predictor_norm"), predictor, "predictor_proj")
        cosines.append(torch.nn.functional.cosine_similarity(guess, actual[tokens], dim=-1).numpy())
    return cosines


def test_agreement_is_the_papers_prediction(image, encoders):
    targets = [TokenBlock(1, 2, 3, 2), TokenBlock(5, 4, 2, 3)]
    view = pretext_view(image, encoders["ijepa"], targets=targets)
    assert isinstance(view, PredictionView)
    assert view.context.sum() == 64 - 12
    for target, expected in zip(
        targets, by_definition(encoders["ijepa"], view.picture, view.context, targets), strict=True
    ):
        window = np.s_[target.row : target.row + target.height, target.col : target.col + target.width]
        np.testing.assert_allclose(view.agreement[window].ravel(), expected, atol=1e-5)


def test_overlapping_targets_share_their_mean(image, encoders):
    targets = [TokenBlock(1, 1, 3, 3), TokenBlock(2, 2, 3, 3)]
    view = pretext_view(image, encoders["ijepa"], targets=targets)
    first, second = by_definition(encoders["ijepa"], view.picture, view.context, targets)
    assert view.agreement[3, 3] == pytest.approx((first[8] + second[4]) / 2, abs=1e-5)
    assert view.agreement[1, 1] == pytest.approx(first[0], abs=1e-5)


def test_the_context_encoder_is_used_where_the_file_has_it(image, encoders, tmp_path):
    """The authors' layout: both encoders and the predictor, each key behind ``module.``."""
    encoder = encoders["ijepa"]
    target = encoder.extractor.network.state_dict()
    context = {key: value + 0.02 * torch.ones_like(value) for key, value in target.items()}
    context["pos_embed"] = target["pos_embed"]
    pretext_heads = pretext_heads_of(encoder).state
    wrapped = {
        "encoder": {f"module.{key}": value for key, value in context.items()},
        "target_encoder": {f"module.{key}": value for key, value in target.items()},
        "predictor": {
            f"module.{key.removeprefix('predictor.')}": value.float()
            for key, value in pretext_heads.items()
            if key.startswith("predictor.")
        },
        "epoch": 3,
    }
    path = tmp_path / "jepa-ep3.pth.tar"
    torch.save(wrapped, path)
    options = {"device": "cpu", "precision": "float32", "num_heads": HEADS}
    loaded = load_encoder(path, **options)
    targets = [TokenBlock(2, 2, 2, 3)]
    view = pretext_view(image, loaded, targets=targets)
    (expected,) = by_definition(loaded, view.picture, view.context, targets, context)
    np.testing.assert_allclose(view.agreement[2:4, 2:5].ravel(), expected, atol=1e-5)
    assert not any("one encoder alone" in note for note in view.notes)
    other = load_encoder(path, branch="encoder", **options)
    np.testing.assert_allclose(
        pretext_view(image, other, targets=targets).agreement, view.agreement, atol=1e-6
    )
    # without the two branches the answer is another, and the view says what was done
    alone = pretext_view(image, encoder, targets=targets)
    assert np.nanmax(np.abs(alone.agreement - view.agreement)) > 1e-3
    assert any("one encoder alone" in note for note in alone.notes)


@SHARED
@given(data=st.data())
def test_there_is_agreement_in_the_targets_and_nothing_elsewhere(image, encoders, data):
    fit = data.draw(st.sampled_from(["crop", "whole"]))
    rows, cols = (8, 8) if fit == "crop" else (12, 14)
    blocks = []
    for _ in range(data.draw(st.integers(1, 3))):
        height, width = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
        row, col = data.draw(st.integers(0, rows - height)), data.draw(st.integers(0, cols - width))
        blocks.append(TokenBlock(row, col, height, width))
    view = pretext_view(image, encoders["ijepa"], targets=blocks, fit=fit)
    covered = np.isfinite(view.agreement)
    np.testing.assert_array_equal(covered, ~view.context)
    assert view.targets == tuple(blocks)
    for values in (view.agreement, view.centred):
        assert -1 <= np.nanmin(values) <= np.nanmax(values) <= 1
    for colours in (view.predicted, view.actual):
        np.testing.assert_array_equal(np.isfinite(colours).all(-1), covered)
        assert 0 <= np.nanmin(colours) <= np.nanmax(colours) <= 1


def test_drawn_targets_are_four_blocks_beside_a_context_as_in_training(image, encoders):
    first, again, other = (pretext_view(image, encoders["ijepa"], seed=seed) for seed in (0, 0, 1))
    assert len(first.targets) == 4
    assert len({(block.height, block.width) for block in first.targets}) == 1
    assert not (first.context & np.isfinite(first.agreement)).any()
    assert first.targets == again.targets != other.targets
    np.testing.assert_array_equal(first.agreement, again.agreement)


def test_equal_tokens_have_equal_colours(image, encoders):
    view = pretext_view(image, encoders["ijepa"], seed=0)
    same = pretext_view(image, encoders["ijepa"], seed=0)
    np.testing.assert_array_equal(view.predicted, same.predicted)
    assert [panel.name for panel in view.panels] == [
        "context",
        "predicted",
        "actual",
        "agreement",
        "centred agreement",
    ]
    assert len(replace(view, centred=None).panels) == 4


def test_a_file_without_a_predictor_says_which_files_have_one(image, tmp_path):
    from encoders_factory import write_encoder

    encoder = load_encoder(write_encoder(tmp_path / "alone.safetensors", "ijepa"), device="cpu")
    with pytest.raises(MapUnavailableError, match=r"\.pth\.tar files have it"):
        pretext_view(image, encoder)
