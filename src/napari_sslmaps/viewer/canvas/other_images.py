"""Another image of the file that is shown, or other channels of it, in place of its layer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.viewer.canvas.image_layer import OWN, name_axes, spacing_of
from napari_sslmaps.viewer.canvas.npe2 import LayerData, contents_of, read_chosen
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

_TIFF_SUFFIXES = (".tif", ".tiff")
_ALIKE = 0.01
"""Rows and columns may differ by so much where one number is said for both."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """Work for the runner: read what was chosen of a file."""

    path: str
    series: int | None
    channels: tuple[int, ...]

    def __call__(self, context: TaskContext) -> LayerData:
        context.token.check()
        return read_chosen(self.path, self.series, self.channels)


class OtherImages:
    """Reads a file again where a user chooses another series or other channels.

    The new layer takes the place of the old one, whose maps go with it: they show other pixels. Anchors and
    the size of a pixel stay where rows and columns are the same.

    Parameters
    ----------
    viewer, workspace
        Viewer of the layers, and workspace that says which of them is shown.
    runner
        Runner of the task that reads.
    failed
        Callback that is told what went wrong.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        runner: TaskRunner,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._runner = runner
        self._failed = failed

    def choose_series(self, series: int) -> None:
        """Look at another image of the file."""
        image = self._workspace.image
        if image is not None:
            self._read(image, _Reading(image.metadata["path"], series, ()))

    def choose_channels(self, channels: tuple[int, ...]) -> None:
        """Look at other channels: one, or two or three as red, green and blue."""
        image = self._workspace.image
        if image is not None and channels:
            contents = contents_of(image.metadata)
            series = contents.shown if contents.series else None
            self._read(image, _Reading(image.metadata["path"], series, channels))

    def _read(self, image: Image, work: _Reading) -> None:
        self._workspace.say(f"Reading {image.name} again …")
        self._runner.submit(
            work, TaskCallbacks(lambda _: None, lambda layer: self._replace(image, layer), self._failed)
        )

    def _replace(self, old: Image, layer: LayerData) -> None:
        viewer, workspace = self._viewer, self._workspace
        if old not in viewer.layers:
            return
        data, options, _ = layer
        new = Image(data, **options)
        same = _shape_yx(new) == _shape_yx(old)
        anchors, spacing, active = workspace.anchors, workspace.spacing_um, workspace.image is old
        at = viewer.layers.index(old)
        if not same:  # another place of the canvas, perhaps in other units
            viewer.layers.remove(old)
        viewer.layers.insert(at, new)
        if active:
            workspace.image = new
        if same:
            viewer.layers.remove(old)
        uid = str(old.unique_id)
        for left in [layer for layer in viewer.layers if layer.metadata.get(OWN, {}).get("image") == uid]:
            viewer.layers.remove(left)
        new.name = options["name"]  # which was taken while both were there
        if active:
            viewer.layers.selection.active = new
            if same:
                workspace.anchors, workspace.spacing_um = anchors, spacing
            else:
                viewer.reset_view()
        workspace.say(f"{new.name} is shown.")


def _shape_yx(layer: Image) -> tuple[int, ...]:
    base = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(int(side) for side in base.shape)
    return shape[-3:-1] if layer.rgb else shape[-2:]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Facts of a file that its layer lacks.

    Parameters
    ----------
    spacing_um
        Micrometres per pixel; None where the file does not tell, or the layer does.
    levels
        Number of resolutions in the file, where the layer has the finest alone; else 1.
    """

    spacing_um: float | None
    levels: int

    def sentence(self, name: str) -> str:
        """Say what is known, and how the levels are had."""
        size = "" if self.spacing_um is None else f"{self.spacing_um:.3g} µm per pixel"
        levels = f"{self.levels} levels" if self.levels > 1 else ""
        how = " File → IO Utilities → Open slide… reads only what is in sight." if levels else ""
        return f"{name}: {', '.join(filter(None, (size, levels)))}.{how}"


def left_out(image: Image) -> LeftOut | None:
    """Return what napari's own reader left out of a TIFF, which it reads whole; None if nothing."""
    path, reader = image.source.path, image.source.reader_plugin
    if not path or reader != "napari" or Path(path).suffix.lower() not in _TIFF_SUFFIXES:
        return None
    try:
        with open_image(path) as source:
            shape, spacing, levels = source.levels[0].shape_yx, source.spacing_um_yx, len(source.levels)
    except SSLMapsError:
        return None
    if shape != _shape_yx(image):
        return None
    claimed = None if spacing is None or spacing_of(image) is not None else sum(spacing) / 2
    if claimed is not None and spacing is not None and abs(spacing[0] - claimed) > _ALIKE * claimed:
        claimed = None
    found = LeftOut(claimed, 1 if image.multiscale else levels)
    return None if found == LeftOut(None, 1) else found


def take_left_out(workspace: WorkspaceModel, image: Image) -> None:
    """Take what a reader left out: names of a stack's axes, the size of a pixel; say what else."""
    name_axes(image)
    found = None if workspace.spacing_um is not None else left_out(image)
    if found is not None:
        workspace.spacing_um = found.spacing_um
        workspace.say(found.sentence(image.name))
