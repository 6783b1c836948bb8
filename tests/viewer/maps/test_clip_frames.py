"""Clips: all frames embedded ahead, maps that follow at once, and anchors that go along."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import PLAIN, KnownEmbedder

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidAnchorError
from napari_sslmaps.maps.tracking import direction_of, find_again, follow
from napari_sslmaps.pipeline.progress import OnProgress
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.maps.embedding_job import EmbedOptions, EncoderChoice
from napari_sslmaps.viewer.state.workspace import Anchor

FRAMES, STEP = 5, 8


@pytest.fixture
def clip(viewer: ViewerModel, controller: Controller) -> Image:
    return viewer.add_image(np.random.default_rng(0).random((FRAMES, 64, 80), np.float32), name="clip")


class MovingEmbedder(KnownEmbedder):
    """Tokens that are the same in every frame, but a column further to the right in each."""

    def __call__(
        self,
        source: ImageSource,
        method: EncoderChoice,
        region: Region,
        on_progress: OnProgress,
        options: EmbedOptions = PLAIN,
    ) -> Embedding:
        made = super().__call__(source, method, region, on_progress, options)
        drawn = np.random.default_rng(7).normal(size=made.tokens.shape).astype(np.float32)
        return replace(made, tokens=np.roll(drawn, region.frame, axis=1))


@pytest.fixture
def moving(controller: Controller) -> MovingEmbedder:
    embedder = MovingEmbedder()
    controller.runs._embedder = controller.clip._embedder = embedder
    return embedder


def _frames(shift: int = 1) -> list[Embedding]:
    tokens = np.random.default_rng(3).normal(size=(10, 20, 12)).astype(np.float32)
    return [
        Embedding.from_tokens(np.roll(tokens, (n, 2 * n * shift), (0, 1)), stride=STEP) for n in range(FRAMES)
    ]


def test_a_place_is_followed_by_whole_tokens_both_ways() -> None:
    frames = _frames()
    found = follow(frames, 2, (35.0, 61.5))
    assert [match.pixel_yx for match in found] == [
        (35.0 + STEP * (n - 2), 61.5 + 2 * STEP * (n - 2)) for n in range(FRAMES)
    ]
    assert min(match.similarity for match in found) > 0.999
    assert [match.pixel_yx for match in follow(frames, 2, (35.0, 61.5), reach=0)] == [(35.0, 61.5)] * FRAMES


def test_what_looks_alike_everywhere_stays_where_it_is() -> None:
    even = Embedding.from_tokens(np.ones((6, 6, 4)) + 0.1 * np.eye(6, 4)[:, None], stride=STEP)
    look = direction_of(even, (20.0, 20.0))
    assert find_again(even, look, (20.0, 20.0)).pixel_yx == (20.0, 20.0)


def test_a_place_never_leaves_the_region_nor_comes_from_outside_it() -> None:
    tokens = np.random.default_rng(3).normal(size=(3, 3, 5)).astype(np.float32)
    first = Embedding.from_tokens(tokens, stride=STEP)
    grid = TokenGrid.covering(Region(0, 0, 18, 18), STEP)
    moved = replace(first, tokens=np.roll(tokens, 1, axis=1), grid=grid)
    match = find_again(moved, direction_of(first, (4.0, 15.0)), (4.0, 15.0))
    assert match.pixel_yx == (4.0, 17.0)  # of which the last token shows two columns
    assert np.isnan(find_again(moved, direction_of(first, (4.0, 4.0)), (40.0, 4.0)).similarity)
    with pytest.raises(InvalidAnchorError):
        follow([first], 0, (40.0, 4.0))


def test_anchors_go_along_when_they_are_tracked(
    viewer: ViewerModel, controller: Controller, clip: Image, moving: MovingEmbedder
) -> None:
    workspace = controller.workspace
    workspace.add_anchor(Anchor((20.0, 12.0)), keep=False)
    steps = len(controller.history._done)
    viewer.dims.set_current_step(0, 1)
    controller.coordinator.follow_frame()
    assert workspace.anchors[0].pixel_yx == (20.0, 12.0)
    workspace.track = True
    for frame, column in ((2, 20.0), (4, 36.0), (1, 12.0)):
        viewer.dims.set_current_step(0, frame)
        controller.coordinator.follow_frame()
        assert workspace.anchors[0].pixel_yx == (20.0, column)
        values = controller.layer_manager.find(clip, "similarity", "mae-demo").data[0]
        assert np.unravel_index(values.argmax(), values.shape) == (2, int(column) // STEP)
    assert len(controller.history._done) == steps
    assert controller.marks.main.data.tolist() == [[1, 20.0, 12.0]]


def test_a_frame_is_painted_once_for_itself_and_for_anchors_that_went_along(
    viewer: ViewerModel,
    controller: Controller,
    clip: Image,
    moving: MovingEmbedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = controller.workspace
    workspace.add_anchor(Anchor((20.0, 12.0)), keep=False)
    viewer.dims.set_current_step(0, 1)
    controller.coordinator.follow_frame()
    workspace.track = True
    controller.clip.embed_all()
    painted: list[tuple[str, ...]] = []
    paint = controller.coordinator.repaint
    monkeypatch.setattr(controller.coordinator, "repaint", lambda *maps: (painted.append(maps), paint(*maps)))
    monkeypatch.setattr(controller.coordinator, "repaint_for_anchors", lambda: painted.append(("anchors",)))
    viewer.dims.set_current_step(0, 2)
    controller.coordinator.take_frame()
    assert workspace.anchors[0].pixel_yx == (20.0, 20.0)
    assert len(painted) == 1


def test_all_frames_are_embedded_ahead_and_lie_in_layers(
    viewer: ViewerModel, controller: Controller, clip: Image, embedder: KnownEmbedder
) -> None:
    workspace = controller.workspace
    workspace.add_anchor(Anchor((20.0, 12.0)), keep=False)
    viewer.dims.set_current_step(0, 3)
    controller.clip.embed_all()
    assert len(embedder.calls) == 2 + 2 * FRAMES
    assert [region.frame for _, region in embedder.calls[2::2]] == [3, 4, 0, 1, 2]
    assert len({options.window for options in embedder.options[2:]}) == 1
    layer = viewer.layers["clip / similarity, all frames / mae-demo"]
    assert layer.data.shape == (FRAMES, 8, 10)
    assert not layer.visible
    np.testing.assert_allclose(layer.data_to_world((4, 0, 0)), (4, 3.5, 3.5))
    assert workspace.progress is None
    assert "5 frames embedded by 2 methods" in workspace.status.text
    for frame in (0, 4):
        viewer.dims.set_current_step(0, frame)
        assert controller.coordinator.take_frame()
        shown = controller.layer_manager.find(clip, "similarity", "mae-demo")
        assert shown.data_to_world((0, 0, 0))[0] == frame
    assert len(embedder.calls) == 2 + 2 * FRAMES
    workspace.add_anchor(Anchor((20.0, 70.0)), keep=False)
    controller.clip.embed_all()
    assert len(embedder.calls) == 2 + 2 * FRAMES
    assert layer.data[:, :, 5:].min() > 0.9
    assert [each.name for each in viewer.layers].count(layer.name) == 1


def test_components_of_all_frames_have_one_basis_and_lie_as_colours(
    viewer: ViewerModel, controller: Controller, clip: Image
) -> None:
    controller.workspace.shown = "pca"
    controller.run()
    controller.clip.embed_all()
    layer = viewer.layers["clip / pca, all frames / mae-demo"]
    assert layer.rgb
    assert layer.data.shape == (FRAMES, 8, 10, 4)
    np.testing.assert_array_equal(layer.data[0], layer.data[4])


def test_what_was_embedded_ahead_is_of_no_use_to_other_pixels_and_other_methods(
    viewer: ViewerModel, controller: Controller, clip: Image, embedder: KnownEmbedder
) -> None:
    workspace = controller.workspace
    workspace.chosen = ("mae-demo",)
    controller.clip.embed_all()
    workspace.chosen = ("mae-demo", "dinov3-demo")
    viewer.dims.set_current_step(0, 4)
    assert not controller.coordinator.take_frame()
    workspace.chosen = ("mae-demo",)
    assert controller.coordinator.take_frame()
    clip.data = clip.data + 1
    assert controller.sessions.here[1].clip is None
    viewer.dims.set_current_step(0, 3)
    assert not controller.coordinator.take_frame()


def test_work_on_all_frames_can_be_stopped(
    viewer: ViewerModel, controller: Controller, clip: Image, embedder: KnownEmbedder
) -> None:
    def stop(_step: int) -> None:
        if len(embedder.calls) == 4:
            controller.cancel()

    embedder.on_step = stop
    controller.clip.embed_all()
    workspace = controller.workspace
    assert workspace.progress is None
    assert not workspace.status.failed
    assert not controller.clip.busy
    assert sorted(controller.sessions.here[1].clip.frames) == [2, 3]
    embedder.on_step = str
    controller.clip.embed_all()
    assert len(embedder.calls) == 4 + 2 * FRAMES - 3


def test_a_single_image_has_no_frames(controller: Controller, image: Image, embedder: KnownEmbedder) -> None:
    controller.clip.embed_all()
    assert controller.workspace.status.text == "tissue has a single frame: Run embeds it."
    assert not embedder.calls


def test_similarity_over_time_is_that_of_the_place_or_of_the_best_match(
    viewer: ViewerModel, controller: Controller, clip: Image, moving: MovingEmbedder
) -> None:
    workspace = controller.workspace
    assert controller.clip.courses() is None
    workspace.add_anchor(Anchor((20.0, 12.0)), keep=False)
    assert controller.clip.courses() is None
    controller.clip.embed_all()
    found = controller.clip.courses()
    assert (found.frames, found.at, list(found.values)) == ((0, 1, 2, 3, 4), 2, ["mae-demo", "dinov3-demo"])
    values = found.values["mae-demo"]
    assert values[2] == 1
    assert max(values[:2] + values[3:]) < 0.9
    workspace.track = True
    assert min(controller.clip.courses().values["mae-demo"][1:]) > 0.999
    controller.clip.go_to(4)
    assert viewer.dims.current_step[0] == 4
    workspace.anchors = (Anchor((20.0, 12.0), negative=True),)
    assert controller.clip.courses() is None
