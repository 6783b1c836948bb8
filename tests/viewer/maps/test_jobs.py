from pathlib import Path

import numpy as np
import pytest
from encoders_factory import write_encoder
from viewer_kit import KnownEmbedder, make_spec, noise

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.controls import Control
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.encoders.user_encoders import remember
from napari_sslmaps.errors import Cancelled, UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.viewer.maps.embedding_job import (
    EmbeddingJob,
    EmbedOptions,
    EncoderFailed,
    PartialResult,
    PipelineEmbedder,
)
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.tasks import CancelToken, TaskContext
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel


def make_job(tmp_path: Path, embedder: KnownEmbedder, count: int = 2) -> EmbeddingJob:
    workspace = WorkspaceModel(anchors=(Anchor((10.0, 10.0)),))
    specs = [make_spec(tmp_path / str(index), f"e{index}") for index in range(count)]
    source = ArraySource(noise(64, 80))
    return EmbeddingJob(source, Region(0, 0, 64, 80), specs, embedder, lambda: workspace.request)


def test_every_encoder_ends_with_all_its_maps(tmp_path: Path, embedder: KnownEmbedder) -> None:
    reports: list[PartialResult] = []
    completed = make_job(tmp_path, embedder)(TaskContext(CancelToken(), reports.append))
    assert completed == 2
    done = [report for report in reports if report.complete]
    assert [report.encoder for report in done] == ["e0", "e1"]
    assert [drawing.kind for drawing in done[0].drawings] == ["attention", "pca", "similarity"]
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_one_failing_encoder_does_not_stop_the_others(tmp_path: Path, embedder: KnownEmbedder) -> None:
    def fail_first(step: int) -> None:
        if len(embedder.calls) == 1:
            raise UnsupportedImageError("bad")

    embedder.on_step = fail_first
    reports: list[object] = []
    assert make_job(tmp_path, embedder)(TaskContext(CancelToken(), reports.append)) == 1
    assert [report.encoder for report in reports if isinstance(report, EncoderFailed)] == ["e0"]


def test_cancelling_reports_what_there_is(tmp_path: Path, embedder: KnownEmbedder) -> None:
    token, reports = CancelToken(), []
    embedder.on_step = lambda step: token.cancel() if step else None
    with pytest.raises(Cancelled):
        make_job(tmp_path, embedder)(TaskContext(token, reports.append))
    assert not any(report.complete for report in reports)
    assert reports[-1].embedding is not None
    assert len(embedder.calls) == 1


def test_the_pipeline_loads_a_remembered_file_once_and_embeds(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "mine.safetensors", "dinov3")
    spec = remember(path, name="my-dino")
    embedder = PipelineEmbedder(LoadedEncoders())
    source = ArraySource((noise(64, 64) * 255).astype(np.uint8))
    progress = []
    embedding = embedder(source, spec, Region(0, 0, 64, 64), progress.append)
    path.unlink()
    again = embedder(source, spec, Region(0, 0, 64, 64), lambda _: None)
    np.testing.assert_array_equal(embedding.tokens, again.tokens)
    assert embedding.tokens.shape == (8, 8, 32)
    assert embedding.provenance.encoder == "my-dino"
    assert progress[-1].done == progress[-1].total


def test_detail_paints_a_coarse_map_first_and_refines_it(tmp_path: Path) -> None:
    spec = remember(write_encoder(tmp_path / "mine.safetensors", "mae"), name="my-mae")
    workspace, reports = WorkspaceModel(anchors=(Anchor((10.0, 10.0)),)), []
    source = ArraySource((noise(64, 64) * 255).astype(np.uint8))
    colour = Control.of_encoder("colour", spec)
    job = EmbeddingJob(
        source,
        Region(0, 0, 64, 64),
        (spec, colour),
        PipelineEmbedder(LoadedEncoders()),
        lambda: workspace.request,
        EmbedOptions(detail=2),
    )
    assert job(TaskContext(CancelToken(), reports.append)) == 2
    shapes = {report.embedding.grid.shape for report in reports if report.embedding is not None}
    assert shapes == {(16, 16)}
    done = [report for report in reports if report.complete]
    assert [report.encoder for report in done] == ["my-mae", colour.name]
    assert done[0].embedding.provenance.stride == 4
    assert "similarity" in [drawing.kind for drawing in done[0].drawings]


class Impatient(CancelToken):
    """Asks to stop at the third check: after the first batch."""

    checks = 0

    def check(self) -> None:
        self.checks += 1
        if self.checks == 3:
            raise Cancelled("Stopped.")


def test_a_stopped_run_goes_on_where_it_was_and_a_second_comes_from_the_cache(tmp_path: Path) -> None:
    spec = remember(write_encoder(tmp_path / "mine.safetensors", "dinov3"), name="my-dino")
    source, workspace = ArraySource(noise(256, 256)), WorkspaceModel(maps=("attention",))
    options = EmbedOptions(Tiling(4, 0), focus_yx=(200.0, 200.0), keep=True)
    embedder, region = PipelineEmbedder(LoadedEncoders()), Region(0, 0, 256, 256)
    job = EmbeddingJob(source, region, [spec], embedder, lambda: workspace.request, options)

    def run() -> PartialResult:
        reports: list[PartialResult] = []
        job(TaskContext(CancelToken(), reports.append))
        return reports[-1]

    stopped: list[PartialResult] = []
    with pytest.raises(Cancelled):
        job(TaskContext(Impatient(), stopped.append))
    begun = np.isfinite(stopped[-1].embedding.tokens[..., 0])
    assert begun[25, 25]
    assert not begun.all()
    later, again = run(), run()
    assert later.complete
    assert later.restored == begun.mean()
    assert again.restored == 1
    np.testing.assert_array_equal(again.embedding.tokens, later.embedding.tokens)


def test_the_pipeline_draws_a_control_once_and_embeds() -> None:
    encoders = LoadedEncoders()
    embedder, spec = PipelineEmbedder(encoders), get_spec("ijepa-untrained")
    source = ArraySource(noise(48, 64))
    first, second = (embedder(source, spec, Region(0, 0, 48, 64), lambda _: None) for _ in range(2))
    assert first.provenance.encoder == "ijepa-untrained"
    np.testing.assert_array_equal(first.tokens, second.tokens)
    assert encoders.get(spec) is encoders.get(spec)
