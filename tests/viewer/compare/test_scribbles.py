"""Scribbles and the probe behind them, without Qt: what is read, what is asked, and what is drawn."""

from collections.abc import Iterator

import numpy as np
import pytest
from compare_page_kit import KnownComparer
from napari.components import ViewerModel
from napari.layers import Image, Labels
from viewer_kit import LaterRunner, known_services, noise

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.maps.classes import LabelMap
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.compare.build import ComparisonServices
from napari_sslmaps.viewer.compare.export import PackageExporter
from napari_sslmaps.viewer.compare.model import ProbeKind, ProbeOptions
from napari_sslmaps.viewer.compare.probe_job import Scribbled, Validation
from napari_sslmaps.viewer.compare.scribbles import PREDICTION, SIDE, ScribbleLayers
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.state.tasks import ImmediateRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


class KnownProber:
    """Labels every token with the largest class that was painted."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ProbeKind, int]] = []
        self.validated = 0
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    def predict(self, embedding: Embedding, scribbled: Scribbled, kind: ProbeKind) -> LabelMap:
        number = int(scribbled.labels.max())
        self.asked.append((embedding.provenance.encoder, kind, number))
        return LabelMap(
            values=np.ones(embedding.grid.shape, np.float32),
            grid=embedding.grid,
            provenance=embedding.provenance,
            labels=np.full(embedding.grid.shape, number),
            classes=(1, number),
        )

    def validate(self, embedding: Embedding, scribbled: Scribbled, kind: ProbeKind) -> Validation:
        assert scribbled.labels.any()
        assert embedding.grid.shape == (8, 10)
        self.validated += 1
        return Validation(f"good with {kind}")


class AgainRunner(LaterRunner):
    """Keeps what is submitted while it delivers."""

    def deliver(self) -> None:
        waiting, self.waiting = self.waiting, []
        for work, callbacks in waiting:
            ImmediateRunner.submit(self, work, callbacks)


class Painting:
    """A controller whose probe is computed when told to, with everything embedded and the brush in hand."""

    def __init__(
        self, viewer: ViewerModel, workspace: WorkspaceModel, specs: tuple[EncoderSpec, ...]
    ) -> None:
        self.viewer, self.workspace, self.prober = viewer, workspace, KnownProber()
        self.runners: list[AgainRunner] = []
        services = ComparisonServices(KnownComparer(), self.prober, PackageExporter())
        self.controller = Controller(
            viewer, workspace, make_runner=self.make_runner, services=known_services(comparison=services)
        )
        self.image: Image = viewer.add_image(noise(64, 80), name="tissue")
        workspace.available, workspace.chosen = specs, tuple(spec.name for spec in specs)
        self.controller.run()
        self.deliver()
        workspace.task = "compare"
        self.model = self.controller.compare_page.model
        self.model.scribbling = True
        self.deliver()

    def make_runner(self) -> AgainRunner:
        self.runners.append(AgainRunner())
        return self.runners[-1]

    def deliver(self) -> None:
        for runner in self.runners:
            runner.deliver()

    @property
    def layer(self) -> Labels:
        layer = self.viewer.layers.selection.active
        assert layer.metadata[OWN]["role"] == "scribbles"
        return layer

    def classes(self) -> np.ndarray:
        (drawn,) = self.controller.layer_manager.layers_of(self.image, PREDICTION)
        return np.asarray(drawn.data)


@pytest.fixture
def painting(
    viewer: ViewerModel, workspace: WorkspaceModel, specs: tuple[EncoderSpec, ...]
) -> Iterator[Painting]:
    made = Painting(viewer, workspace, specs)
    yield made
    made.controller.close()


def test_the_classifiers_are_loaded_when_the_brush_is_taken(painting: Painting) -> None:
    assert painting.prober.prepared == 1
    painting.layer.paint((10, 10), 1)
    assert painting.model.probe_text == "Learning from your strokes …"
    painting.model.scribbling = False
    painting.model.scribbling = True
    assert painting.prober.prepared == 1
    painting.deliver()
    assert painting.prober.asked == [("mae-demo", "logistic", 1)]


def test_strokes_that_come_while_it_computes_are_answered_together(painting: Painting) -> None:
    painting.layer.paint((10, 10), 1)
    for column in (20, 30, 40):
        painting.layer.paint((10, column), column // 10)
    painting.deliver()
    assert painting.prober.asked == [("mae-demo", "logistic", 1)]
    assert (painting.classes() == 1).all()
    painting.deliver()
    assert painting.prober.asked[1:] == [("mae-demo", "logistic", 4)]
    assert (painting.classes() == 4).all()
    assert painting.prober.validated == 0
    painting.deliver()
    assert painting.prober.validated == 1
    assert painting.model.probe_text == "good with logistic"


def test_another_encoder_or_probe_answers_from_the_same_scribbles(painting: Painting) -> None:
    painting.layer.paint((10, 10), 2)
    painting.deliver()
    painting.workspace.front = "dinov3-demo"
    painting.deliver()
    painting.model.probe = ProbeOptions(kind="knn")
    painting.deliver()
    assert painting.prober.asked == [
        ("mae-demo", "logistic", 2),
        ("dinov3-demo", "logistic", 2),
        ("dinov3-demo", "knn", 2),
    ]
    shown = [
        layer.metadata[OWN]["encoder"]
        for layer in painting.controller.layer_manager.layers_of(painting.image, PREDICTION)
        if layer.visible
    ]
    assert shown == ["dinov3-demo"]


def test_scribbles_are_found_again_and_follow_the_image(painting: Painting) -> None:
    layer = painting.layer
    layer.paint((10, 10), 1)
    painting.deliver()
    painting.model.scribbling = False
    assert layer.visible
    painting.workspace.shown = "pca"
    assert not layer.visible
    painting.model.scribbling = True
    assert painting.layer is layer
    painting.image.scale = (3, 3)
    np.testing.assert_allclose(layer.scale, (3, 3))
    (drawn,) = painting.controller.layer_manager.layers_of(painting.image, PREDICTION)
    np.testing.assert_allclose(drawn.scale, (24, 24))


def test_a_removed_layer_ends_the_painting(painting: Painting) -> None:
    painting.viewer.layers.remove(painting.layer)
    assert not painting.model.scribbling
    painting.model.scribbling = True
    assert not painting.layer.data.any()


def test_without_tokens_nobody_paints(viewer: ViewerModel, controller: Controller, image: Image) -> None:
    model = controller.compare_page.model
    model.scribbling = True
    assert not model.scribbling
    assert controller.workspace.status.text.startswith("Run the encoders first")


def test_on_a_large_image_scribbles_cover_the_region(viewer: ViewerModel) -> None:
    image = viewer.add_image(np.broadcast_to(np.float32(0), (SIDE + 8, 2 * SIDE)))
    layers = ScribbleLayers(viewer, lambda: None, lambda _: None)
    near = layers.take(image, Region(100, 200, 300, 400), (16, 16))
    assert near.data.shape == (300, 400)
    np.testing.assert_allclose(near.translate, (100, 200))
    assert near.brush_size == 24
    whole = layers.take(image, Region(0, 0, SIDE + 8, 2 * SIDE), (16, 16))
    assert whole.data.shape == (SIDE // 2 + 4, SIDE)
    np.testing.assert_allclose(whole.translate, (0.5, 0.5))
    assert layers.take(image, Region(100, 200, 100, 100), (16, 16)) is near
    layers.lay_down()
