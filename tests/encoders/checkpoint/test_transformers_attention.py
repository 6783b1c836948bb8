"""Attention of any block, of any query, and its rollout, against what transformers computes."""

import numpy as np
import pytest
import torch
from made_transformers import KINDS, random_model, save_folder

from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.pipeline.attention import attend, attend_blocks, attention_field

DEPTH = 3
ROWS, COLS = 6, 10


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """An encoder, an image, and transformers' attention in every block, (DEPTH, heads, N, N)."""
    kind = request.param
    model = random_model(kind, num_hidden_layers=DEPTH)
    named = {"method": "dino"} if kind == "vit" else {}
    folder = save_folder(model, tmp_path_factory.mktemp(kind))
    encoder = load_encoder(folder, device="cpu", precision="float32", **named)
    image = np.random.default_rng(0).random((8 * ROWS, 8 * COLS, 3), dtype=np.float32)
    preset = get_normalisation(encoder.spec.normalisation)
    pixels = normalise(torch.from_numpy(image[None]), preset.mean, preset.std)
    options = {} if kind.startswith("dinov") else {"interpolate_pos_encoding": True}
    if kind == "vit_mae":
        model = model.vit
        model.config.mask_ratio = 0.0
        options["noise"] = torch.arange(float(ROWS * COLS))[None]
    with torch.inference_mode():
        attentions = model(pixels, output_attentions=True, **options).attentions
    return encoder, image, torch.cat(attentions).numpy().astype(float)


def check(found, rows):
    """Compare a stack with (heads, N) rows of the whole sequence."""
    prefix = rows.shape[1] - ROWS * COLS
    expected = rows[:, prefix:].reshape(-1, ROWS, COLS)
    np.testing.assert_allclose(found.heads, expected, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(found.prefix_attention, rows[:, :prefix].sum(axis=1), atol=1e-5)


def output_of(full):
    """Weights with which the output reads the sequence: its CLS token, or all tokens alike."""
    count = full.shape[-1]
    return np.full(count, 1 / count) if count == ROWS * COLS else np.eye(count)[0]


def test_every_block_gives_what_the_output_reads(pair):
    encoder, image, full = pair
    for found, matrix in zip(attend_blocks(image, encoder), full, strict=True):
        check(found, output_of(full) @ matrix)
    check(attend(image, encoder, block=2), output_of(full) @ full[1])


@pytest.mark.parametrize("token", [(0, 0), (2, 7), (5, 9)])
def test_every_block_gives_the_row_of_any_token(pair, token):
    encoder, image, full = pair
    anchor = (8 * token[0] + 3.0, 8 * token[1] + 5.0)
    index = full.shape[-1] - ROWS * COLS + token[0] * COLS + token[1]
    field = attention_field(image, encoder, anchor, blocks=None)
    for block in range(1, DEPTH + 1):
        check(field.at(anchor, block=block), full[block - 1, :, index])
    check(attend(image, encoder, anchor=anchor, block=-DEPTH), full[0, :, index])


@pytest.mark.parametrize("block", [1, DEPTH])
def test_rollout_is_the_product_of_the_blocks(pair, block):
    encoder, image, full = pair
    identity = np.eye(full.shape[-1])
    flow = identity
    for matrix in full[:block]:
        flow = (matrix.mean(axis=0) + identity) / 2 @ flow
    found = attend(image, encoder, block=block, rollout=True)
    check(found, (output_of(full) @ flow)[None])
    anchored = attend(image, encoder, block=block, rollout=True, anchor=(20.0, 33.0))
    check(anchored, flow[full.shape[-1] - ROWS * COLS + 2 * COLS + 4][None])
