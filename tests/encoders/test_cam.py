"""Gradients of a class score through DiRA's U-Net against finite differences."""

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders_factory import write_encoder
from torch import Tensor, nn

from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.grad_cam import CamTap
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("cam") / "dira.safetensors", "dira")


def load(path: Path, token_stage: str | None = None) -> Encoder:
    return load_encoder(path, device="cpu", precision="float32", token_stage=token_stage)


@pytest.mark.parametrize(
    ("token_stage", "stage"),
    [
        ("encoder.layer2", "encoder.layer2"),
        ("encoder.layer2", "encoder.stem"),
        ("encoder.layer4", "encoder.layer1"),
        ("decoder.blocks.1", "encoder.layer2"),
    ],
)
def test_the_gradient_is_that_of_finite_differences(weights: Path, token_stage: str, stage: str) -> None:
    tap = CamTap.of(load(weights, token_stage), stage)
    network = tap.network.double()
    rng = np.random.default_rng(0)
    pixels = rng.random((64, 64, 3))
    tokens = network.stages(torch.zeros(1, 3, 64, 64, dtype=torch.float64), token_stage)[0]
    share = rng.random(tokens.shape[2:])
    row = rng.normal(size=tokens.shape[1])
    found = tap.gradient_sum(pixels, row, share)
    for channel in range(3):
        high, low = (_score_with(tap, pixels, row, share, (channel, step)) for step in (1e-6, -1e-6))
        assert found[channel] == pytest.approx((high - low) / 2e-6, rel=1e-4, abs=1e-6)


def _score_with(
    tap: CamTap, pixels: np.ndarray, row: np.ndarray, share: np.ndarray, shift: tuple[int, float]
) -> float:
    """Score of the class with one channel of the stage shifted at every position."""
    part, _, name = tap.stage.partition(".")
    module: nn.Module = (
        tap.network.encoder.get_submodule("act1" if name == "stem" else name)
        if part == "encoder"
        else tap.network.decoder.get_submodule(name)
    )

    def add(_: nn.Module, __: object, output: Tensor) -> Tensor:
        shifted = output.clone()
        shifted[:, shift[0]] += shift[1]
        return shifted

    handle = module.register_forward_hook(add)
    with torch.no_grad():
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        tokens = tap.network.stages(batch, tap.network.token_stage)[0][0]
    handle.remove()
    return float(np.einsum("chw,c,hw->", tokens.numpy(), row, share))


def test_a_combination_is_rectified(weights: Path) -> None:
    encoder = load(weights)
    tap = CamTap.of(encoder)
    pixels = np.random.default_rng(1).random((64, 96, 3), dtype=np.float32)
    factors = np.random.default_rng(2).normal(size=8).astype(np.float32)
    tokens = encoder.encode(pixels[None]).tokens[0].numpy()
    np.testing.assert_allclose(tap.combine(pixels, factors), np.maximum(tokens @ factors, 0), atol=1e-4)
    assert tap.finer == 1
    assert CamTap.of(encoder, "encoder.stem").finer == 4


def test_a_stage_that_tokens_do_not_come_from_is_refused(weights: Path) -> None:
    for stage in ("encoder.layer3", "decoder.blocks.2", "nowhere"):
        with pytest.raises(InvalidOptionError, match=f"among encoder.stem, encoder.layer1, .*got '{stage}'"):
            CamTap.of(load(weights), stage)


def test_a_transformer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MapUnavailableError, match=r"'mae' is a transformer\. Its token evidence"):
        CamTap.of(load(write_encoder(tmp_path / "mae.safetensors", "mae")))
