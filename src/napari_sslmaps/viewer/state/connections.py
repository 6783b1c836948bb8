"""Connections that can be undone together."""

from collections.abc import Callable
from typing import Any

from napari.components import LayerList
from napari.layers import Layer
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

    def add_removals(self, layers: LayerList, callback: Callable[[Layer], None]) -> None:
        """Call back for each layer that is removed, once napari has removed all that it was told to.

        It fails where others of them go meanwhile.
        """
        gone: list[Layer] = []
        in_batch = False

        def removed(event: Any) -> None:
            gone.append(event.value)
            answer()

        def answer() -> None:
            while gone and not in_batch:
                callback(gone.pop(0))

        def begun() -> None:
            nonlocal in_batch
            in_batch = True

        def ended() -> None:
            nonlocal in_batch
            in_batch = False
            answer()

        events = layers.events
        for signal, told in (
            (events.removed, removed),
            (events.begin_batch, begun),
            (events.end_batch, ended),
        ):
            self.add(signal, told)

    def undo(self) -> None:
        """Disconnect every callback, naming it."""
        while self._made:
            signal, callback = self._made.pop()
            signal.disconnect(callback)
