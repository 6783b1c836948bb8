"""A probe that learns while a user paints: what the tokens under the scribbles say of all the others."""

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import Cancelled, SSLMapsError
from napari_sslmaps.maps.classes import LabelMap
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, set_visible
from napari_sslmaps.viewer.compare.model import ComparisonModel
from napari_sslmaps.viewer.compare.probe_job import ProbeJob, Prober, Scribbled, Validation, ValidationJob
from napari_sslmaps.viewer.compare.scribbles import PREDICTION, ScribbleLayers, draw_classes
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

_ADVICE = "Your scribbles stay; paint on to try again."
_HINT = "Paint at least two classes; two strokes of each tell how good it is."
_LEARNING = "Learning from your strokes …"
_RUN_FIRST = "Run the encoders first: a probe learns from their tokens."


class ProbeController:
    """Follows scribbles with predictions, and tells how good they are once a stroke has ended.

    While a prediction is computed, strokes go on; the next one starts from what is painted by then, so that
    answers keep coming however fast a user paints.

    Parameters
    ----------
    viewer, workspace, model
        Viewer of the layers, workspace that says which encoder is in front, and model of the page.
    sessions, layer_manager
        Sessions with what was computed, and its maps, which make room while a user paints.
    runner
        Runner that computes.
    prober
        Prober that learns and predicts.
    """

    def __init__(  # each part is handed in, none is made here
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        model: ComparisonModel,
        sessions: Sessions,
        layer_manager: LayerManager,
        runner: TaskRunner,
        prober: Prober,
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._model = model
        self._sessions = sessions
        self._layer_manager = layer_manager
        self._runner = runner
        self._prober = prober
        self._layers = ScribbleLayers(viewer, self._on_painted, self._on_picked)
        self._seen: Scribbled | None = None
        self._validated: Scribbled | None = None
        self._busy = self._dirty = False
        self._connections = Connections()
        connect, events = self._connections.add, model.events
        connect(events.scribbling, self._on_scribbling)
        connect(events.brush, self._on_brush)
        connect(events.probe, self.refresh)
        for name in ("front", "shown"):
            connect(getattr(workspace.events, name), self._on_front)
        connect(workspace.events.progress, self._on_progress)
        connect(workspace.events.task, self._on_task)
        connect(workspace.events.image, self._put_away)
        connect(viewer.layers.events.removed, self._on_removed)

    def refresh(self) -> None:
        """Predict from what is painted, or once more after the prediction that is being computed."""
        if self._busy:
            self._dirty = True
        else:
            self._predict(self._layers.read())

    def _predict(self, scribbled: Scribbled | None) -> None:
        embedding = self._embedding()
        if embedding is None or scribbled is None:
            return
        if not scribbled.labels.any():
            self._model.probe_text = _HINT
            return
        self._busy, self._dirty, self._seen = True, False, scribbled
        if self._validated is None:
            self._model.probe_text = _LEARNING
        job = ProbeJob(
            embedding, scribbled, self._model.probe.kind, self._prober, self._workspace.options.scale
        )
        self._runner.submit(job, TaskCallbacks(lambda _: None, self._on_predicted, self._on_failed))

    def place_again(self, image: Image) -> None:
        """Move the layers to where the image is now."""
        self._layers.place_again(image)

    def close(self) -> None:
        """Undo every connection; scribbles stay."""
        self._connections.undo()
        self._layers.lay_down()

    def _embedding(self) -> Embedding | None:
        here = self._sessions.here
        found = here[1].embedded.get(self._encoder()) if here is not None else None
        return None if found is None or not found.complete else found.embedding

    def _encoder(self) -> str:
        return self._model.probe.encoder or self._workspace.front

    def _on_scribbling(self) -> None:
        here, embedding = self._sessions.here, self._embedding()
        if not self._model.scribbling:
            self._layers.lay_down()
            if here is not None and here[0] in self._viewer.layers:
                self._viewer.layers.selection.active = here[0]
        elif here is None or embedding is None:
            self._model.scribbling = False
            self._workspace.say(_RUN_FIRST, failed=True)
        else:
            self._begin(here[0], embedding)

    def _begin(self, image: Image, embedding: Embedding) -> None:
        """Give a user the brush, on the image alone: maps make room."""
        self._workspace.side_by_side = self._workspace.anchor_mode = False
        for drawn in self._layer_manager.maps_of(image):
            set_visible(drawn, visible=False)
        self._layers.take(image, _region_of(embedding), embedding.grid.stride_yx)
        self._on_brush()
        if not self._busy:
            nothing = TaskCallbacks(
                lambda _: None, lambda _: None, lambda _: None
            )  # a stroke says what fails
            self._runner.submit(lambda _: self._prober.prepare(), nothing)
        self.refresh()

    def _on_brush(self) -> None:
        if self._layers.layer is not None:
            self._layers.layer.selected_label = self._model.brush

    def _on_picked(self, label: int) -> None:
        self._model.brush = label

    def _on_painted(self) -> None:
        if self._busy:
            self._dirty = True
            return
        scribbled, seen = self._layers.read(), self._seen
        if scribbled is None or seen is None or not np.array_equal(scribbled.labels, seen.labels):
            self._predict(scribbled)
        elif not self._layers.held:
            self._validate()

    def _on_predicted(self, found: LabelMap) -> None:
        self._busy = False
        here = self._sessions.here
        if here is not None and self._layers.layer is not None:
            self._show(here[0], found)
        if self._dirty:
            self.refresh()
        elif not self._layers.held:
            self._validate()

    def _show(self, image: Image, found: LabelMap) -> None:
        drawn = self._layer_manager.show(image, draw_classes(found), live=self._layers.held)
        for layer in self._layer_manager.layers_of(image, PREDICTION):
            set_visible(layer, visible=layer is drawn)

    def _validate(self) -> None:
        embedding, seen = self._embedding(), self._seen
        if embedding is not None and seen is not None and seen is not self._validated:
            self._validated = seen
            job = ValidationJob(
                embedding, seen, self._model.probe.kind, self._prober, self._workspace.options.scale
            )
            self._runner.submit(job, TaskCallbacks(lambda _: None, self._on_validated, self._on_failed))

    def _on_validated(self, found: Validation) -> None:
        self._model.probe_text = found.text
        if found.table is not None:
            self._model.put(found.table)

    def _on_failed(self, error: BaseException) -> None:
        self._busy = False
        if isinstance(error, SSLMapsError) and not isinstance(error, Cancelled):
            self._model.probe_text = str(error)
        elif not isinstance(error, Cancelled):
            self._workspace.say(sentence(error, _ADVICE), failed=True)
        if self._dirty:
            self.refresh()

    def _on_progress(self) -> None:
        if self._workspace.progress is None:
            self.refresh()

    def _on_front(self) -> None:
        """Ask another encoder while a user paints; else make room for the map that is asked for."""
        if self._model.scribbling:
            self.refresh()
        else:
            self._layers.hide()

    def _on_task(self) -> None:
        if self._workspace.task != "compare":
            self._put_away()

    def _put_away(self) -> None:
        """Lay the brush down and hide what was painted: another page or image is shown."""
        self._runner.discard()
        self._busy = self._dirty = False
        self._model.scribbling = False
        self._model.probe_text = ""
        self._validated = None
        self._layers.hide()

    def _on_removed(self) -> None:
        if self._layers.lost:
            self._model.scribbling = False


def _region_of(embedding: Embedding) -> Region:
    """Return what an embedding covers in whole pixels of level 0."""
    grid, region = embedding.grid, embedding.provenance.region
    low = np.floor(np.array(grid.origin_yx)).astype(int)
    high = np.ceil(np.array(grid.origin_yx) + np.array(grid.extent_yx)).astype(int)
    height, width = (int(n) for n in high - low)
    return Region(int(low[0]), int(low[1]), height, width, 0, region.frame if region is not None else 0)
