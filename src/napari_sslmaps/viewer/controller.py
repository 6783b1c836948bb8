"""Builds the parts, connects them, and undoes every connection on `close`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from psygnal import Signal

from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.viewer.anchors import AnchorPointer, Bounds
from napari_sslmaps.viewer.compare import SideBySide
from napari_sslmaps.viewer.connections import Connections
from napari_sslmaps.viewer.download import Download
from napari_sslmaps.viewer.forecast import Forecast
from napari_sslmaps.viewer.image import frame_of, is_own
from napari_sslmaps.viewer.jobs import Painted
from napari_sslmaps.viewer.layers import LayerBoard
from napari_sslmaps.viewer.maps import MapPainter
from napari_sslmaps.viewer.marks import AnchorMarks
from napari_sslmaps.viewer.offer import EncoderOffer
from napari_sslmaps.viewer.pretext import PretextPainter
from napari_sslmaps.viewer.regions import Look
from napari_sslmaps.viewer.review import CheckpointReview
from napari_sslmaps.viewer.runs import EmbeddingRuns, sentence
from napari_sslmaps.viewer.services import Services
from napari_sslmaps.viewer.session import Session
from napari_sslmaps.viewer.stage import Stage
from napari_sslmaps.viewer.tasks import TaskRunner
from napari_sslmaps.viewer.workspace import WorkspaceModel

_TRANSFORMS = ("scale", "translate", "rotate", "shear", "affine", "units")


class Controller:
    """Everything between one viewer and one workspace.

    Parameters
    ----------
    viewer
        A viewer, or its model alone.
    workspace
        What a person chooses.
    make_runner
        Makes what runs work: one for embeddings, one for large maps, one for pretext views, one for
        weight files, one for downloads and one to try encoders out. They are closed with the controller.
    services
        What computes, reads and fetches.
    """

    images_changed = Signal()
    """Image layers came, went or were renamed."""

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        *,
        make_runner: Callable[[], TaskRunner],
        services: Services,
    ) -> None:
        self.viewer = viewer
        self.workspace = workspace
        self._library = services.library
        self._runners = tuple(make_runner() for _ in range(6))
        embed_runner, map_runner, pretext_runner, *others = self._runners
        self._file_runner, self._download_runner, trial_runner = others
        self.board = LayerBoard(viewer)
        self.marks = AnchorMarks(viewer, workspace)
        self.cells = SideBySide(viewer, self.marks)
        self.look = Look(viewer, workspace)
        self.forecast = Forecast(workspace, services.paces, trial_runner, self.look)
        self.runs = EmbeddingRuns(
            workspace, embed_runner, services.embedder, self.forecast, self.look.focus, self._on_painted
        )
        self.pretext = PretextPainter(
            viewer,
            workspace,
            self.board,
            pretext_runner,
            services.pretext,
            region=self.look.region,
            arrange=self._arrange,
        )
        self.stage = Stage(workspace, self.board, self.cells, self.pretext.tools)
        self.painter = MapPainter(
            workspace, self.board, map_runner, shown=self.stage.arrange_new, failed=self._on_failed
        )
        self.pointer = AnchorPointer(viewer, workspace, self.bounds)
        self.offer = EncoderOffer(workspace, services.library)
        self._sessions: dict[Image, Session] = {}
        self._image: Image | None = None
        self._connections = Connections()
        self._image_connections = Connections()
        self._connect()
        self._follow_selection()
        self.forecast.update()

    @property
    def session(self) -> Session | None:
        """What was computed for the image that is looked at."""
        return None if self._image is None else self._sessions.setdefault(self._image, Session())

    def images(self) -> list[Image]:
        """Return the image layers that can be looked at, not our own."""
        return [layer for layer in self.viewer.layers if isinstance(layer, Image) and not is_own(layer)]

    def run(self) -> None:
        """Embed the chosen region by all chosen encoders."""
        image, session = self._image, self.session
        if image is None or session is None or not self.workspace.specs:
            self.forecast.update()
            self.workspace.say(self.workspace.plan.text, failed=True)
            return
        try:
            region = self.look.region(image)
        except SSLMapsError as error:
            self.workspace.say(str(error), failed=True)
            return
        if region != session.region:
            session.forget()
        self.stage.choose_front()
        self.runs.start(image, session, self.workspace.specs, region)

    def cancel(self) -> None:
        """Stop the run; what was painted stays."""
        self.runs.stop()

    def review(self, path: Path, overrides: Overrides | None = None, name: str = "") -> CheckpointReview:
        """Return the review of a weight file or folder, to be started and closed by whoever shows it."""
        review = CheckpointReview(path, self._library, self._file_runner, overrides=overrides, name=name)
        review.accepted.connect(self._on_added)
        return review

    def review_again(self, name: str, path: Path | None = None) -> CheckpointReview:
        """Return the review of a remembered encoder, where it was or where it is now."""
        spec = self._listed(name)
        return self.review(path or Path(str(spec.path)), Overrides.of(spec.overrides), name)

    def forget(self, name: str) -> None:
        """List a remembered encoder no more; its file stays."""
        try:
            self._library.forget(name)
        except SSLMapsError as error:
            self._on_failed(error)
            return
        self.offer.list_again()
        self.workspace.say(f"{name} is no longer listed; its file stays where it is.")

    def download(self, name: str) -> Download:
        """Return the download of a published encoder, to be started and closed by whoever shows it."""
        download = Download(PUBLISHED[name], self._library, self._download_runner)
        download.arrived.connect(lambda arrived: self.offer.list_again(ticked=arrived))
        return download

    def bounds(self) -> Bounds | None:
        """Return where anchors may lie: on the embedded region, else on the chosen one."""
        image, session = self._image, self.session
        if image is None or session is None:
            return None
        try:
            region = self.look.region(image) if self._is_stale(session) else session.region
            shapes = [level.shape_yx for level in self.look.source(image).levels]
        except SSLMapsError as error:
            self._on_failed(error)
            return None
        if region is None:
            return None
        factor = np.divide(shapes[0], shapes[region.level])
        low = np.array([region.y, region.x]) * factor - 0.5
        return Bounds(low, low + np.array(region.shape_yx) * factor)

    def close(self) -> None:
        """Stop what runs, leave no thread, give mouse and keys back, and undo every connection."""
        for runner in self._runners:
            runner.close()
        self._connections.undo()
        self._image_connections.undo()
        self.pointer.close()
        self.offer.close()
        self.pretext.close()

    def _connect(self) -> None:
        connect, layers, events = self._connections.add, self.viewer.layers, self.workspace.events
        connect(layers.selection.events.active, self._follow_selection)
        connect(layers.events.inserted, self._on_inserted)
        connect(layers.events.removed, self._on_removed)
        connect(self.viewer.dims.events.current_step, self._on_view_changed)
        connect(self.viewer.scene.camera.events, self._on_view_changed)
        connect(self.viewer.scene.camera.events.zoom, self.marks.follow_zoom)
        connect(events.image, self._on_image_changed)
        for name in ("region", "level", "target_um", "spacing_um", "tiling", "chosen", "available"):
            connect(getattr(events, name), self.forecast.update)
        connect(events.anchors, self._on_anchors_changed)
        connect(events.attention, lambda: self._repaint("attention"))
        connect(events.pca_rendering, lambda: self._repaint("pca"))
        connect(events.similarity, lambda: self._repaint("similarity"))
        connect(events.maps, self._on_maps_changed)
        for name in ("shown", "front", "side_by_side", "panel", "task"):
            connect(getattr(events, name), self._arrange)
        connect(self.pointer.released, lambda: self._repaint("similarity"))

    def _follow_selection(self) -> None:
        active = self.viewer.layers.selection.active
        if isinstance(active, Image) and not is_own(active):
            self.workspace.image = active
        elif self.workspace.image is None and self.images():
            self.workspace.image = self.images()[-1]

    def _on_inserted(self) -> None:
        self._follow_selection()
        self.images_changed.emit()

    def _on_removed(self, event: Any) -> None:
        layer: Layer = event.value
        self.images_changed.emit()
        if isinstance(layer, Image):
            self._sessions.pop(layer, None)
        if layer is self._image:
            self.workspace.image = next(reversed(self.images()), None)
        elif self.pretext.owns(layer):
            return
        elif self.marks.forget(layer):
            self.workspace.anchors = ()
        elif self.cells.active and not self.cells.busy and self.cells.holds(layer):
            self._arrange()

    def _on_view_changed(self) -> None:
        if self.workspace.region == "view":
            self.forecast.update()

    def _on_image_changed(self) -> None:
        old, new = self._image, self.workspace.image
        if old in self._sessions:
            self._sessions[old].anchors = self.workspace.anchors
            self._sessions[old].spacing_um = self.workspace.spacing_um
        self.runs.abandon()
        self.painter.abandon()
        self.pretext.leave()
        self._image_connections.undo()
        self.cells.leave()
        self.marks.remove()
        self._image = new
        if new is not None:
            for name in _TRANSFORMS:
                self._image_connections.add(getattr(new.events, name), self._on_image_moved)
            self._image_connections.add(new.events.data, self._on_pixels_changed)
            self._image_connections.add(new.events.name, self.images_changed.emit)
        session = self.session
        self.workspace.anchors = session.anchors if session is not None else ()
        self.workspace.spacing_um = session.spacing_um if session is not None else None
        self.workspace.level = 0
        self.offer.tick_fitting()
        if session is not None and session.embedded:
            self.stage.choose_front()
        self.forecast.update()
        self._arrange()

    def _on_image_moved(self) -> None:
        if self._image is not None:
            self.board.place_again(self._image)
            self.marks.place_again()
            self.pretext.tools.place_again()
            self.forecast.update()
            if self.cells.active:
                self._arrange()

    def _on_pixels_changed(self) -> None:
        if self.session is not None:
            self.session.forget()
        self.forecast.update()

    def _on_anchors_changed(self) -> None:
        image, session = self._image, self.session
        self.marks.update()
        if image is None or session is None:
            return
        if not self.workspace.request.positive_yx:
            if self.workspace.anchors:
                self.workspace.say("Negative anchors alone draw no map: set one to be like, too.")
            return
        if self.pointer.dragging:
            self.painter.follow_drag(image, session)
        elif self._is_stale(session):
            self.run()
        else:
            self._repaint("similarity")
            self._embed_missing(image, session)

    def _is_stale(self, session: Session) -> bool:
        """Whether nothing is embedded for the frame that is shown."""
        image = self._image
        return session.region is None or (
            image is not None and session.region.frame != frame_of(self.viewer, image)
        )

    def _embed_missing(self, image: Image, session: Session) -> None:
        missing = [spec for spec in self.workspace.specs if spec.name not in session.embedded]
        if missing and session.region is not None and self.workspace.progress is None:
            self.runs.start(image, session, missing, session.region)

    def _on_maps_changed(self) -> None:
        self._repaint(*self.workspace.maps)

    def _repaint(self, *kinds: Any) -> None:
        image, session = self._image, self.session
        if image is not None and session is not None:
            self.painter.repaint(image, session, *kinds)

    def _on_painted(self, image: Image, painted: Painted | None) -> None:
        session = self._sessions.get(image)
        if session is None or image is not self._image:
            return
        heads = [e.embedding.attention for e in session.embedded.values()]
        self.workspace.heads = max((len(each) for each in heads if each is not None), default=0)
        if painted is None:
            self._repaint("similarity")
        else:
            self.painter.paint(image, painted)

    def _on_added(self, spec: EncoderSpec) -> None:
        self.offer.list_again(ticked=spec.name)
        title = METHOD_INFO[spec.method].title
        self.workspace.say(f"{spec.name}: recognised as {title}, {spec.architecture.summary}.")

    def _listed(self, name: str) -> EncoderSpec:
        return next(spec for spec in self.workspace.available if spec.name == name)

    def _arrange(self) -> None:
        if self._image is not None:
            self.stage.arrange(self._image)

    def _on_failed(self, error: BaseException) -> None:
        self.workspace.say(sentence(error), failed=True)
