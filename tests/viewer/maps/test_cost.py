from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from viewer_kit import make_spec, noise

from napari_sslmaps.core.tiling import ONE_PASS, Tiling
from napari_sslmaps.core.units import duration
from napari_sslmaps.encoders.families.unet import UNET_STRIDES, UNetArchitecture
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.pipeline.cost import Throughput, cost_of, kept_bytes, work_of
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import plan
from napari_sslmaps.sources.array import ArraySource


@pytest.fixture
def spec(tmp_path: Path) -> EncoderSpec:
    return make_spec(tmp_path / "mae")


def work(spec: EncoderSpec, side: int, tiling: Tiling | None = None) -> float:
    return work_of(spec.architecture, plan(ArraySource(np.zeros((side, side))), spec, None, tiling).tiles)


def test_work_grows_with_tiles_and_faster_in_one_pass(spec: EncoderSpec) -> None:
    tiled, larger = (work(spec, side, Tiling(16, 0)) for side in (256, 512))
    assert larger == 4 * tiled
    assert work(spec, 512, ONE_PASS) > 2 * work(spec, 512, Tiling(16, 0))
    overlapping = work(spec, 512, Tiling(16, 8))
    assert overlapping > 2 * larger


def test_work_of_a_cnn_is_tokens(spec: EncoderSpec) -> None:
    unet = UNetArchitecture("basic", (1, 1, 1, 1), (4, 4, 8, 16), (), "encoder.layer2")
    cnn = replace(spec, architecture=unet)
    assert work(cnn, 128, ONE_PASS) == 16 * 16


def test_cost_adds_encoders_up(spec: EncoderSpec) -> None:
    planned = plan(ArraySource(noise(64, 80)), spec)
    unit = work_of(spec.architecture, planned.tiles)
    throughputs = Throughput(1.0 / unit, "cpu"), Throughput(2.0 / unit, "cpu")
    both = cost_of([spec, spec], [planned, planned], throughputs)
    assert both.seconds == pytest.approx(3.0)
    assert both.describe() == "1 MB, about 3 s on cpu"
    assert cost_of([spec, spec], [planned, planned], [throughputs[0], None]).describe() == "1 MB"


def test_reading_counts_once_before_and_hides_behind_computing_after(spec: EncoderSpec) -> None:
    planned = plan(ArraySource(noise(512, 512)), spec, None, Tiling(16, 8))
    unit, pixels = work_of(spec.architecture, planned.tiles), 512 * 512
    read = planned.computed_tokens * spec.constraint.token_stride**2
    slow, quick = (
        cost_of([spec], [planned], [Throughput(s / unit, "cpu")], 1e-6).seconds for s in (100.0, 0.1)
    )
    assert slow == pytest.approx(100 + 1e-6 * pixels)
    assert quick == pytest.approx(1e-6 * (read + pixels))
    mask = np.zeros(planned.grid.shape, bool)
    mask[0, 0] = True
    part = plan(ArraySource(noise(512, 512)), spec, None, Tiling(16, 8), mask=mask)
    assert cost_of([spec], [part], [Throughput(0.0, "cpu")], 1e-6).seconds < quick / 30


def test_tokens_beyond_the_budget_take_half_or_nothing(
    spec: EncoderSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = replace(spec, architecture=replace(spec.architecture, dim=384))
    planned = plan(ArraySource(np.zeros((8192, 8192), np.uint8)), wide)
    values = 1024 * 1024 * 384
    full = kept_bytes(wide, planned)
    monkeypatch.setenv("NAPARI_SSLMAPS_FULL_GB", "2")
    assert kept_bytes(wide, planned) - full == 2 * values
    monkeypatch.setenv("NAPARI_SSLMAPS_FULL_GB", "0")
    monkeypatch.setenv("NAPARI_SSLMAPS_MEMORY_GB", "0")
    assert full - kept_bytes(wide, planned) == 2 * values


@pytest.mark.parametrize("name", ["mae-untrained", "dira-untrained"])
def test_memory_is_right_within_a_factor_of_two(name: str) -> None:
    """What is kept of a region, its norms and the coarser levels of its tokens included."""
    encoder = load_encoder(name, device="cpu", precision="float32")
    source, tiling = ArraySource(noise(256, 256)), Tiling(16, 0)
    embedding = embed(source, encoder, tiling=tiling)
    estimate = kept_bytes(encoder.spec, plan(source, encoder.spec, None, tiling))
    planes = embedding.tokens, embedding.attention, embedding.activation
    kept = sum(plane.nbytes for plane in planes if plane is not None)
    assert kept <= estimate <= 2 * kept


@pytest.mark.parametrize("stage", list(UNET_STRIDES))
def test_every_stage_has_its_width(stage: str) -> None:
    unet = UNetArchitecture("bottleneck", (1, 1, 1, 1), (64, 128, 256, 512), (9, 8, 7, 6, 5), stage)
    encoder = dict(
        zip(("stem", "layer1", "layer2", "layer3", "layer4"), (64, 256, 512, 1024, 2048), strict=True)
    )
    part, _, name = stage.partition(".")
    assert unet.token_width == (encoder[name] if part == "encoder" else 9 - int(name[-1]))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.01, "1 s"), (99, "99 s"), (150, "2 min"), (5900, "98 min"), (7200, "2 h")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
