"""The mouse and the keys: a click sets an anchor, a drag moves one."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray
from psygnal import Signal

from napari_sslmaps.viewer.canvas.flicker_keys import HELD
from napari_sslmaps.viewer.canvas.image_layer import pixel_to_world, shows_plane, world_to_pixel
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel

Float = NDArray[np.float64]
REACH = 11.0
"""Canvas pixels within which the mouse takes hold of an anchor."""
STILL = 5.0
"""Canvas pixels that the mouse may move between press and release of a click."""
MODE_KEY = "N"
LIVE_KEY = "L"
_DELETE_KEYS = ("Delete", "Backspace")
_OUTSIDE = "Click inside the region: that was outside it."


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds of anchors, in pixel coordinates: `low` included, `high` not."""

    low: Float
    high: Float

    def contain(self, pixel_yx: Float) -> bool:
        """Whether a position is inside."""
        return bool((pixel_yx >= self.low).all() and (pixel_yx < self.high).all())

    def clamp(self, pixel_yx: Float) -> Float:
        """Return the nearest position inside."""
        return np.clip(pixel_yx, self.low, self.high - 1e-3)


class AnchorPointer:
    """Turns mouse gestures and keys into anchors of the workspace.

    Wheel and panning are never taken: only a still click in anchor mode, and a drag that begins on an
    anchor. While a layer's own tool is active (painting, drawing), the tool has the mouse. Alt is napari's.

    Parameters
    ----------
    viewer
        Viewer whose mouse and keys are followed.
    workspace
        Workspace whose anchors are moved.
    bounds
        Function that returns where anchors may lie, or None if nowhere.
    """

    released = Signal()
    """A drag has ended."""
    hovered = Signal(object)
    """While similarity is live: the pixel (row, column) under the pointer."""

    def __init__(
        self, viewer: ViewerModel, workspace: WorkspaceModel, bounds: Callable[[], Bounds | None]
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._bounds = bounds
        self.zoom: Callable[[], float] = lambda: float(viewer.scene.camera.zoom)
        viewer.mouse_drag_callbacks.append(self._on_mouse_drag)
        viewer.mouse_move_callbacks.append(self._on_mouse_move)
        viewer.bind_key(MODE_KEY, self._on_mode_key, overwrite=True)
        viewer.bind_key(LIVE_KEY, self._on_live_key, overwrite=True)
        for key in _DELETE_KEYS:
            viewer.bind_key(key, self._on_delete_key, overwrite=True)

    def close(self) -> None:
        """Give mouse and keys back."""
        self._viewer.mouse_drag_callbacks.remove(self._on_mouse_drag)
        self._viewer.mouse_move_callbacks.remove(self._on_mouse_move)
        for key in (MODE_KEY, LIVE_KEY, *_DELETE_KEYS):
            self._viewer.bind_key(key, None)

    def _on_mode_key(self, _viewer: ViewerModel) -> None:
        self._workspace.anchor_mode = not self._workspace.anchor_mode

    def _on_live_key(self, _viewer: ViewerModel) -> Generator[None, None, None]:
        """Turn live similarity on or off; a key that is held turns it on meanwhile."""
        before, pressed = self._workspace.live, monotonic()
        self._workspace.live = not before
        yield
        if monotonic() - pressed > HELD:
            self._workspace.live = before

    def _on_mouse_move(self, _viewer: ViewerModel, event: Any) -> None:
        if not self._workspace.live or not self._has_mouse():
            return
        bounds, pixel = self._bounds(), self._pixel_yx(event)
        if bounds is not None and bounds.contain(pixel):
            self.hovered.emit((float(pixel[0]), float(pixel[1])))

    def _on_delete_key(self, _viewer: ViewerModel) -> None:
        """Remove the anchor under the pointer, else the last."""
        under = self._anchor_near(self._viewer.cursor.position, self.zoom())
        self._workspace.remove_anchor(-1 if under is None else under)

    def _on_mouse_drag(self, _viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or "Alt" in event.modifiers or not self._has_mouse():
            return
        held = self._anchor_near(event.position, getattr(event, "camera_zoom", None) or self.zoom())
        if held is not None:
            yield from self._drag(held, event)
        elif self._workspace.anchor_mode:
            yield from self._click(event)

    def _drag(self, held: int, event: Any) -> Generator[None, None, None]:
        event.handled = True
        camera = self._viewer.scene.camera
        pan, camera.mouse_pan = camera.mouse_pan, False  # moves that napari throttles reach vispy's camera
        grip = np.asarray(self._workspace.anchors[held].pixel_yx) - self._pixel_yx(event)
        self._workspace.dragging = True
        yield
        while event.type == "mouse_move":
            event.handled = True
            if not self._move(held, self._pixel_yx(event) + grip):
                break
            yield
        # napari throttles moves: the release may be further on than the last of them
        self._move(held, self._pixel_yx(event) + grip)
        camera.mouse_pan = pan
        self._workspace.dragging = False
        self.released.emit()

    def _move(self, held: int, pixel_yx: Float) -> bool:
        """Move an anchor to the nearest place inside; tell whether it is still there to be moved."""
        bounds = self._bounds()
        if bounds is None or held >= len(self._workspace.anchors):
            return False
        y, x = (float(value) for value in bounds.clamp(pixel_yx))
        if (y, x) != self._workspace.anchors[held].pixel_yx:
            self._workspace.move_anchor(held, (y, x))
        return True

    def _click(self, event: Any) -> Generator[None, None, None]:
        start, keep = np.asarray(event.pos), "Shift" in event.modifiers
        negative = self._workspace.negative_mode or "Control" in event.modifiers
        pixel = self._pixel_yx(event)
        yield
        while event.type == "mouse_move":
            if np.linalg.norm(np.asarray(event.pos) - start) > STILL:
                return
            yield
        bounds = self._bounds()
        if bounds is None:
            return
        if not bounds.contain(pixel):
            self._workspace.say(_OUTSIDE)
            return
        if self._workspace.status.text == _OUTSIDE:
            self._workspace.say("")
        y, x = pixel
        anchor = Anchor((float(y), float(x)), negative, self._workspace.group)
        self._workspace.reference = None
        self._workspace.add_anchor(anchor, keep=keep)

    def _has_mouse(self) -> bool:
        image, active = self._workspace.image, self._viewer.layers.selection.active
        if image is None or image not in self._viewer.layers or not shows_plane(self._viewer, image):
            return False
        return active is None or str(active.mode) == "pan_zoom"

    def _pixel_yx(self, event: Any) -> Float:
        image = self._workspace.image
        if image is None:
            return np.full(2, np.nan)
        return world_to_pixel(self._viewer, image, event.position)[-2:]

    def _anchor_near(self, position: Sequence[float], zoom: float) -> int | None:
        """Index of the anchor at a position on the canvas, the newest first."""
        image, anchors = self._workspace.image, self._workspace.anchors
        if image is None or not anchors:
            return None
        at = world_to_pixel(self._viewer, image, position)
        here = np.asarray(position, float)[-image.ndim :][-2:]
        for index in reversed(range(len(anchors))):
            place = pixel_to_world(self._viewer, image, [*at[:-2], *anchors[index].pixel_yx])[-2:]
            if np.linalg.norm(place - here) * zoom <= REACH:
                return index
        return None
