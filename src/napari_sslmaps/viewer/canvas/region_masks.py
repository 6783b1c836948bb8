"""Tissue or field of view as a Labels layer: found on a coarse level, painted over, used as a mask."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from zlib import compress, decompress

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from psygnal import Signal

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.pipeline.masks import find_mask
from napari_sslmaps.viewer.canvas.image_layer import OWN, LayerSource, frame_of
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, keeping_selection, label_colours, placement
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

ROLE = "mask"
_COLOUR = "#12c48b"
_OUTLINE = 2
"""Width of the outline: a filled mask would tint the maps below it."""


@dataclass(frozen=True, eq=False)
class _Search:
    """Work for the runner: find the mask of an image."""

    source: LayerSource
    frame: int

    def __call__(self, context: TaskContext) -> PlacedMask:
        context.token.check()
        return find_mask(self.source, frame=self.frame)


class RegionMasks:
    """Makes, finds and reads the mask layer of each image, known by its metadata.

    Parameters
    ----------
    viewer, workspace
        Viewer of the layers, and workspace; a mask is looked for when its region is one.
    layer_manager
        Board that finds layers.
    runner
        Runner of the search.
    failed
        Callback that is told what went wrong.
    """

    changed = Signal()
    """A mask was found, or painted."""
    painted = Signal()
    """A stroke, a fill or a change by the history has ended."""

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        layer_manager: LayerManager,
        runner: TaskRunner,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._layer_manager = layer_manager
        self._runner = runner
        self._failed = failed
        self._connections = Connections()
        self._layer_connections = Connections()
        self._connections.add(workspace.events.region, self.follow)
        self._connections.add(workspace.events.image, self.follow)
        self._connections.add(viewer.layers.events.removed, self._on_removed)

    def follow(self) -> None:
        """Show the mask of the image where one is chosen, and look for it where there is none."""
        image, wanted = self._workspace.image, self._workspace.region == "mask"
        self._layer_connections.undo()
        found = None if image is None else self._layer_of(image)
        for layer in (item for item in self._viewer.layers if _is_mask(item)):
            layer.visible = wanted and layer is found
        if image is None or not wanted:
            self._runner.discard()
        elif found is None:
            self._search(image)
        else:
            self._listen(found)

    def placed(self, image: Image) -> PlacedMask | None:
        """Return what is painted in the mask layer of an image; None where there is none."""
        layer = self._layer_of(image)
        if layer is None:
            return None
        grid = TokenGrid(**layer.metadata[OWN]["grid"])
        values = np.asarray(layer.data).reshape(grid.shape) != 0
        return PlacedMask(values, grid.stride_yx, grid.origin_yx)

    def content(self, image: Image | None) -> bytes | None:
        """Return what is painted in the mask layer of an image, small; None where there is none."""
        layer = None if image is None else self._layer_of(image)
        return None if layer is None else compress(np.packbits(np.asarray(layer.data) != 0).tobytes(), 1)

    def put_back(self, image: Image | None, content: bytes) -> None:
        """Paint what `content` returned, if the image still has its mask layer."""
        layer = None if image is None else self._layer_of(image)
        if layer is not None:
            shape = np.shape(layer.data)
            bits = np.frombuffer(decompress(content), np.uint8)
            layer.data = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape)

    def abandon(self) -> None:
        """Take no more answers: another image is shown."""
        self._runner.discard()

    def close(self) -> None:
        """Undo every connection."""
        self._connections.undo()
        self._layer_connections.undo()

    def _layer_of(self, image: Image) -> Labels | None:
        found = [layer for layer in self._layer_manager.layers_of(image, ROLE) if isinstance(layer, Labels)]
        return found[0] if found else None

    def _search(self, image: Image) -> None:
        source = LayerSource(image, self._workspace.spacing_um)
        frame = frame_of(self._viewer, image)

        def returned(mask: PlacedMask) -> None:
            if image in self._viewer.layers and self._layer_of(image) is None:
                self._add(image, mask, frame)
                self.follow()
                self.changed.emit()

        self._runner.submit(_Search(source, frame), TaskCallbacks(_ignore, returned, self._on_failed))

    def _add(self, image: Image, mask: PlacedMask, frame: int) -> None:
        rows, cols = mask.values.shape
        cell = mask.cell_yx
        grid = TokenGrid(rows, cols, cell, mask.origin_yx, (rows * cell[0], cols * cell[1]))
        values = mask.values.astype(np.uint8)[(None,) * (image.ndim - 2)]
        record = {"role": ROLE, "kind": ROLE, "encoder": "", "frame": frame}
        layer = Labels(
            values,
            name=f"{image.name} / mask",
            colormap=label_colours([_COLOUR]),
            blending="translucent_no_depth",
            metadata={OWN: {**record, "image": str(image.unique_id), "grid": asdict(grid)}},
            **placement(image, grid, frame),
        )
        layer.contour = _OUTLINE
        layer.brush_size = max(1, round(max(rows, cols) / 40))
        with keeping_selection(self._viewer):
            self._viewer.add_layer(layer)

    def _listen(self, layer: Labels) -> None:
        for event in (layer.events.labels_update, layer.events.paint, layer.events.set_data):
            self._layer_connections.add(event, self.changed.emit)
        self._layer_connections.add(layer.events.paint, self.painted.emit)

    def _on_removed(self, event: Any) -> None:
        if _is_mask(event.value) and self._workspace.region == "mask":
            self._workspace.region = "whole"

    def _on_failed(self, error: BaseException) -> None:
        self._workspace.region = "whole"
        self._failed(error)


def _is_mask(layer: Any) -> bool:
    return bool(layer.metadata.get(OWN, {}).get("role") == ROLE)


def _ignore(_answer: object) -> None:
    return
