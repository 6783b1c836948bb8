"""Anchors that go along with what is under them when the frame changes."""

from collections.abc import Callable
from dataclasses import replace
from math import isnan

from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import InvalidAnchorError
from napari_sslmaps.maps.tracking import REACH, direction_of, find_again
from napari_sslmaps.viewer.state.session import Session
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel

_FARTHEST = 3
"""How many frames' reach is searched at most, however far the slider went."""
_LOST = 0.4
"""Below this cosine an anchor may be on something else."""


class AnchorTracker:
    """Remembers what was under each anchor where a user set it, and finds it again.

    Parameters
    ----------
    workspace
        Workspace whose anchors are followed.
    move
        Callback with anchors that were found again.
    """

    def __init__(self, workspace: WorkspaceModel, move: Callable[[tuple[Anchor, ...]], None]) -> None:
        self._workspace = workspace
        self._move = move
        self._session: Session | None = None
        self._frame = 0
        self._directions: dict[Anchor, dict[str, Float32]] = {}

    def remember(self, session: Session) -> None:
        """Take note of what is under the anchors, before another frame is embedded."""
        if session is not self._session:
            self._session, self._directions = session, {}
        if session.region is None or not session.embedded:
            return
        self._frame = session.region.frame
        anchors = self._workspace.anchors if self._workspace.track else ()
        self._directions = {
            anchor: self._directions.get(anchor) or self._direction(anchor, session) for anchor in anchors
        }

    def follow(self, session: Session) -> None:
        """Move the anchors to where they are found in the frame that is embedded now."""
        workspace = self._workspace
        item = session.embedded.get(workspace.front) or next(iter(session.embedded.values()), None)
        if not workspace.track or session is not self._session or item is None or session.region is None:
            return
        steps = abs(session.region.frame - self._frame)
        if not steps:
            return
        self._frame = session.region.frame
        name, reach = item.embedding.provenance.encoder, REACH * min(steps, _FARTHEST)
        moved, directions, least = [], {}, 1.0
        for anchor in workspace.anchors:
            known = self._directions.get(anchor, {})
            found = anchor
            if name in known:
                match = find_again(item.embedding, known[name], anchor.pixel_yx, reach)
                found = replace(anchor, pixel_yx=match.pixel_yx)
                least = least if isnan(match.similarity) else min(least, match.similarity)
            directions[found] = known
            moved.append(found)
        self._directions = directions
        self._move(tuple(moved))
        if least < _LOST:
            workspace.say(f"An anchor may have lost its place: the best match has a cosine of {least:.2f}.")

    def _direction(self, anchor: Anchor, session: Session) -> dict[str, Float32]:
        directions = {}
        for name, item in session.embedded.items():
            try:
                directions[name] = direction_of(item.embedding, anchor.pixel_yx)
            except InvalidAnchorError:
                continue
        return directions
