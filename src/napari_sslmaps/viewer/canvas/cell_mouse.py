"""The mouse over a cell: the same callbacks as on napari's canvas, so that all tools work in every cell."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from napari.components import ViewerModel
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

Kind = Literal["mouse_press", "mouse_move", "mouse_release"]
_CALLBACKS = {
    "mouse_press": mouse_press_callbacks,
    "mouse_move": mouse_move_callbacks,
    "mouse_release": mouse_release_callbacks,
}


@dataclass
class CellEvent:
    """Mouse event with the fields that napari's callbacks read.

    Parameters
    ----------
    type
        Kind of event.
    pos
        Canvas pixels, (x, y).
    position
        World position, one value a dimension of the viewer.
    camera_zoom
        Canvas pixels per unit of the world.
    dims_displayed, dims_point
        Displayed axes and point, as the viewer has them.
    button
        1 for the left, 2 for the right.
    modifiers
        Names of the keys that are held.
    is_dragging
        Whether a button is held.
    handled
        Whether a callback took it.
    """

    type: Kind
    pos: np.ndarray
    position: tuple[float, ...]
    camera_zoom: float
    dims_displayed: list[int]
    dims_point: list[float]
    button: int = 1
    modifiers: tuple[str, ...] = ()
    is_dragging: bool = False
    handled: bool = False
    view_direction: None = None
    up_direction: None = None


class _Passed:
    """The event of now behind the one that a drag began with, as napari's callbacks hold it."""

    def __init__(self, event: CellEvent) -> None:
        object.__setattr__(self, "__wrapped__", event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["__wrapped__"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "handled":
            self.__dict__["__wrapped__"].handled = value
        else:
            object.__setattr__(self, name, value)


class CellMouse:
    """Hands what the mouse does in cells to the viewer and to the active layer.

    Parameters
    ----------
    viewer
        Viewer whose callbacks are called.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._pressed = False
        self._button = 1
        self._modifiers: tuple[str, ...] = ()

    def press(
        self,
        at: tuple[float, float],
        world_yx: tuple[float, float],
        zoom: float,
        button: int = 1,
        modifiers: tuple[str, ...] = (),
    ) -> bool:
        """Press a button; tell whether a tool takes the mouse, so that the cells are not moved by it."""
        self._pressed, self._button, self._modifiers = True, button, modifiers
        active = self._viewer.layers.selection.active
        handled = self._send("mouse_press", at, world_yx, zoom)
        return handled or (active is not None and str(active.mode) not in {"pan_zoom", "transform"})

    def move(self, at: tuple[float, float], world_yx: tuple[float, float], zoom: float) -> None:
        """Move, with or without a button held."""
        self._send("mouse_move", at, world_yx, zoom)

    def release(self, at: tuple[float, float], world_yx: tuple[float, float], zoom: float) -> None:
        """Let go of the button."""
        if self._pressed:
            self._pressed = False
            self._send("mouse_release", at, world_yx, zoom)

    def _send(self, kind: Kind, at: tuple[float, float], world_yx: tuple[float, float], zoom: float) -> bool:
        viewer = self._viewer
        point = [float(value) for value in viewer.dims.point]
        position = (*point[:-2], *world_yx)
        event = CellEvent(
            kind,
            np.array(at, float),
            position,
            zoom,
            list(viewer.dims.displayed),
            point,
            self._button,
            self._modifiers,
            self._pressed,
        )
        viewer.cursor.position = position
        wrapped = _Passed(event)
        _CALLBACKS[kind](viewer, wrapped)
        active = viewer.layers.selection.active
        if active is not None:
            _CALLBACKS[kind](active, wrapped)
        return event.handled
