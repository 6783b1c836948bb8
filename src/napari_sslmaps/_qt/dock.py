"""The dock widget ``SSL Maps``: pages and sections wired to the workspace."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from napari.layers import Image, Layer
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QCursor, QShowEvent
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QFileDialog,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_sslmaps._qt.canvas.mounted import MountedCanvas
from napari_sslmaps._qt.canvas.painting import pixels_of
from napari_sslmaps._qt.compare.page import CompareWidget
from napari_sslmaps._qt.encoders.card_window import CardWindow
from napari_sslmaps._qt.encoders.checkpoint_dialog import CheckpointDialog
from napari_sslmaps._qt.encoders.download_dialog import DownloadDialog
from napari_sslmaps._qt.encoders.encoder_section import EncoderSection
from napari_sslmaps._qt.maps.anchor_section import AnchorSection
from napari_sslmaps._qt.maps.appearance_section import AppearanceSection
from napari_sslmaps._qt.maps.area_section import AreaSection
from napari_sslmaps._qt.maps.image_section import ImageSection
from napari_sslmaps._qt.maps.map_section import MapSection
from napari_sslmaps._qt.maps.run_section import RunSection, ViewSection
from napari_sslmaps._qt.maps.time_window import TimeWindow
from napari_sslmaps._qt.parts import (
    PageScroll,
    TaskTabs,
    WheelGuard,
    grow_for,
    keep_on_screen,
    row,
    tone_sheet,
)
from napari_sslmaps._qt.pretext.pretext_section import PretextSection
from napari_sslmaps._qt.readers.page import ReadersWidget
from napari_sslmaps._qt.search.page import SearchWidget
from napari_sslmaps._qt.shortcuts import ShortcutPage
from napari_sslmaps._qt.task_runner import QtTaskRunner
from napari_sslmaps.encoders.cards import card_of
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import ExportError, SSLMapsError
from napari_sslmaps.maps.map_type import Display
from napari_sslmaps.maps.registry import MapOptions, following_anchors
from napari_sslmaps.viewer.canvas.image_layer import leading_shape
from napari_sslmaps.viewer.canvas.npe2 import read
from napari_sslmaps.viewer.controller import Controller
from napari_sslmaps.viewer.encoders.checkpoint_review import CheckpointReview
from napari_sslmaps.viewer.encoders.encoder_list import depths_of
from napari_sslmaps.viewer.maps.session_files import last_session
from napari_sslmaps.viewer.services import Services, real_services
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import (
    TASKS,
    Choices,
    Task,
    WorkspaceModel,
    add_group,
    change_group,
    remove_group,
)

if TYPE_CHECKING:
    import napari

WIDTH = 380
_HALF = 3 * 128
_REST_MS = 300
"""The slider rests when it has not moved for so long."""
_FRAME_MS = 20
"""After so long what a click changed has been painted; a timer of 0 would come before."""


class _Shutdown:
    """Closes the controller once; no QObject, so that a widget's own destruction can still call it."""

    def __init__(self, connections: Connections, controller: Controller) -> None:
        self._connections = connections
        self._controller: Controller | None = controller
        self.canvas: MountedCanvas | None = None
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)

    def close(self) -> None:
        """Undo the widget's connections, then close the controller."""
        controller, self._controller = self._controller, None
        if controller is None:
            return
        self._connections.undo()
        if self.canvas is not None:
            self.canvas.close()
        controller.close()
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.disconnect(self.close)


class SSLMapsWidget(QWidget):
    """Everything a user sees and does.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    services
        Services that compute, read and fetch; the real ones, if omitted.
    """

    def __init__(self, napari_viewer: "napari.viewer.Viewer", services: Services | None = None) -> None:
        super().__init__()
        self._seen = False
        self.canvas: MountedCanvas | None = None
        self.workspace = WorkspaceModel()
        self.controller = Controller(
            napari_viewer,
            self.workspace,
            make_runner=QtTaskRunner,
            services=services or real_services(),
        )
        self.image = ImageSection()
        self.encoders = EncoderSection()
        self.maps = MapSection()
        self.anchors = AnchorSection()
        self.areas = AreaSection()
        self.appearance = AppearanceSection()
        self.run = RunSection()
        self.view = ViewSection()
        self.pretext = PretextSection()
        self.tabs = TaskTabs()
        self.help = QToolButton()
        self.help.setText("?")
        self.help.setToolTip("Keys, and what the mouse does.")
        self.help.clicked.connect(lambda: self._open(ShortcutPage(self)))
        self.card = CardWindow(self)
        self.over_time = TimeWindow(self, self.controller.clip.courses)
        self.over_time.frame_requested.connect(self.controller.clip.go_to)
        self._connections = Connections()
        comparing = self.controller.compare_page
        self.compare = CompareWidget(
            comparing.model, comparing.comparison, comparing.exports, self._connections
        )
        self.readers = ReadersWidget(
            self.controller.reading,
            self.controller.new_study,
            self.controller.study_reports,
            self._connections,
        )
        self.search = SearchWidget(self.controller.search_page, self._connections)
        self._shutdown = _Shutdown(self._connections, self.controller)
        self._lay_out()
        self._connect_views()
        self._connect_model()
        self.controller.encoder_list.list_known()
        self.controller.adopt()
        self.destroyed.connect(self._shutdown.close)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Load libraries in the background once the dock is there to be seen."""
        super().showEvent(event)
        if not self._seen:
            self._seen = True
            self.canvas = MountedCanvas(self, self.controller)
            controller = self.controller
            for part in (controller.marks, controller.search_page, controller.areas):
                part.later = partial(QTimer.singleShot, _FRAME_MS)
            self._follow_frames()
            self._shutdown.canvas = self.canvas
            self.controller.prepare()
            QTimer.singleShot(_FRAME_MS, self._fit_window)  # once the window has grown by the dock

    def _fit_window(self) -> None:
        window = self.window()
        if window is not None and window is not self:
            if self.canvas is not None and self.canvas.native is not None:
                grow_for(window, self.canvas.native)
            keep_on_screen(window)

    def changeEvent(self, event: QEvent | None) -> None:
        """Close what runs once the dock is closed: napari takes the widget out of it, and keeps it alive."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parentWidget() is None:
            QTimer.singleShot(0, self._leave)

    def _leave(self) -> None:
        if self._seen and self.parentWidget() is None:
            self.close_controller()
            self.deleteLater()

    def _follow_frames(self) -> None:
        """Let maps follow the slider once it rests."""
        self._resting = QTimer(self)
        self._resting.setSingleShot(True)
        self._resting.setInterval(_REST_MS)
        self._resting.timeout.connect(self.controller.coordinator.follow_frame)
        steps = self.controller.viewer.dims.events.current_step
        self._connections.add(steps, self._on_step)

    def _on_theme(self) -> None:
        """Give dim and failed texts colours that can be read on the theme's ground."""
        ground = get_theme(self.controller.viewer.theme).background.as_rgb_tuple(alpha=False)
        self.setStyleSheet(tone_sheet(dark=sum(ground) < _HALF))

    def _on_step(self) -> None:
        self.controller.coordinator.take_frame()
        self._resting.start()

    def close_controller(self) -> None:
        """Stop what runs and undo every connection; the widget is of no use afterwards."""
        self._shutdown.close()

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(8, 6, 8, 6)
        column.setSpacing(10)
        column.addWidget(self.image)
        for section in (*self._pages("maps"), *self._pages("pretext")):
            if section is not self.view:
                column.addWidget(section)
        column.addWidget(self.compare, 1000)  # its tables take the room there is
        column.addWidget(self.readers)
        column.addWidget(self.search, 1000)
        column.addStretch(1)
        outer = QVBoxLayout(self)  # pages, View and Run stay in sight, however short the window
        outer.setContentsMargins(0, 0, 0, 0)
        tabs = row(self.tabs, self.help)
        tabs.setContentsMargins(8, 4, 8, 0)
        tabs.setStretch(0, 1)
        outer.addLayout(tabs)
        outer.addWidget(PageScroll(inner, WIDTH - 20))
        for section in (self.view, self.run):
            section.body.setContentsMargins(8, 0, 8, 6)
            outer.addWidget(section)
        WheelGuard(self)
        self._on_theme()

    def _connect_views(self) -> None:
        controller = self.controller
        self._connect_maps()
        self.image.image_requested.connect(self._look_at)
        self.image.region_requested.connect(lambda choice: self._set(region=choice))
        self.image.draw_requested.connect(controller.shapes.draw)
        self.image.sessions.saved.connect(lambda path: controller.session_files.save(Path(path)))
        self.image.sessions.loaded.connect(lambda path: controller.session_files.open(Path(path)))
        self.image.sessions.kept.connect(lambda: controller.session_files.open(last_session()))
        self.image.keep_requested.connect(lambda on: self._set(keep=on))
        self.image.reading_requested.connect(lambda text: self._set(resolution=text))
        self.image.tiling_requested.connect(lambda tiling: self._set(tiling=tiling))
        self.image.detail_requested.connect(lambda detail: self._set(detail=detail))
        choices = self.image.choices
        choices.series_requested.connect(controller.other_images.choose_series)
        choices.channels_requested.connect(controller.other_images.choose_channels)
        resolution = self.image.resolution
        resolution.level_requested.connect(lambda level: self._set(level=level))
        resolution.target_requested.connect(lambda target: self._set(target_um=target))
        resolution.spacing_requested.connect(lambda spacing: self._set(spacing_um=spacing))
        self.encoders.chosen_requested.connect(lambda names: self._set(chosen=names))
        self.encoders.checkpoint_requested.connect(
            lambda path: self._review(controller.files.review(Path(path)))
        )
        self.encoders.located.connect(
            lambda name, path: self._review(controller.files.review_again(name, Path(path)))
        )
        self.encoders.controls_requested.connect(lambda controls: self._set(controls=controls))
        self.encoders.depth_requested.connect(self._on_depth_requested)
        self.encoders.download_requested.connect(self._ask_to_download)
        self.encoders.action_requested.connect(self._act)
        self.pretext.options_requested.connect(lambda options: self._set(pretext=options))
        self.pretext.tool_requested.connect(lambda tool: self._set(pretext_tool=tool))
        self.pretext.panel_requested.connect(lambda name: self._set(panel=name))
        self.pretext.side_by_side_requested.connect(lambda on: self._set_slowly(panels_side_by_side=on))
        self.tabs.task_requested.connect(lambda task: self._set_slowly(task=task))
        self.run.run_requested.connect(controller.run)
        self.pretext.reveal_requested.connect(controller.pretext.reveal)
        self.pretext.random_requested.connect(controller.pretext.hide_at_random)
        self.run.pretext_requested.connect(controller.pretext.show)
        self.run.compare_requested.connect(controller.compare_page.comparison.run)
        self.run.search_requested.connect(controller.search_page.search)
        self.run.cancel_requested.connect(controller.cancel)

    def _connect_maps(self) -> None:
        controller = self.controller
        self.maps.maps_requested.connect(lambda kinds: self._set(maps=kinds))
        self.maps.options_requested.connect(lambda options: self._set(options=options))
        self.maps.stack_requested.connect(controller.stack_heads)
        bases, sets = controller.bases, controller.anchor_sets
        self.maps.basis_locked.connect(bases.lock)
        self.maps.basis_saved.connect(lambda path: bases.save(Path(path)))
        self.maps.basis_loaded.connect(lambda path: bases.load(Path(path)))
        self.anchors.clip.track_requested.connect(lambda on: self._set(track=on))
        self.anchors.clip.frames_requested.connect(controller.clip.embed_all)
        self.anchors.clip.plot_requested.connect(self._show_over_time)
        self.anchors.live_requested.connect(lambda on: self._set(live=on))
        self.areas.shown_requested.connect(lambda on: self._set(areas_shown=on))
        self.areas.front_requested.connect(lambda name: self._set(front=name))
        self.areas.options_requested.connect(lambda options: self._set(area_options=options))
        self.areas.labels_requested.connect(controller.areas.to_labels)
        self.areas.saved.connect(lambda path: controller.areas.save(Path(path)))
        self.areas.places_requested.connect(controller.areas.mark_most_similar)
        self.appearance.look_requested.connect(controller.stage.set_look)
        self.appearance.contrast_requested.connect(self._on_contrast_requested)
        self.view.figure_requested.connect(self._take_figure)
        self.view.print_requested.connect(partial(controller.compare_page.exports.export, "print"))
        self.anchors.mode_requested.connect(lambda on: self._set(anchor_mode=on))
        self.anchors.negative_requested.connect(lambda on: self._set(negative_mode=on))
        self.anchors.remove_requested.connect(self.workspace.remove_anchor)
        self.anchors.clear_requested.connect(lambda: self._set(anchors=()))
        self.anchors.group_requested.connect(lambda key: self._set(group=key))
        self.anchors.group_added.connect(lambda: add_group(self.workspace))
        self.anchors.group_changed.connect(lambda group: change_group(self.workspace, group))
        self.anchors.group_removed.connect(lambda key: remove_group(self.workspace, key))
        self.anchors.reference_requested.connect(lambda image: self._set(reference=image))
        self.anchors.saved.connect(lambda path: sets.save(Path(path)))
        self.anchors.loaded.connect(lambda path: sets.load(Path(path)))
        self.view.scale.step_requested.connect(self._on_scale_requested)
        self.view.scale.follow_requested.connect(lambda on: self._set(follow_zoom=on))
        self.view.shown_requested.connect(lambda kind: self._set(shown=kind))
        self.view.front_requested.connect(lambda name: self._set(front=name))
        self.view.against_requested.connect(lambda name: self._set(against=name))
        self.view.difference_requested.connect(lambda on: self._set(difference=on))
        self.view.side_by_side_requested.connect(lambda on: self._set_slowly(side_by_side=on))

    def _connect_model(self) -> None:
        workspace, events = self.workspace, self.workspace.events
        pairs: dict[str, Callable[..., None]] = {
            "region": self.image.set_region,
            "tiling": self.image.set_tiling,
            "detail": self.image.set_detail,
            "keep": self.image.set_keep,
            "level": self.image.resolution.set_level,
            "target_um": self.image.resolution.set_target,
            "spacing_um": self.image.resolution.set_spacing,
            "plan": self.image.set_plan,
            "available": self.encoders.set_available,
            "maps": self.maps.set_maps,
            "options": self._on_options_changed,
            "controls": self.encoders.set_controls,
            "follow_zoom": self.view.scale.set_follow,
            "resolution": self.image.set_reading,
            "scale_text": self._on_scale_text,
            "heads": self.maps.set_heads,
            "blocks": self.maps.set_blocks,
            "anchors": self.anchors.set_anchors,
            "groups": self.anchors.set_groups,
            "group": self.anchors.set_group,
            "anchor_mode": self.anchors.set_mode,
            "track": self.anchors.clip.set_track,
            "negative_mode": self.anchors.set_negative,
            "in_view": self.view.set_shown,
            "live": self.anchors.set_live,
            "area_range": self.areas.set_range,
            "area_options": self.areas.set_options,
            "areas_shown": self.areas.set_shown,
            "areas_text": self.areas.set_text,
            "difference": self.view.set_difference,
            "caption": self.view.set_caption,
            "pretext": self.pretext.set_options,
            "pretext_tool": self.pretext.set_tool,
            "panels": self.pretext.set_panels,
            "panel": self.pretext.set_panel,
            "notes": self.pretext.set_notes,
            "task": self._on_task_changed,
            "progress": self.run.set_progress,
            "showing": self.run.set_showing,
            "status": self.run.set_status,
        }
        for name, setter in pairs.items():
            self._connections.add(getattr(events, name), setter)
            setter(getattr(workspace, name))
        for signal in (events.image, events.reference, self.controller.images_changed):
            self._connections.add(signal, self._on_images_changed)
        self._connections.add(events.side_by_side, self.view.set_side_by_side)
        self._connections.add(events.panels_side_by_side, self.pretext.set_side_by_side)
        for setter in (self._on_clip_changed, self.search.set_progress):
            self._connections.add(events.progress, setter)
        steps = self.controller.viewer.dims.events.current_step
        for signal in (events.anchors, events.group, events.track, events.progress, steps):
            self._connections.add(signal, self.over_time.follow_soon)
        self._connections.add(self.controller.viewer.events.theme, self._on_theme)
        self._connections.add(events.shown, self._on_shown_changed)
        self._connections.add(events.caption, self._on_caption_changed)
        for signal in (events.available, events.chosen, events.token_block, events.token_norm):
            self._connections.add(signal, self._on_depths_changed)
        for signal in (events.available, events.chosen, events.controls):
            self._connections.add(signal, self._on_chosen_changed)
        for signal in (events.front, events.against):
            self._connections.add(signal, self._on_fronts_changed)
        self._on_images_changed()
        self._on_chosen_changed()
        self._on_depths_changed()

    def _on_contrast_requested(self, display: Display) -> None:
        self.workspace.touched = True
        self.workspace.similarity = replace(self.workspace.similarity, display=display)

    def _on_options_changed(self, options: MapOptions) -> None:
        self.maps.set_options(options)
        self.appearance.set_contrast(options.similarity.display)

    def _on_scale_requested(self, step: int) -> None:
        self.workspace.touched = True
        self.workspace.follow_zoom = False
        self.controller.scale.choose(step)

    def _on_depth_requested(self, place: int | None, normed: bool) -> None:
        self._set(token_block=place, token_norm=normed)

    def _on_depths_changed(self) -> None:
        workspace = self.workspace
        names = depths_of(workspace.specs)
        self.encoders.set_depth(workspace.token_block, names, normed=workspace.token_norm)

    def _on_scale_text(self, text: str) -> None:
        self.view.scale.set_scale(self.controller.scale.step, text)

    def _act(self, action: str, name: str) -> None:
        """Do what a row's menu offers."""
        spec = next(spec for spec in self.workspace.available if spec.name == name)
        if action == "review":
            self._review(self.controller.files.review_again(name))
        elif action == "locate":
            self.encoders.ask_where(spec)
        elif action == "forget":
            self.controller.files.forget(name)
        else:
            self._show_card(spec)

    def _show_card(self, spec: EncoderSpec) -> None:
        try:
            self.card.show_card(spec.name, card_of(spec))
        except SSLMapsError as error:
            self.workspace.say(str(error), failed=True)

    def _review(self, review: CheckpointReview) -> None:
        self._open(CheckpointDialog(review, self))

    def _ask_to_download(self, name: str) -> None:
        self._open(DownloadDialog(self.controller.files.download(name), self))

    def _open(self, dialog: QDialog) -> None:
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def _set(self, **choices: Unpack[Choices]) -> None:
        self.workspace.touched = True
        for name, value in choices.items():
            setattr(self.workspace, name, value)

    def _set_slowly(self, **choices: Unpack[Choices]) -> None:
        """Set what takes napari long to lay out; the pointer and what was pressed say so at once."""
        QApplication.setOverrideCursor(QCursor(Qt.CursorShape.WaitCursor))
        try:
            self.repaint()
            self._set(**choices)
        finally:
            QApplication.restoreOverrideCursor()

    def _look_at(self, image: Image) -> None:
        self.workspace.touched = True
        self.controller.look_at(image)

    def _on_images_changed(self) -> None:
        images, workspace = self.controller.images(), self.workspace
        self.image.set_images(images, workspace.image)
        others = [image for image in images if image is not workspace.image]
        self.anchors.set_references(others, workspace.reference)
        self._on_clip_changed()

    def _show_over_time(self) -> None:
        """Open the plot, if there is something to plot."""
        if not self.over_time.follow():
            self.workspace.say(
                "Set an anchor and press All frames: only frames that are embedded are plotted."
            )
            return
        self.over_time.show()
        self.over_time.raise_()

    def _on_clip_changed(self) -> None:
        image, busy = self.workspace.image, self.workspace.progress is not None
        self.anchors.clip.set_clip(there=image is not None and bool(leading_shape(image)), busy=busy)

    def _on_chosen_changed(self) -> None:
        self.encoders.set_chosen([spec.name for spec in self.workspace.specs])
        self._on_fronts_changed()
        self.pretext.set_encoders(self.controller.pretext.candidates())

    def _on_shown_changed(self) -> None:
        """View names what is on the canvas; where there is no such map yet, say what it needs."""
        workspace = self.workspace
        self.view.set_shown(workspace.in_view or workspace.shown)
        if workspace.in_view and workspace.in_view != workspace.shown:
            anchored = workspace.shown in following_anchors()
            missing = "Click on the image: it needs an anchor." if anchored else "Tick it under Maps and run."
            workspace.say(f"There is no map of {workspace.shown} yet. {missing}")

    def _on_caption_changed(self) -> None:
        found = self.controller.stage.look()
        if found is not None:
            self.appearance.set_look(found[0], found[1], smooth=found[2])

    def _take_figure(self, path: str) -> None:
        """Copy what the canvas shows, or save it."""
        if self.canvas is None or (picture := self.canvas.picture()) is None:
            self.workspace.say("There is no canvas to take a picture of.")
        elif path:
            from napari_sslmaps.figures.pixels import save_pixels

            try:
                save_pixels(pixels_of(picture), Path(path))
            except ExportError as error:
                self.workspace.say(str(error), failed=True)
            else:
                self.workspace.say(f"View written to {Path(path).name}.")
        else:
            clipboard = QApplication.clipboard()
            if clipboard is not None:
                clipboard.setPixmap(picture)
            self.workspace.say("The view was copied to the clipboard.")

    def _on_task_changed(self, task: Task) -> None:
        self.tabs.set_task(task)
        self.run.set_task(task)
        self.image.set_task(task)
        self.anchors.set_task(task)
        for part in (self.image, self.run):  # whose names and messages a blind reader is not to see
            part.setVisible(task != "readers")
        shown = self._pages(task)
        for section in {section for name in TASKS for section in self._pages(name)}:
            section.setVisible(section in shown)

    def _pages(self, task: str) -> tuple[QWidget, ...]:
        """Sections of a page, below image and region, which all share."""
        if task == "search":
            return self.anchors, self.search
        if task != "maps":
            own = {"pretext": self.pretext, "compare": self.compare, "readers": self.readers}
            return (own[task],)
        return self.encoders, self.anchors, self.maps, self.areas, self.appearance, self.view

    def _on_fronts_changed(self) -> None:
        workspace = self.workspace
        self.view.set_fronts(workspace.methods, workspace.front, workspace.against)
        self.areas.set_methods(workspace.methods, workspace.front)


def save_session(viewer: "napari.Viewer") -> None:
    """Ask where to, and save the session of a viewer's dock; from napari's File menu."""
    _dock_in(viewer).image.sessions.ask_to_save()


def open_session(viewer: "napari.Viewer") -> None:
    """Ask which, and open a session in a viewer's dock; from napari's File menu."""
    _dock_in(viewer).image.sessions.ask_to_load()


def open_slide(viewer: "napari.Viewer") -> None:
    """Ask which file, and open it by our reader whatever it is called; from napari's File menu."""
    path, _ = QFileDialog.getOpenFileName(_dock_in(viewer), "Open slide or clip")
    if path:
        _open_by_us(viewer, path)


def _open_by_us(viewer: "napari.Viewer", path: str) -> None:
    try:
        layers = read(path)
    except SSLMapsError as error:
        _dock_in(viewer).workspace.say(str(error), failed=True)
        return
    for data, options, kind in layers:
        viewer.add_layer(Layer.create(data, options, kind))
    viewer.reset_view()


def _dock_in(viewer: "napari.Viewer") -> SSLMapsWidget:
    """Return the dock of a viewer, opened if there is none."""
    for widget in viewer.window.dock_widgets.values():
        if isinstance(widget, SSLMapsWidget):
            return widget
    _, made = viewer.window.add_plugin_dock_widget("napari-sslmaps")
    dock: SSLMapsWidget = made
    return dock
