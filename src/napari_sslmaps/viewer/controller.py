"""Builds the parts, connects them, and undoes every connection on `close`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from napari.components import ViewerModel
from napari.layers import Image, Layer
from psygnal import Signal

from napari_sslmaps.viewer.canvas.anchor_layers import AnchorMarks
from napari_sslmaps.viewer.canvas.anchor_pointer import AnchorPointer
from napari_sslmaps.viewer.canvas.flicker_keys import FlickerKeys
from napari_sslmaps.viewer.canvas.image_layer import (
    is_own,
    lay_aside_masks,
    masks_among,
    path_of,
    uncover,
    unwrapped,
)
from napari_sslmaps.viewer.canvas.map_layers import LayerManager
from napari_sslmaps.viewer.canvas.other_images import OtherImages, take_left_out
from napari_sslmaps.viewer.canvas.region_masks import RegionMasks
from napari_sslmaps.viewer.canvas.region_selection import RegionSelection, has_rectangle
from napari_sslmaps.viewer.canvas.region_shapes import RegionShapes
from napari_sslmaps.viewer.canvas.shared_contrast import SharedContrast
from napari_sslmaps.viewer.canvas.side_by_side import SideBySide
from napari_sslmaps.viewer.compare.build import ComparePage, CompareParts
from napari_sslmaps.viewer.encoders.actions import EncoderActions
from napari_sslmaps.viewer.encoders.encoder_list import EncoderList
from napari_sslmaps.viewer.maps.anchor_sets import AnchorSets
from napari_sslmaps.viewer.maps.areas import AreaController
from napari_sslmaps.viewer.maps.attention_controller import AttentionController
from napari_sslmaps.viewer.maps.clip import ClipFrames
from napari_sslmaps.viewer.maps.coordinator import MapCoordinator, TokenWork
from napari_sslmaps.viewer.maps.embedding_job import PartialResult
from napari_sslmaps.viewer.maps.head_stack import HeadStack
from napari_sslmaps.viewer.maps.map_controller import MapController
from napari_sslmaps.viewer.maps.pca_bases import AlignedColours, Bases
from napari_sslmaps.viewer.maps.run_estimate import RunEstimate
from napari_sslmaps.viewer.maps.runs import EmbeddingRuns
from napari_sslmaps.viewer.maps.scale import ScaleSteps
from napari_sslmaps.viewer.maps.session_files import SessionFiles, SessionTools
from napari_sslmaps.viewer.maps.tracking import AnchorTracker
from napari_sslmaps.viewer.maps.visibility import Difference, VisibilityController
from napari_sslmaps.viewer.pretext.controller import PretextController
from napari_sslmaps.viewer.readers.controller import ReadingController
from napari_sslmaps.viewer.readers.new_study import NewStudy
from napari_sslmaps.viewer.readers.study_report import StudyReports
from napari_sslmaps.viewer.search.controller import SearchController, SearchParts
from napari_sslmaps.viewer.services import Services
from napari_sslmaps.viewer.state import dock_state
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.history import History
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import Session, Sessions
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

_TRANSFORMS = ("scale", "translate", "rotate", "shear", "affine", "units")


class Runners(NamedTuple):
    """Runners of work, each on a thread of its own, so that none waits for another."""

    embedding: TaskRunner
    maps: TaskRunner
    pretext: TaskRunner
    attention: TaskRunner
    masks: TaskRunner
    files: TaskRunner
    downloads: TaskRunner
    trials: TaskRunner
    images: TaskRunner
    libraries: TaskRunner
    search: TaskRunner
    studies: TaskRunner


_HINT = " Click on the image: similarity to that place appears."


class Controller:
    """Everything between one viewer and one workspace.

    Parameters
    ----------
    viewer
        A viewer, or its model alone.
    workspace
        Workspace in which the user chooses.
    make_runner
        Function that makes each of the `Runners`, which are closed with the controller.
    services
        Services that compute, read and fetch.
    """

    _closed = False
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
        self.viewer = viewer = unwrapped(viewer)
        self.workspace = workspace
        self._services = services
        runners = self._runners = Runners(*(make_runner() for _ in Runners._fields))
        self._left = dock_state.take(viewer) or dock_state.DockState(Sessions(), LayerManager(viewer), {})
        self.sessions, self.layer_manager = self._left.sessions, self._left.layer_manager
        self.shared_contrast = SharedContrast(viewer, workspace, self.layer_manager)
        self.marks = AnchorMarks(viewer, workspace)
        self.cells = SideBySide(viewer)
        self.reading = ReadingController(workspace, self.cells)
        self.masks = RegionMasks(viewer, workspace, self.layer_manager, runners.masks, self._on_failed)
        self.other_images = OtherImages(viewer, workspace, runners.images, self._on_not_read)
        self.region_selection = RegionSelection(viewer, workspace, self.masks.placed)
        self.run_estimate = RunEstimate(
            workspace, services.throughputs, runners.trials, self.region_selection, self.region_selection.mask
        )
        self.runs = EmbeddingRuns(
            workspace,
            runners.embedding,
            services.embedder,
            self.run_estimate,
            self.region_selection.focus,
        )
        self.pretext = PretextController(
            viewer,
            workspace,
            self.layer_manager,
            runners.pretext,
            services.pretext,
            region=self.region_selection.region,
            arrange=self._arrange,
        )
        self.stage = VisibilityController(workspace, self.layer_manager, self.cells, self.pretext.tools)
        self.map_controller = MapController(
            workspace,
            self.sessions,
            self.layer_manager,
            runners.maps,
            shown=self.stage.arrange_new,
            in_view=self.stage.in_view,
            failed=self._on_failed,
        )
        self.attention = AttentionController(
            workspace,
            self.layer_manager,
            runners.attention,
            services.attender,
            shown=self.stage.arrange_new,
            in_view=self.stage.in_view,
            failed=self._on_failed,
        )
        self.difference = Difference(workspace, self.layer_manager)
        self.bases, self.aligned = Bases(workspace, self.layer_manager), AlignedColours(workspace)
        self.anchor_sets = AnchorSets(workspace, self.sessions, self.region_selection)
        self.heads = HeadStack(viewer, workspace, self.layer_manager)
        self.keys = FlickerKeys(viewer, workspace, self.stage.methods)
        self.history = History(viewer, workspace, self.masks)
        self.clip = ClipFrames(
            viewer,
            workspace,
            self.sessions,
            self.region_selection,
            runners.embedding,
            services.embedder,
            self.layer_manager,
        )
        self.coordinator = MapCoordinator(
            workspace,
            self.sessions,
            self.region_selection,
            TokenWork(self.runs, self.clip, AnchorTracker(workspace, self.history.replace_anchors)),
            self.map_controller,
            self.attention,
            self.stage,
        )
        self.pointer = AnchorPointer(viewer, workspace, self.coordinator.bounds)
        self.pointer.zoom = self._zoom
        self.areas = AreaController(
            viewer, workspace, self.sessions, self.layer_manager, self.region_selection.source
        )
        self.shapes = RegionShapes(viewer, workspace)
        self._make_pages(make_runner)
        self.session_files = SessionFiles(
            viewer,
            workspace,
            self.sessions,
            SessionTools(
                self.coordinator,
                self.run,
                self.history.restart,
                self.pretext.maps_camera,
                self.shapes,
                self.shared_contrast,
                self.search_page,
                self.areas,
                self.compare_page.annotation_file,
                self.compare_page.annotate,
            ),
        )
        self.scale = ScaleSteps(viewer, workspace, self.sessions, self.region_selection)
        self.encoder_list = EncoderList(workspace, services.library)
        self.files = EncoderActions(
            workspace,
            services.library,
            self.encoder_list,
            (runners.files, runners.downloads),
            self._on_failed,
        )
        self._connections, self._image_connections = Connections(), Connections()
        self._connect()
        self._follow_selection()
        self.run_estimate.update()

    def _make_pages(self, make_runner: Callable[[], TaskRunner]) -> None:
        """Build the pages that stand beside the maps."""
        self.compare_page = ComparePage(
            self.viewer,
            self.workspace,
            CompareParts(self.sessions, self.coordinator, self.layer_manager),
            make_runner,
            self._services.comparison,
        )
        self.new_study = NewStudy(
            self.viewer,
            self.workspace,
            self.sessions,
            self.reading,
            self._runners.studies,
            self._services.study_maker,
        )
        self.study_reports = StudyReports(self.workspace, self.reading, self._runners.studies)
        self.search_page = SearchController(
            self.viewer,
            self.workspace,
            SearchParts(self.sessions, self.coordinator, self.stage),
            (self._runners.search, self._runners.images),
            self._services.searcher,
        )

    @property
    def session(self) -> Session | None:
        """Session of the image that is shown."""
        here = self.sessions.here
        return None if here is None else here[1]

    def images(self) -> list[Image]:
        """Return the image layers of the user, not our own."""
        return [layer for layer in self.viewer.layers if isinstance(layer, Image) and not is_own(layer)]

    def prepare(self) -> None:
        """Load the libraries that encoders need in the background; the forecast says so until it is done."""
        self.workspace.loading = True

        def done(_: object) -> None:
            self.workspace.loading = False

        self._runners.libraries.submit(
            lambda _: self._services.prepare(), TaskCallbacks(lambda _: None, done, done)
        )

    def adopt(self) -> None:
        """Take over what an earlier dock of this viewer left: choices, anchors, and what it computed."""
        image = self._left.image
        for name, value in self._left.values.items():
            setattr(self.workspace, name, value)
        if self._left.search is not None:
            self.search_page.restore(self._left.search)
        if self._left.values and image is not None and image in self.viewer.layers:
            self.workspace.image = image
            self.coordinator.repaint(*self.workspace.maps)
            self._arrange()
        self._lay_aside_masks()

    def look_at(self, image: Image) -> None:
        """Look at an image that a user chose, and bring it into sight."""
        self.workspace.image = image
        hidden = uncover(self.viewer, image)
        if hidden:
            self.workspace.say(f"{', '.join(hidden)} is hidden: it lies over {image.name}.")

    def run(self) -> None:
        """Embed the chosen region by all chosen encoders."""
        self.run_estimate.update()
        self.coordinator.run()

    def stack_heads(self) -> None:
        """Show all heads of the method in front as a layer to slide through."""
        if self.sessions.here is not None:
            self.heads.show(*self.sessions.here)

    def cancel(self) -> None:
        """Stop the run; what was painted stays."""
        self.compare_page.cancel()
        self.search_page.cancel()
        self.new_study.cancel()
        self.study_reports.cancel()
        self.pretext.cancel()
        self.runs.stop()

    def close(self) -> None:
        """Stop what runs, leave no thread, give mouse and keys back, and undo every connection."""
        if self._closed:
            return
        self._closed = True
        self.session_files.save_by_itself()
        dock_state.leave(
            self.viewer, self.workspace, self.sessions, self.layer_manager, self.search_page.choice
        )
        # cells go with the dock; the map in front is left in view
        self.workspace.side_by_side = self.workspace.panels_side_by_side = False
        for runner in self._runners:
            runner.close()
        self._connections.undo()
        self.marks.remove()
        self._image_connections.undo()
        self.pointer.close()
        self.keys.close()
        self.history.close()
        self.shapes.close()
        self.scale.close()
        self.shared_contrast.close()
        self.compare_page.close()
        self.reading.close()
        self.encoder_list.close()
        self.pretext.close()
        self.masks.close()
        self._services.release()

    def _connect(self) -> None:
        connect, layers, workspace = self._connections.add, self.viewer.layers, self.workspace
        events = workspace.events
        connect(layers.selection.events.active, self._follow_selection)
        connect(layers.events.inserted, self._on_inserted)
        connect(layers.events.inserted, self.marks.stay_on_top)
        self._connections.add_removals(layers, self._on_removed)
        connect(self.viewer.dims.events.current_step, self._on_view_changed)
        connect(self.viewer.dims.events.current_step, self.marks.update)
        connect(self.viewer.scene.camera.events, self._on_view_changed)
        connect(self.viewer.scene.camera.events.zoom, self.marks.follow_zoom)
        connect(events.image, self._on_image_changed)
        connect(events.task, lambda _: workspace.say(""))  # what was said is of the page that is left
        connect(events.controls, self.coordinator.embed_missing_of_embedded)
        for name in ("token_block", "token_norm"):
            connect(getattr(events, name), self.coordinator.follow_depth)
        for name in (
            "region",
            "level",
            "target_um",
            "spacing_um",
            "tiling",
            "detail",
            "resolution",
            "token_block",
            "token_norm",
            "options",  # the scale is of the region
            "chosen",
            "available",
            "loading",
        ):
            connect(getattr(events, name), self.run_estimate.update)
        connect(self.masks.changed, self._on_mask)
        connect(events.region, self.coordinator.await_no_mask)
        connect(self.shapes.changed, self._on_shapes_changed)
        connect(self.pointer.hovered, self.coordinator.preview)
        connect(events.live, self._on_live)
        for name in ("area_options", "areas_shown", "front"):
            connect(getattr(events, name), self._on_areas_changed)
        connect(events.anchors, self._on_anchors_changed)
        for name in ("groups", "group", "reference"):
            connect(getattr(events, name), self._on_anchors_changed)
        connect(events.options, self.aligned.follow_options)
        connect(events.options, self.coordinator.follow_options)
        connect(events.side_by_side, self.aligned.follow_side_by_side)
        connect(events.bases, lambda: self.coordinator.repaint("pca"))
        connect(events.maps, lambda: self.coordinator.repaint(*self.workspace.maps))
        connect(events.front, self.stage.follow_front)
        in_view = ("shown", "front", "against", "side_by_side", "difference", "task")
        for name in (*in_view, "panel", "panels_side_by_side"):
            connect(getattr(events, name), self._arrange)
        connect(events.side_by_side, lambda on: self._leave_other_mode("difference", on))
        connect(events.difference, lambda on: self._leave_other_mode("side_by_side", on))
        for painter in (self.map_controller, self.attention):
            connect(painter.drawn, self._on_drawn)
        connect(self.runs.partial, self._on_partial)
        connect(events.progress, self.clip.follow_progress)
        connect(self.clip.arrived, lambda _: self.coordinator.take_frame())
        connect(self.clip.finished, lambda image: self._on_partial(image, None))
        connect(self.pointer.released, self.coordinator.repaint_for_anchors)
        connect(self.pointer.released, self.scale.update)

    def _follow_selection(self) -> None:
        if self.layer_manager.listing:  # napari selects what it lists, and what was selected is again
            return
        active, images = self.viewer.layers.selection.active, self.images()
        if active in images and active not in masks_among(images):
            self.workspace.image = active
        elif self.workspace.image is None:
            self.workspace.image = self._newest()

    def _newest(self) -> Image | None:
        """Return the topmost image of the user, a mask of another one last; None without any."""
        images = self.images()
        masks = masks_among(images)
        return next((image for image in reversed(images) if image not in masks), None)

    def _on_inserted(self, event: Any) -> None:
        self._follow_selection()
        self.images_changed.emit()
        if event.value in masks_among(self.images()):
            self._lay_aside_masks()

    def _lay_aside_masks(self) -> None:
        image = self.workspace.image
        said = "" if image is None else lay_aside_masks(image, self.images())
        if said:
            self.workspace.say(said)

    def _on_removed(self, layer: Layer) -> None:
        if isinstance(layer, Image) and not is_own(layer):
            with self.viewer.layers.batched_update():  # napari collects garbage after each change
                self._answer_removal(layer)
                self.layer_manager.forget(layer)
            self._services.release()
        else:
            self._answer_removal(layer)
            self._services.hold()

    def _answer_removal(self, layer: Layer) -> None:
        self.images_changed.emit()
        looked_at = layer is self.sessions.image
        if layer is self.workspace.reference:
            self.workspace.reference = None
        if isinstance(layer, Image):
            self.sessions.drop(layer)
        if looked_at:
            self.workspace.say("")
            self.workspace.image = self._newest()
        elif self.pretext.owns(layer):
            return
        elif self.marks.forget(layer):
            self.workspace.anchors = ()
        elif self.cells.holds(layer):
            self._arrange()
        elif self.sessions.image is not None:
            self.stage.tell(self.sessions.image)

    def _on_view_changed(self, _event: object = None) -> None:
        if self.workspace.region == "view":
            self.run_estimate.update()

    def _on_image_changed(self) -> None:
        old, before, new = self.session, self.sessions.image, self.workspace.image
        if old is not None:
            self.workspace.say("")  # what was said is of that image
            old.anchors = self.workspace.anchors
            old.spacing_um = self.workspace.spacing_um
            old.choice = self.workspace.region
            old.areas_shown = self.workspace.areas_shown
            old.requested = self.workspace.appearance
        self.coordinator.abandon()
        self.masks.abandon()
        self.pretext.leave()
        self._image_connections.undo()
        self.cells.leave()
        self.sessions.image = new
        self.stage.turn_to(new)
        if new is not None:
            for name in _TRANSFORMS:
                self._image_connections.add(getattr(new.events, name), self._on_image_moved)
            self._image_connections.add(new.events.data, self._on_pixels_changed)
            self._image_connections.add(new.events.name, self.images_changed.emit)
            active = self.viewer.layers.selection.active
            if isinstance(active, Image) and not is_own(active) and new in self.viewer.layers:
                # else the next layer that comes brings `active` back
                self.viewer.layers.selection.active = new
        session = self.session
        self.workspace.reference = None
        self.workspace.anchors = session.anchors if session is not None else ()
        self.marks.update()
        self.workspace.spacing_um = session.spacing_um if session is not None else None
        self.workspace.areas_shown = session is not None and session.areas_shown
        if new is not None:
            take_left_out(self.workspace, new)
        self.workspace.level = 0
        self._choose_region(before, new)
        self.history.restart()
        self.encoder_list.tick_fitting()
        if session is not None and session.embedded:
            self.stage.choose_front()
        self.coordinator.catch_up()
        self.run_estimate.update()
        self._arrange()
        self._on_areas_changed()

    def _choose_region(self, before: Image | None, image: Image | None) -> None:
        """Choose the region as it was for this image; all of it, where the rectangle is another image's."""
        workspace, session = self.workspace, self.session
        same_file = before is not None and image is not None and path_of(before) == path_of(image) != ""
        kept = "" if same_file or session is None else session.choice
        chosen = kept or workspace.region
        lost = chosen == "rectangle" and image is not None and not has_rectangle(self.viewer, image)
        workspace.region = "whole" if lost else chosen

    def _on_image_moved(self) -> None:
        if self.sessions.image is not None:
            self.layer_manager.place_again(self.sessions.image)
            self.marks.place_again()
            self.pretext.tools.place_again()
            self.compare_page.place_again(self.sessions.image)
            self.run_estimate.update()

    def _on_pixels_changed(self) -> None:
        if self.session is not None:
            self.session.forget()
            self.session.clip = None
        self.run_estimate.forget()
        self.run_estimate.update()

    def _on_anchors_changed(self) -> None:
        text = self.workspace.status.text
        if self.workspace.anchors and _HINT in text:
            self.workspace.say(text.replace(_HINT, ""))
        self.marks.update()
        self.coordinator.follow_anchors()

    def _on_partial(self, image: Image, painted: PartialResult | None) -> None:
        """Show what a run has computed; after the first, a click on the image is what comes next."""
        self.coordinator.take(image, painted)
        self.scale.update()
        workspace, session = self.workspace, self.session
        is_first = not workspace.anchors and not workspace.anchor_mode
        if painted is None and session is not None and session.embedded and is_first:
            workspace.anchor_mode = True
            if not workspace.status.failed:
                done, _, notes = workspace.status.text.partition(". ")  # of a long status the end is cut
                workspace.say(f"{done}.{_HINT} {notes}" if notes else f"{done}{_HINT}")
        if painted is None:
            self.session_files.check()

    def _on_drawn(self, image: Image) -> None:
        self.difference.update(image)
        self.stage.tell(image)
        self.areas.follow_range()
        if self.workspace.areas_shown:
            self._on_areas_changed()

    def _on_areas_changed(self) -> None:
        self.areas.follow_range()
        self.areas.update()
        self.areas.arrange()

    def _on_shapes_changed(self) -> None:
        if self.workspace.region == "rectangle":
            self.run_estimate.update()

    def _on_mask(self) -> None:
        self.run_estimate.update()
        self.coordinator.on_mask()

    def _on_live(self, on: bool) -> None:
        if not on:
            self.coordinator.end_preview()

    def _leave_other_mode(self, other: str, on: bool) -> None:
        if on:
            setattr(self.workspace, other, False)

    def _zoom(self) -> float:
        """Return the canvas pixels per unit of the world, of the canvas that is shown."""
        return self.cells.camera.zoom if self.cells.active else float(self.viewer.scene.camera.zoom)

    def _arrange(self) -> None:
        self.reading.arrange()
        self.marks.stand_aside(aside=self.workspace.task == "pretext")
        if self.sessions.image is not None:
            self.difference.update(self.sessions.image)
            self.stage.arrange(self.sessions.image)
            self.areas.arrange()

    def _on_not_read(self, error: BaseException) -> None:
        """Say why, and let the dock show again what is still chosen."""
        self._on_failed(error)
        self.images_changed.emit()

    def _on_failed(self, error: BaseException) -> None:
        self.workspace.say(sentence(error), failed=True)
