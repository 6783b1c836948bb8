"""Connections that can be undone together."""

from collections.abc import Callable
from typing import Any

from psygnal import SignalInstance


class Connections:
    """Remembers what was connected to what, of psygnal's and of napari's signals."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []

    def add(self, signal: Any, callback: Callable[..., Any]) -> None:
        """Connect; napari's own callbacks, which keep its widgets in step, come first."""
        if isinstance(signal, SignalInstance):
            signal.connect(callback)
        else:
            signal.connect(callback, position="last")
        self._made.append((signal, callback))

    def undo(self) -> None:
        """Disconnect every callback, naming it."""
        while self._made:
            signal, callback = self._made.pop()
            signal.disconnect(callback)
