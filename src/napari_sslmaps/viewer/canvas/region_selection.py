"""The part of the image that is chosen: the whole, what the canvas shows, rectangles, or a mask."""

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes
from numpy.typing import NDArray

from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import RegionError
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.canvas.image_layer import (
    LayerSource,
    frame_of,
    is_own,
    path_of,
    pixel_to_world,
    shows_plane,
    world_to_pixel,
)
from napari_sslmaps.viewer.state.workspace import RegionChoice, WorkspaceModel

Float = NDArray[np.float64]
_MASK_SIDE = 2048
"""Cells along the longer side of the mask of several rectangles."""
_TOLERANCE = 1.02
"""Spacings in files are rounded: 0.2501 µm is what somebody means by 0.25."""


def choose_region(
    viewer: ViewerModel, layer: Image, source: ImageSource, choice: RegionChoice, level: int = 0
) -> Region:
    """Return the chosen region, in pixels of `level`, of the frame that is shown.

    Raises
    ------
    RegionError
        If there is no rectangle, or it or the view lies beside the image.
    """
    level = min(level, len(source.levels) - 1)
    frame = frame_of(viewer, layer)
    if choice == "whole":
        return Region(0, 0, *source.levels[level].shape_yx, level, frame)
    if not shows_plane(viewer, layer):
        raise RegionError("Switch to 2-D display: the view does not show the image's rows and columns flat.")
    of_view = choice == "view"
    corners = _view_corners(viewer, layer) if of_view else np.concatenate(chosen_rectangles(viewer, layer))
    return _snap(corners, source, level, frame)


def rectangles_mask(viewer: ViewerModel, layer: Image, source: ImageSource) -> PlacedMask | None:
    """Return what several chosen rectangles cover; None for one, which the region says alone.

    Raises
    ------
    RegionError
        If there is no rectangle, or one lies beside the image.
    """
    rectangles = chosen_rectangles(viewer, layer)
    if len(rectangles) < 2:
        return None
    covered = [_snap(corners, source, 0, 0) for corners in rectangles]
    low = np.min([(region.y, region.x) for region in covered], axis=0)
    high = np.max([(region.y + region.height, region.x + region.width) for region in covered], axis=0)
    cell = max(1.0, float((high - low).max()) / _MASK_SIDE)
    values = np.zeros(np.ceil((high - low) / cell).astype(int), bool)
    for region in covered:
        start = np.floor((np.array([region.y, region.x]) - low) / cell).astype(int)
        stop = np.ceil((np.array([region.y + region.height, region.x + region.width]) - low) / cell).astype(
            int
        )
        values[start[0] : stop[0], start[1] : stop[1]] = True
    return PlacedMask(values, (cell, cell), (float(low[0]), float(low[1])))


def _around(mask: PlacedMask, source: ImageSource, level: int, frame: int) -> Region:
    """Return the rectangle around what is true in a mask."""
    inside = np.argwhere(mask.values)
    if not len(inside):
        raise RegionError("Paint what is to be embedded: the mask is empty.")
    ends = np.stack([inside.min(axis=0), inside.max(axis=0) + 1]) * mask.cell_yx + mask.origin_yx
    return _snap(ends - 0.5, source, level, frame)


class MaskAwaitedError(RegionError):
    """The mask of the region is still being looked for."""


class RegionSelection:
    """Selection of a user: the chosen part of an image, at the chosen resolution.

    Parameters
    ----------
    viewer
        Viewer with the view and the rectangle.
    workspace
        Workspace in which the user chooses.
    masked
        Function that returns what is painted in the mask layer of an image; None where there is none.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        masked: Callable[[Image], PlacedMask | None] = lambda _: None,
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self.masked = masked

    def __call__(self, image: Image) -> tuple[LayerSource, Region]:
        """Return the image as a source, and its chosen region.

        Raises
        ------
        SSLMapsError
            If there is none, or the layer cannot be used.
        """
        workspace, source = self._workspace, self.source(image)
        target = workspace.target_um
        level = workspace.level if target is None else level_for(source, target)
        mask = self.mask(image) if workspace.region == "mask" else None
        if mask is not None:
            level = min(level, len(source.levels) - 1)
            return source, _around(mask, source, level, self.frame(image))
        return source, choose_region(self._viewer, image, source, workspace.region, level)

    def mask(self, image: Image) -> PlacedMask | None:
        """Return which part of the region is wanted: of a mask layer, or of several rectangles; None for all.

        Raises
        ------
        RegionError
            If a mask is chosen and there is none yet, or rectangles are and there is none.
        """
        if self._workspace.region == "rectangle":
            return rectangles_mask(self._viewer, image, self.source(image))
        if self._workspace.region != "mask":
            return None
        placed = self.masked(image)
        if placed is None:
            raise MaskAwaitedError("Looking for tissue, or the field of view …")
        return placed

    def source(self, image: Image) -> LayerSource:
        """Return an image layer as a source of pixels, with the size of a pixel that was typed."""
        return LayerSource(image, self._workspace.spacing_um)

    def region(self, image: Image) -> Region:
        """Return the chosen region; raise as a call does."""
        return self(image)[1]

    def frame(self, image: Image) -> int:
        """Return the number of the frame of an image that the canvas shows."""
        return frame_of(self._viewer, image)

    def focus(self, image: Image) -> tuple[float, float] | None:
        """Return the pixel of level 0 in the middle of the canvas; None if it shows no plane of the image."""
        if not shows_plane(self._viewer, image):
            return None
        y, x = _view_corners(self._viewer, image).mean(axis=0)
        return float(y), float(x)


def level_for(source: ImageSource, target_um: float) -> int:
    """Return the coarsest level whose pixels are no larger than `target_um`, the finest if none is.

    Raises
    ------
    RegionError
        If there are several levels and the size of a pixel is not known.
    """
    if len(source.levels) == 1:
        return 0
    if source.spacing_um_yx is None:
        raise RegionError(
            "Type the size of a pixel under How it is read, or choose a level by its number: the image does "
            f"not tell which one has {target_um:g} µm/px."
        )
    fine = max(source.spacing_um_yx)
    spacings = [fine * max(level.downsample_yx) for level in source.levels]
    return max((i for i, spacing in enumerate(spacings) if spacing <= target_um * _TOLERANCE), default=0)


def _view_corners(viewer: ViewerModel, layer: Image) -> Float:
    """(4, 2) pixel positions of the corners of the canvas."""
    camera = viewer.scene.camera
    half = np.asarray(viewer.canvas.viewbox_size(viewer.layers), float) / 2 / camera.zoom
    displayed = list(viewer.dims.displayed)
    signs = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])
    centre = np.asarray(camera.center[-2:])
    corners = []
    for world in centre + signs * half:
        point = np.array(viewer.dims.point, float)
        point[displayed] = world
        corners.append(world_to_pixel(viewer, layer, point)[-2:])
    return np.array(corners)


REGION_OF = "napari-sslmaps region of"
"""Key in the metadata of a Shapes layer in which the region of one image is drawn: its id, and its path."""


def region_mark(image: Image) -> dict[str, tuple[str, str]]:
    """Return the metadata of a Shapes layer for the region of an image."""
    return {REGION_OF: (str(image.unique_id), path_of(image))}


def has_rectangle(viewer: ViewerModel, image: Image) -> bool:
    """Whether a rectangle is drawn that may be the region of an image."""
    return any(_may_choose(layer, image) for layer in viewer.layers)


def _may_choose(layer: Layer, image: Image) -> bool:
    """Whether a layer has shapes that are not the region of another image, in another file."""
    if not isinstance(layer, Shapes) or not len(layer.data) or is_own(layer):
        return False
    uid, path = layer.metadata.get(REGION_OF, (str(image.unique_id), ""))
    return bool(uid == str(image.unique_id) or (path and path == path_of(image)))


def chosen_rectangles(viewer: ViewerModel, layer: Image) -> list[Float]:
    """Return (n, 2) pixel positions of the vertices of each selected shape; of the last, if none is."""
    shapes = [item for item in viewer.layers if _may_choose(item, layer)]
    active = viewer.layers.selection.active
    if not shapes:
        raise RegionError("Draw a rectangle: press Draw, or add a Shapes layer.")
    chosen = active if active in shapes else shapes[-1]
    selected = sorted(chosen.selected_data) or [-1]
    return [
        np.array(
            [_to_pixel(viewer, chosen, layer, vertex) for vertex in np.asarray(chosen.data[index], float)]
        )
        for index in selected
    ]


def _to_pixel(viewer: ViewerModel, shapes: Shapes, layer: Image, vertex: Float) -> Float:
    world = pixel_to_world(viewer, shapes, vertex)
    if shapes.ndim < layer.ndim:
        point = np.array(viewer.dims.point, float)
        point[-shapes.ndim :] = world
        world = point
    return world_to_pixel(viewer, layer, world)[-2:]


def _snap(corners: Float, source: ImageSource, level: int, frame: int) -> Region:
    """Whole pixels of the level that the corners' bounding box touches, clipped to the image."""
    shape = np.asarray(source.levels[level].shape_yx)
    edges = (corners + 0.5) / np.asarray(source.levels[level].downsample_yx)
    low = np.clip(np.floor(edges.min(axis=0) + 1e-6), 0, shape).astype(int)
    high = np.clip(np.ceil(edges.max(axis=0) - 1e-6), 0, shape).astype(int)
    if (high <= low).any():
        raise RegionError(
            "The chosen region lies outside the image. Move the view or the rectangle onto the image."
        )
    height, width = (int(n) for n in high - low)
    return Region(int(low[0]), int(low[1]), height, width, level, frame)
