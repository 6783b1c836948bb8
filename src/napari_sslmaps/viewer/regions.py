"""The part of the image that is chosen: the whole, what the canvas shows, or a rectangle."""

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import RegionError
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.image import (
    LayerSource,
    frame_of,
    is_own,
    pixel_to_world,
    shows_plane,
    world_to_pixel,
)
from napari_sslmaps.viewer.workspace import RegionChoice, WorkspaceModel

Float = NDArray[np.float64]
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
        raise RegionError("Expected a flat view of the image's rows and columns. Switch to 2-D display.")
    corners = _view_corners(viewer, layer) if choice == "view" else _rectangle_corners(viewer, layer)
    return _snap(corners, source, level, frame)


class Look:
    """Where a person looks: the chosen part of an image, at the chosen resolution.

    Parameters
    ----------
    viewer
        For the view and the rectangle.
    workspace
        What is chosen.
    """

    def __init__(self, viewer: ViewerModel, workspace: WorkspaceModel) -> None:
        self._viewer = viewer
        self._workspace = workspace

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
        return source, choose_region(self._viewer, image, source, workspace.region, level)

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
            f"Expected the size of a pixel to find the level for {target_um:g} µm/px; the image does not "
            "tell. Type it below the level, or choose a level by its number."
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


def _rectangle_corners(viewer: ViewerModel, layer: Image) -> Float:
    """(n, 2) pixel positions of the vertices of the chosen shape."""
    shapes = [
        item for item in viewer.layers if isinstance(item, Shapes) and len(item.data) and not is_own(item)
    ]
    active = viewer.layers.selection.active
    if not shapes:
        raise RegionError(
            "Expected a rectangle in a Shapes layer; there is none. Add a Shapes layer and draw one."
        )
    chosen = active if isinstance(active, Shapes) and active in shapes else shapes[-1]
    selected = sorted(chosen.selected_data)
    vertices = np.asarray(chosen.data[selected[-1] if selected else -1], float)
    return np.array([_to_pixel(viewer, chosen, layer, vertex) for vertex in vertices])


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
            "The chosen region lies beside the image. Move the view or the rectangle onto the image."
        )
    height, width = (int(n) for n in high - low)
    return Region(int(low[0]), int(low[1]), height, width, level, frame)
