"""Keys that change which method is in front: flicker between two, and walk through all."""

from collections.abc import Callable, Generator
from time import monotonic

from napari.components import ViewerModel

from napari_sslmaps.viewer.state.workspace import WorkspaceModel

FLICKER_KEY, NEXT_KEY, PREVIOUS_KEY = "K", "J", "Shift-J"
HELD = 0.5
"""Seconds after which a key counts as held: its release puts the first method back."""


class FlickerKeys:
    """Changes the method in front by keys.

    Where two pictures lie at the same place, one after the other, the eye sees what differs as movement: the
    blink comparator of astronomers.

    Parameters
    ----------
    viewer
        Viewer whose keys are bound.
    workspace
        Workspace whose ``front`` and ``against`` are set.
    names
        Function that returns the methods that have maps, in their order.
    clock
        Clock in seconds; for tests.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        names: Callable[[], list[str]],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._names = names
        self.clock = clock
        viewer.bind_key(FLICKER_KEY, self._on_flicker, overwrite=True)
        viewer.bind_key(NEXT_KEY, lambda _: self.walk(1), overwrite=True)
        viewer.bind_key(PREVIOUS_KEY, lambda _: self.walk(-1), overwrite=True)

    def close(self) -> None:
        """Give the keys back."""
        for key in (FLICKER_KEY, NEXT_KEY, PREVIOUS_KEY):
            self._viewer.bind_key(key, None)

    def swap(self) -> None:
        """Change the method in front with the one it is compared with."""
        workspace = self._workspace
        if not workspace.against:
            workspace.say("Tick another encoder and run: flicker needs two methods.")
            return
        workspace.front = workspace.against  # the stage then compares it with the other

    def walk(self, step: int) -> None:
        """Put the next method in front, or the one before."""
        names, workspace = self._names(), self._workspace
        if not names:
            return
        at = names.index(workspace.front) if workspace.front in names else -step
        workspace.front = names[(at + step) % len(names)]

    def _on_flicker(self, _viewer: ViewerModel) -> Generator[None, None, None]:
        pressed = self.clock()
        self.swap()
        yield
        if self.clock() - pressed > HELD:
            self.swap()
