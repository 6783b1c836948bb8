"""Grad-CAM over regions against its definition, in one pass and tile by tile."""

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders_factory import write_encoder

from napari_sslmaps.core.preprocess import normalise
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError
from napari_sslmaps.pipeline.class_activation import class_activation
from napari_sslmaps.pipeline.embedding import embed

ROW = np.random.default_rng(5).normal(size=8).astype(np.float32)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    path = write_encoder(tmp_path_factory.mktemp("cam") / "dira.safetensors", "dira")
    return load_encoder(path, device="cpu", precision="float32")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("tiling", [None, Tiling(tile=8, overlap=4), Tiling(8, 4, "blend")])
def test_on_the_token_stage_it_is_the_class_activation_map(encoder: Encoder, tiling: Tiling | None) -> None:
    image = noise(100, 130)
    embedding = embed(image, encoder, tiling=tiling)
    found = class_activation(image, encoder, embedding, ROW, offset=0.5, label="tumour")
    plain = embedding if tiling is None else embed(image, encoder, tiling=Tiling(tiling.tile, tiling.overlap))
    expected = np.maximum(plain.tokens @ ROW, 0) / (13 * 17)
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert found.grid == embedding.grid
    assert (found.kind, found.label, found.stage) == ("grad-cam", "tumour", "encoder.layer2")
    assert found.logit == pytest.approx(float((embedding.tokens @ ROW).mean() + 0.5), abs=1e-4)


def test_on_a_finer_stage_it_is_grad_cam_by_its_definition(encoder: Encoder) -> None:
    image = noise(64, 96)
    embedding = embed(image, encoder)
    found = class_activation(image, encoder, embedding, ROW, stage="encoder.layer1")
    preset = get_normalisation(encoder.spec.normalisation)
    pixels = normalise(torch.from_numpy(image[None].astype(np.float32) / 255), preset.mean, preset.std)
    network = encoder.extractor.network
    features, tokens = network.stages(pixels.requires_grad_(), "encoder.layer1", "encoder.layer2")
    score = (tokens.mean(dim=(2, 3)) @ torch.from_numpy(ROW)).sum()
    (gradient,) = torch.autograd.grad(score, features)
    weight = gradient.mean(dim=(2, 3), keepdim=True)
    expected = (weight * features).sum(dim=1).relu()[0].detach().numpy()
    assert found.values.shape == (16, 24)
    assert found.grid.stride_yx == (4.0, 4.0)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.values.max() > 0


def test_tiles_of_a_finer_stage_cover_a_region_that_ends_within_a_token(encoder: Encoder) -> None:
    image = noise(210, 160)
    region = (3, 5, 203, 150)
    embedding = embed(image, encoder, region=region, tiling=Tiling(tile=12, overlap=4))
    found = class_activation(image, encoder, embedding, ROW, stage="encoder.layer1")
    assert found.values.shape == (51, 38)  # ⌈203 / 4⌉ × ⌈150 / 4⌉
    assert found.grid.origin_yx == (3.0, 5.0)
    assert (found.values > 0).mean() > 0.05
    assert np.isfinite(found.values).all()


def test_tokens_left_out_of_the_embedding_are_left_out_of_the_score(encoder: Encoder) -> None:
    image = noise(128, 256)
    mask = np.zeros((128, 256), bool)
    mask[:, :64] = True
    embedding = embed(image, encoder, tiling=Tiling(tile=8, overlap=0), mask=mask)
    known = np.isfinite(embedding.tokens[..., 0])
    assert 0 < known.mean() < 1
    found = class_activation(image, encoder, embedding, ROW)
    expected = np.maximum(np.nan_to_num(embedding.tokens) @ ROW, 0) / known.sum()
    np.testing.assert_allclose(found.values, expected, atol=1e-5)


def test_what_does_not_belong_together_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    image = noise(64, 64)
    embedding = embed(image, encoder)
    with pytest.raises(
        InvalidOptionError, match=r"8 channels; got an embedding of 'dira' and weights of shape \(3,\)"
    ):
        class_activation(image, encoder, embedding, ROW[:3])
    with pytest.raises(InvalidOptionError, match=r"head of 'dira'.* an embedding of 'external'"):
        class_activation(image, encoder, Embedding.from_tokens(embedding.tokens, 8), ROW)
    other = load_encoder(
        write_encoder(tmp_path / "mae.safetensors", "mae"), device="cpu", precision="float32"
    )
    with pytest.raises(MapUnavailableError, match="'mae' is a transformer"):
        class_activation(image, other, embed(image, other), ROW)
