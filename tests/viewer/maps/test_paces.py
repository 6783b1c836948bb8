from pathlib import Path

import pytest
from encoders_factory import write_encoder

from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.encoders.user_encoders import remember
from napari_sslmaps.pipeline.cost import Throughput
from napari_sslmaps.viewer.maps.throughput import MeasuredPaces
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders


@pytest.fixture
def spec(tmp_path: Path) -> EncoderSpec:
    return remember(write_encoder(tmp_path / "mine.safetensors", "dinov3"), name="mine")


def test_a_measured_pace_is_known_at_the_next_start(spec: EncoderSpec) -> None:
    first = MeasuredPaces(LoadedEncoders())
    assert first.known(spec) is None
    pace = first.measure(spec)
    assert pace.seconds > 0
    assert pace.device
    assert first.known(spec) == MeasuredPaces(LoadedEncoders()).known(spec) == pace


def test_a_damaged_file_is_measured_again(spec: EncoderSpec, nobody_at_home: Path) -> None:
    MeasuredPaces(LoadedEncoders()).learn(spec, Throughput(1.0, "cpu"))
    written = nobody_at_home / "config" / "paces.json"
    for damaged in ('{"a": [1', "[]", '{"a": 1}', '{"a": ["x", "cpu"]}'):
        written.write_text(damaged)
        assert MeasuredPaces(LoadedEncoders()).known(spec) is None


def test_what_cannot_be_written_is_known_until_the_end(
    spec: EncoderSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAPARI_SSLMAPS_CONFIG", str(tmp_path / "file" / "folder"))
    throughputs = MeasuredPaces(LoadedEncoders())
    throughputs.learn(spec, Throughput(1.0, "cpu"))
    assert throughputs.known(spec) == Throughput(1.0, "cpu")
