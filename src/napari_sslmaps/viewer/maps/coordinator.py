"""Answers to anchors and options on one image: a map of what is embedded, a run for what is not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image

from napari_sslmaps.errors import RegionError, SSLMapsError
from napari_sslmaps.maps.registry import MapOptions, following_anchors, selectable
from napari_sslmaps.viewer.canvas.anchor_pointer import Bounds
from napari_sslmaps.viewer.canvas.region_selection import MaskAwaitedError, RegionSelection
from napari_sslmaps.viewer.maps.attention_controller import AttentionController, depth_of
from napari_sslmaps.viewer.maps.clip import ClipFrames
from napari_sslmaps.viewer.maps.embedding_job import PartialResult
from napari_sslmaps.viewer.maps.map_controller import MapController
from napari_sslmaps.viewer.maps.runs import EmbeddingRuns
from napari_sslmaps.viewer.maps.tracking import AnchorTracker
from napari_sslmaps.viewer.maps.visibility import VisibilityController
from napari_sslmaps.viewer.state.session import Embedded, Session, Sessions
from napari_sslmaps.viewer.state.workspace import WorkspaceModel


class TokenWork(NamedTuple):
    """Runs of one frame, frames that are embedded ahead, and what lets anchors go along."""

    runs: EmbeddingRuns
    clip: ClipFrames
    tracker: AnchorTracker


class MapCoordinator:
    """Answers every change of anchors and options by maps, and computes tokens where there are none.

    Parameters
    ----------
    workspace
        Workspace that says what is asked for.
    sessions
        Sessions with what was computed, and for which image.
    region_selection
        The region that is chosen, and the frame that is shown.
    tokens
        Work that computes tokens.
    map_controller, attention
        Controllers that make maps of tokens, and attention that is not kept with them.
    stage
        Controller that brings them into view.
    """

    def __init__(
        self,
        workspace: WorkspaceModel,
        sessions: Sessions,
        region_selection: RegionSelection,
        tokens: TokenWork,
        map_controller: MapController,
        attention: AttentionController,
        stage: VisibilityController,
    ) -> None:
        self._workspace = workspace
        self._sessions = sessions
        self._region_selection = region_selection
        self._runs, self._clip, self._tracker = tokens
        self._map_controller = map_controller
        self._attention = attention
        self._stage = stage
        self._options = workspace.options
        self._behind = False
        self._held = False
        self._awaiting: Image | None = None

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Make no map meanwhile: much changes at once, and is painted once afterwards."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def run(self) -> None:
        """Embed the chosen region by all chosen encoders."""
        workspace, here = self._workspace, self._sessions.here
        if here is None or not workspace.specs:
            workspace.say(workspace.plan.text)
            return
        image, session = here
        self._awaiting = None
        try:
            region, mask = self._region_selection.region(image), self._region_selection.mask(image)
        except SSLMapsError as error:
            self._awaiting = image if isinstance(error, MaskAwaitedError) else None
            workspace.say(str(error), failed=not isinstance(error, RegionError))
            return
        if not session.covers(region, mask):
            session.forget()
        self._stage.choose_front()
        self._runs.start(image, session, workspace.requested, region, mask)

    def on_mask(self) -> None:
        """Run what was to be run when the mask was still being looked for."""
        here, awaiting = self._sessions.here, self._awaiting
        if here is not None and here[0] is awaiting:
            self.run()

    def await_no_mask(self) -> None:
        """Forget what was to be run: another region is chosen."""
        self._awaiting = None

    def embed_chosen(self) -> bool:
        """Embed the chosen region by those chosen encoders that have not; tell whether a run is under way.

        Raises
        ------
        SSLMapsError
            If there is no such region.
        """
        here = self._sessions.here
        if here is None:
            return False
        image, session = here
        region, mask = self._region_selection.region(image), self._region_selection.mask(image)
        if not session.covers(region, mask):
            session.forget()
        done = {name for name, item in session.embedded.items() if item.complete}
        missing = [spec for spec in self._workspace.specs if spec.name not in done]
        self._stage.choose_front()
        if missing:
            self._runs.start(image, session, missing, region, mask)
        return self._workspace.progress is not None

    def preview(self, pixel_yx: tuple[float, float]) -> None:
        """Show similarity to a pixel under the pointer, of what is embedded."""
        here = self._sessions.here
        if here is not None and here[1].embedded and not self._is_stale(*here):
            self._map_controller.preview(*here, pixel_yx)

    def end_preview(self) -> None:
        """Show similarity to the anchors again; none without any."""
        here = self._sessions.here
        if here is None:
            return
        if self._workspace.anchors or self._workspace.reference is not None:
            self.repaint_for_anchors()
        else:
            self._map_controller.drop_similarities(here[0])

    def follow_frame(self) -> None:
        """Embed the frame that the slider rests at, where the one before was embedded."""
        here = self._sessions.here
        if here is None or self.take_frame():
            return
        if self._behind:
            self._behind = False
            self.repaint(*self._workspace.maps)
        self._tracker.remember(here[1])
        if here[1].embedded and self._is_stale(*here) and not self._clip.busy:
            self.run()

    def take_frame(self) -> bool:
        """Show the frame that the slider is at, where it was embedded ahead; tell whether it was."""
        here = self._sessions.here
        if here is None or not self._is_stale(*here):
            return False
        image, session = here
        self._tracker.remember(session)
        if not self._clip.take(image, session):
            return False
        self._stage.choose_front()
        with self.holding():  # one painting for the frame and for anchors that went along
            self._tracker.follow(session)
        self.repaint(*self._front_first())
        self._behind = True
        return True

    def _front_first(self) -> tuple[str, ...]:
        """Return the map in view, which alone is made while the slider moves; the others when it rests."""
        workspace = self._workspace
        return (workspace.in_view,) if workspace.in_view in workspace.maps else workspace.maps

    def bounds(self) -> Bounds | None:
        """Return where anchors may lie: on the embedded region, else on the chosen one."""
        here = self._sessions.here
        if here is None:
            return None
        image, session = here
        try:
            region = (
                self._region_selection.region(image) if self._is_stale(image, session) else session.region
            )
            shapes = [level.shape_yx for level in self._region_selection.source(image).levels]
        except SSLMapsError as error:
            self._workspace.say(str(error), failed=True)
            return None
        if region is None:
            return None
        factor = np.divide(shapes[0], shapes[region.level])
        low = np.array([region.y, region.x]) * factor - 0.5
        return Bounds(low, low + np.array(region.shape_yx) * factor)

    def follow_anchors(self) -> None:
        """Bring maps to where the anchors are now."""
        here = self._sessions.here
        if here is None or self._held:
            return
        image, session = here
        if self._workspace.reference is None and not self._workspace.anchors and not self._workspace.dragging:
            self._map_controller.drop_similarities(image)
            return
        if self._workspace.reference is None and all(anchor.negative for anchor in self._workspace.anchors):
            if self._workspace.anchors:
                self._workspace.say("Negative anchors alone make no map: set a positive one, too.")
            return
        if self._workspace.dragging:
            self._map_controller.follow_drag(image, session)
            self._attention.follow_drag(image, session)
        elif self._workspace.task == "search":  # an anchor asks an archive: the image is not embedded for it
            self.repaint_for_anchors()
        elif self._is_stale(image, session):
            if not self._clip.busy:
                self.run()
        else:
            self.repaint_for_anchors()
            self.embed_missing()

    def embed_missing(self) -> bool:
        """Embed by those chosen encoders that have not seen the region; tell whether a run is on now."""
        workspace, here = self._workspace, self._sessions.here
        if here is None or workspace.progress is not None:
            return workspace.progress is not None
        image, session = here
        missing = [method for method in workspace.requested if method.name not in session.embedded]
        if self._is_stale(image, session) or session.region is None:
            self.run()
        elif missing:
            self._runs.start(image, session, missing, session.region, session.mask)
        return workspace.progress is not None

    def embed_missing_of_embedded(self) -> None:
        """Embed by a control that was ticked, if its region is embedded; else it waits for the run."""
        here = self._sessions.here
        if here is not None and here[1].embedded and not self._is_stale(*here):
            self.embed_missing()

    def follow_depth(self) -> None:
        """Embed again at the depth that is chosen now, what is embedded at another."""
        here = self._sessions.here
        if here is not None and here[1].embedded and not self._held and not self._is_stale(*here):
            self.run()

    def repaint(self, *kinds: Any) -> None:
        """Make these kinds of maps again, of what is embedded."""
        here = self._sessions.here
        if here is None or self._held:
            return
        self._map_controller.repaint(*here, *kinds)
        if "attention" in kinds:
            self._attention.repaint(*here)

    def repaint_for_anchors(self) -> None:
        """Make what depends on the anchors again."""
        asks = self._workspace.attention.query == "anchor"
        self.repaint(*following_anchors(), *(("attention",) if asks else ()))

    def follow_options(self, options: MapOptions) -> None:
        """Make what looks different with these options again."""
        before, self._options = self._options, options
        self.repaint(*options.changed_since(before))

    def catch_up(self) -> None:
        """Say what there is of an image that is turned to; make maps again if other ones are asked for."""
        workspace, here = self._workspace, self._sessions.here
        self._tell_depths({} if here is None else here[1].embedded)
        if here is None or not here[1].embedded:
            return
        spanning = [kind.key for kind in selectable() if kind.spans_encoders(workspace.options)]
        if here[1].requested != workspace.appearance:
            self.repaint(*workspace.maps)
        elif spanning:
            self.repaint(*spanning)

    def abandon(self) -> None:
        """Take no more answers: another image is shown."""
        self._runs.abandon()
        self._map_controller.abandon()
        self._attention.abandon()

    def take(self, image: Image, painted: PartialResult | None) -> None:
        """Show what a run has computed; None when it is over."""
        here = self._sessions.here
        if here is None or image is not here[0]:
            return
        workspace = self._workspace
        self._tell_depths(here[1].embedded)
        if painted is None:
            self._tracker.follow(here[1])
            self.repaint(
                *(
                    kind.key
                    for kind in selectable()
                    if kind.shared or kind.needs_anchors or kind.spans_encoders(workspace.options)
                )
            )
        else:
            self._map_controller.paint(image, painted)

    def _tell_depths(self, embedded: Mapping[str, Embedded]) -> None:
        """Say how many attention heads and blocks there are to choose from."""
        workspace = self._workspace
        heads = [item.embedding.attention for item in embedded.values()]
        workspace.heads = max((len(each) for each in heads if each is not None), default=0)
        workspace.blocks = max((depth_of(workspace, name) for name in embedded), default=0)

    def _is_stale(self, image: Image, session: Session) -> bool:
        """Whether nothing is embedded for the frame that is shown."""
        return session.region is None or session.region.frame != self._region_selection.frame(image)
