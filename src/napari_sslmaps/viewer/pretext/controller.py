"""Pretext views: asked for, computed off the canvas, shown as layers, and again when something is edited."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_sslmaps.core.pretext_views import Panel, PretextView
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import in_words
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import Cancelled, RegionError, SSLMapsError
from napari_sslmaps.pretext.options import PretextOptions
from napari_sslmaps.viewer.canvas.image_layer import OWN, LayerSource
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, LayerSpec, rgba, set_visible
from napari_sslmaps.viewer.pretext.editing import PretextTools
from napari_sslmaps.viewer.pretext.job import Pretext, PretextEdits, PretextJob
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskRunner
from napari_sslmaps.viewer.state.workspace import Task, WorkspaceModel

Camera = tuple[tuple[float, ...], float]
Setting = tuple[Image, Region, PretextOptions, str]
"""Image, region, options and resolution that a view is made with."""
ROLE = "pretext"
ORIGINAL = "original"
"""Panel of what the encoder was given, beside those that a view has of its own."""
_ADVICE = "The last view stays; choose a smaller region and try again."
_COLOURS = {"error": "inferno"}
_NEARLY_ALL = 0.75
"""Share of a region beyond which nobody misses the rest; whole tokens alone may leave out as much."""
_PREFERRED = ("reconstruction", "centred agreement", "agreement", "restoration", "view agreement")


class PretextController:
    """Computes pretext views and brings them onto the board.

    Parameters
    ----------
    viewer, workspace, layer_manager
        Viewer of the layers, workspace with what is chosen, and layers that panels are drawn in.
    runner
        Runner that computes; a newer view stops an older one.
    compute
        Function that computes the view.
    region
        Function that returns the chosen region of an image, or raises in a sentence.
    arrange
        Callback that brings the panels into view.
    """

    def __init__(  # each part is handed in, none is made here
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        layer_manager: LayerManager,
        runner: TaskRunner,
        compute: Pretext,
        region: Callable[[Image], Region],
        arrange: Callable[[], None],
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._layer_manager = layer_manager
        self._runner = runner
        self._compute = compute
        self._region = region
        self._arrange = arrange
        self._shown: Setting | None = None
        self._edited = False
        self._proposed = ""
        self._camera: Camera | None = None
        self.view: PretextView | None = None
        self.tools = PretextTools(viewer, self._on_edited)
        self._connections = Connections()
        self._connections.add(workspace.events.pretext, self._on_options)
        for signal in (workspace.events.available, workspace.events.chosen):
            self._connections.add(signal, self._propose_encoder)
        self._connections.add(workspace.events.pretext_tool, self._on_tool)
        self._connections.add(workspace.events.task, self._on_task)

    def candidates(self) -> list[EncoderSpec]:
        """Return the encoders whose task can be shown: those with trained weights at hand."""
        return [
            spec
            for spec in self._workspace.available
            if spec.origin != "control" and not spec.trouble and METHODS[spec.method].pretext
        ]

    def show(self) -> None:
        """Compute the view of the chosen encoder; what was painted or moved on it stays."""
        image, spec = self._workspace.image, self._spec()
        if image is None or spec is None:
            missing = "Open or select an image layer." if image is None else "Choose an encoder."
            self._workspace.say(missing)
            return
        try:
            region = self._region(image)
        except SSLMapsError as error:
            self._workspace.say(str(error), failed=not isinstance(error, RegionError))
            return
        setting = image, region, self._workspace.pretext, self._workspace.resolution
        self._edited = self._edited and setting == self._shown
        self._submit(spec, setting, self.tools.edits() if self._edited else PretextEdits())

    def reveal(self) -> None:
        """Hide nothing and take the brush into the hand: a mask of one's own begins here."""
        self._workspace.pretext_tool = "paint"
        self.tools.reveal()

    def hide_at_random(self) -> None:
        """Hide patches as the options say; crops that were moved stay."""
        spec = self._spec()
        if self._shown is not None and spec is not None:
            self._submit(spec, self._shown, replace(self.tools.edits(), mask=None))

    def cancel(self) -> None:
        """Stop what is being computed; the last view stays."""
        if self._workspace.showing:
            self._runner.discard()
            self._workspace.showing = False
            self._workspace.say("Stopped; the last view stays.")

    def owns(self, layer: Layer) -> bool:
        """Tell whether a layer is one of the tools, and take note that it was removed."""
        owned = layer in (self.tools.mask, self.tools.blocks)
        self.tools.forget(layer)
        return owned

    def leave(self) -> None:
        """Take no more answers and put the tools away: another image is shown."""
        self._runner.discard()
        self._workspace.showing = False
        self.tools.remove()
        self._camera = None
        self._shown, self.view, self._edited = None, None, False
        self._workspace.panels = self._workspace.notes = ()

    def close(self) -> None:
        """Undo every connection."""
        self._connections.undo()
        self.tools.remove()

    def _propose_encoder(self) -> None:
        """Choose the first ticked encoder until a user chooses one, or where theirs is gone."""
        workspace, names = self._workspace, [spec.name for spec in self.candidates()]
        ticked = [name for name in names if name in workspace.chosen]
        by_hand = workspace.pretext.encoder != self._proposed or self.view is not None
        if by_hand and workspace.pretext.encoder in names:
            return
        self._proposed = next(iter(ticked or names), "")
        workspace.pretext = replace(workspace.pretext, encoder=self._proposed)

    def _submit(self, spec: EncoderSpec, setting: Setting, edits: PretextEdits) -> None:
        image, region, options, resolution = setting
        job = PretextJob(LayerSource(image), spec, region, options, resolution, edits, self._compute)
        if self.view is None or self.view.provenance.encoder != spec.name:
            self._workspace.say(f"{spec.name}: computing its pretext view …")

        def returned(view: PretextView) -> None:
            self._workspace.showing = False
            self._on_view(setting, view)

        self._workspace.showing = True
        self._runner.submit(job, TaskCallbacks(lambda _: None, returned, self._on_failed))

    def _spec(self) -> EncoderSpec | None:
        name = self._workspace.pretext.encoder
        return next((spec for spec in self.candidates() if spec.name == name), None)

    def maps_camera(self) -> Camera:
        """Return centre and zoom of the page Maps, also while this page, which moves the camera, is open."""
        camera = self._viewer.scene.camera
        return self._camera or (tuple(map(float, camera.center)), float(camera.zoom))

    def _on_options(self, new: PretextOptions, old: PretextOptions) -> None:
        """Draw anew with other options; another encoder waits for `show`."""
        if new.encoder != old.encoder:
            self._workspace.pretext_tool = ""
        elif self.view is not None and new.encoder == self.view.provenance.encoder:
            self.show()

    def _on_task(self, new: Task, old: Task) -> None:
        """Lay tools down; what was shown before the page was opened is shown again after it."""
        self._workspace.pretext_tool = ""
        camera = self._viewer.scene.camera
        if new == "pretext":
            self._camera = self.maps_camera()
        elif old == "pretext" and self._camera is not None:
            camera.center, camera.zoom = self._camera
            self._camera = None

    def _on_tool(self) -> None:
        self._arrange()  # first: a layer that is hidden lays its tool down
        self.tools.use(self._workspace.pretext_tool)

    def _on_edited(self) -> None:
        spec = self._spec()
        if self._shown is not None and spec is not None:
            self._edited = True
            self._submit(spec, self._shown, self.tools.edits())

    def _on_view(self, setting: Setting, view: PretextView) -> None:
        image, layer_manager, workspace = setting[0], self._layer_manager, self._workspace
        moved = self.view is None or self.view.region != view.region
        self._shown, self.view = setting, view
        panels = (Panel(ORIGINAL, "picture", view.picture, 1), *view.panels)
        drawings = [draw_panel(view, panel) for panel in panels]
        self._reuse_panels(image, drawings)
        shown = [layer_manager.show(image, drawing) for drawing in drawings]
        self.tools.follow(image, view)
        names = tuple(panel.name for panel in panels)
        workspace.panels = names
        if workspace.panel not in names:
            workspace.panel = next((name for name in _PREFERRED if name in names), names[0])
        workspace.notes = (*_left_out(setting, view), *view.notes)
        workspace.say(f"{view.provenance.encoder}: {_size(view)}.")
        self._arrange()
        if moved and not workspace.panels_side_by_side:
            self._viewer.fit_to_view(layers=[layer for layer in shown if layer in self._viewer.layers][:1])

    def _reuse_panels(self, image: Image, drawings: Sequence[LayerSpec]) -> None:
        """Give layers of another view's panels to this one's: none is removed, and few are added."""
        wanted = {(drawing.kind, drawing.encoder) for drawing in drawings}
        spare = []
        for layer in self._layer_manager.layers_of(image, ROLE):
            mark = layer.metadata[OWN]
            if isinstance(layer, Image) and (mark["kind"], mark["encoder"]) not in wanted:
                spare.append(layer)
        for drawing in drawings:
            if self._layer_manager.find(image, drawing.kind, drawing.encoder, ROLE) is not None:
                continue
            fitting = next((layer for layer in spare if bool(layer.rgb) == drawing.rgb), None)
            if fitting is not None:
                spare.remove(fitting)
                fitting.metadata[OWN] |= {"kind": drawing.kind, "encoder": drawing.encoder}
                fitting.name = f"{image.name} / {drawing.name}"
                if not drawing.rgb:
                    fitting.colormap = drawing.colormap
        for layer in spare:
            set_visible(layer, visible=False)

    def _on_failed(self, error: BaseException) -> None:
        self._workspace.showing = False
        if not isinstance(error, Cancelled):
            self._workspace.say(sentence(error, _ADVICE), failed=True)


def draw_panel(view: PretextView, panel: Panel) -> LayerSpec:
    """Turn a panel into a drawing that lies where the view looked."""
    values = np.asarray(panel.values, np.float32)
    limits = None
    if panel.kind == "scalar":
        limits = panel.limits or (0.0, 1.0)
    else:
        values = rgba(values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=-1))
    grid = view.placed(panel)
    record: dict[str, Any] = {
        "provenance": view.provenance.to_dict(),
        "notes": list(view.notes),
        "grid": asdict(grid),
        "contrast": None if limits is None else {"limits": list(limits), "rule": "fixed"},
    }
    return LayerSpec(
        kind=panel.name,
        title=panel.name,
        encoder=view.provenance.encoder,
        values=values,
        grid=grid,
        limits=limits,
        record=record,
        frame=view.region.frame,
        role=ROLE,
        colormap=_COLOURS.get(panel.name, "viridis"),
        opacity=1.0,
        smooth=False,
    )


def _left_out(setting: Setting, view: PretextView) -> tuple[str, ...]:
    """Say that the middle of the region alone was taken, and how to see more or another part."""
    image, requested, options, _ = setting
    down = LayerSource(image).levels[requested.level].downsample_yx
    share = float(np.prod(view.grid.extent_yx) / np.prod(np.multiply(requested.shape_yx, down)))
    if options.fit != "crop" or share > _NEARLY_ALL:
        return ()
    where = "Draw chooses another place, Input takes all of it."
    return (f"This is the middle of the region, {100 * share:.0f} % of it: {where}",)


def _size(view: PretextView) -> str:
    height, width = view.region.shape_yx
    read_at = f", read at {in_words(view.provenance.resolution)}" if view.provenance.resolution else ""
    return f"{height} × {width} px{read_at}, {view.grid.rows} × {view.grid.cols} tokens"
