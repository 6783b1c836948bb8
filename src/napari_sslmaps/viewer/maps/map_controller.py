"""Maps of what is embedded: painted as a run goes on, repainted when options or anchors change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from napari.layers import Image
from psygnal import Signal

from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.errors import Cancelled, InvalidAnchorError, InvalidOptionError
from napari_sslmaps.maps.make import MapRequest, Maps, make_maps
from napari_sslmaps.maps.registry import following_anchors, selectable
from napari_sslmaps.maps.similarity import SimilarityMap
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, LayerSpec, Picture, draw, draw_all
from napari_sslmaps.viewer.maps.embedding_job import PartialResult
from napari_sslmaps.viewer.maps.pca_bases import Elsewhere
from napari_sslmaps.viewer.state.session import Embedded, Session, Sessions
from napari_sslmaps.viewer.state.tasks import ImmediateRunner, TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel

FRAME_MEGABYTES = 64.0
"""Tokens read for one frame of a drag, over all maps in view: what memory delivers in about 8 ms."""
_SMALL = 1_000_000
"""Bytes of tokens of the first picture of a map that then follows the pointer."""
INLINE_MEGABYTES = 64.0
"""Up to this many megabytes of tokens, maps are repainted at once; above, on the runner's thread."""
AVERAGED_MEGABYTES = 16.0
"""The same where tokens are averaged over a neighbourhood first: 34 MB held the GUI thread for 0.4 s."""


@dataclass(frozen=True, eq=False)
class _Repaint:
    """Work for the runner: report drawings of every embedding, then make ready for a drag."""

    embedded: tuple[Embedded, ...]
    request: MapRequest
    elsewhere: Elsewhere
    previous: Mapping[str, Maps]

    def __call__(self, context: TaskContext) -> None:
        embeddings = {item.embedding.provenance.encoder: item.embedding for item in self.embedded}
        for key in self.request.wanted:
            context.token.check()
            made = make_maps(
                embeddings,
                replace(self.request, wanted=(key,)),
                joint=self.elsewhere,
                previous=self.previous,
                partial=True,
            )
            maps = [result for found in made.values() for result in found.values()]
            context.report((key, draw_all(maps, self.request.options.similarity.display)))
        self._prepare_drag(context)

    def _prepare_drag(self, context: TaskContext) -> None:
        """Build the coarse tokens that a drag will want, so that its first frame is as quick as the next."""
        if "similarity" not in self.request.wanted:
            return
        budget = int(FRAME_MEGABYTES / len(self.embedded) * 1e6)
        for item in self.embedded:
            context.token.check()
            with item.lock:
                options = self.request.options
                pyramid = item.pyramid(centred=options.similarity.centred, scale=options.scale)
                pyramid.prepare(pyramid.level_for(budget))


class MapController:
    """Brings maps of a session onto the board.

    Parameters
    ----------
    workspace
        Workspace that says which maps are wanted.
    sessions
        Sessions with what was computed of other images.
    layer_manager
        Layers that maps are drawn in.
    runner
        Runner that repaints what is too large to do at once.
    shown
        Callback with the image whose maps were shown, some perhaps for the first time.
    in_view
        Function that tells whether a picture is seen at this moment.
    failed
        Callback that is told what went wrong.
    """

    drawn = Signal(object)
    """Maps of this image changed, or came."""

    def __init__(
        self,
        workspace: WorkspaceModel,
        sessions: Sessions,
        layer_manager: LayerManager,
        runner: TaskRunner,
        shown: Callable[[Image], None],
        in_view: Callable[[Picture], bool],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._workspace = workspace
        self._sessions = sessions
        self._layer_manager = layer_manager
        self._runner = runner
        self._shown = shown
        self._in_view = in_view
        self._failed = failed
        self._pending: dict[str, None] = {}  # in the order in which they are to be made

    def paint(self, image: Image, painted: PartialResult) -> None:
        """Show what a run reports; similarity only if it answers the anchors of now."""
        now, then = self._workspace.request, painted.request
        current = then is not None and (then.anchors, then.groups) == (now.anchors, now.groups)
        left_out = () if current else following_anchors()
        self._show(image, [item for item in painted.drawings if item.kind not in left_out])

    def repaint(self, image: Image, session: Session, *kinds: str) -> None:
        """Make these maps of every embedding again and show them."""
        order = {name: place for place, name in enumerate(self._workspace.methods)}
        names = sorted(session.embedded, key=lambda name: order.get(name, len(order)))
        embedded = tuple(session.embedded[name] for name in names)
        wanted = {kind.key for kind in selectable()} & set(self._workspace.maps)
        self._pending = {kind: None for kind in (*kinds, *self._pending) if kind in wanted}
        if not embedded or not self._pending:
            return
        request = replace(self._request(), wanted=tuple(self._pending))
        self._drop_what_has_no_reference(image, request)
        work = _Repaint(embedded, request, self._sessions.elsewhere(), self._shown_maps(image))

        def reported(made: tuple[str, list[LayerSpec]]) -> None:
            kind, drawings = made
            self._pending.pop(kind, None)
            self._show(image, drawings)

        most = min(INLINE_MEGABYTES, AVERAGED_MEGABYTES if request.options.scale.value else INLINE_MEGABYTES)
        if sum(item.megabytes for item in embedded) <= most:
            self._runner.discard()
            ImmediateRunner().submit(work, TaskCallbacks(reported, _ignore, self._on_failed))
        else:
            self._runner.submit(work, TaskCallbacks(reported, _ignore, self._on_failed))

    def abandon(self) -> None:
        """Take no more answers: another image is shown."""
        self._pending.clear()
        self._runner.discard()

    def preview(self, image: Image, session: Session, pixel_yx: tuple[float, float]) -> None:
        """Draw similarity to a pixel that no anchor marks, of all methods in view."""
        request = self._workspace.request_for([Anchor(pixel_yx, group=self._workspace.group)])
        for name in session.embedded:
            if self._layer_manager.find(image, "similarity", name) is None:
                drawing = live_layer(session.embedded[name], request, _SMALL)
                drawing.record["options"]["pointer"] = True
                self._layer_manager.show(image, drawing)
        self._shown(image)
        self._follow(image, session, request, pointer=True)

    def drop_similarities(self, image: Image) -> None:
        """Remove the maps that follow anchors: there are none any more."""
        for kind in following_anchors():
            found = [
                layer for layer in self._layer_manager.maps_of(image) if layer.metadata[OWN]["kind"] == kind
            ]
            self._layer_manager.drop(found)
        self._shown(image)

    def follow_drag(self, image: Image, session: Session) -> None:
        """Draw one frame of a drag: maps in view, in place, similarity at the level that fits the frame."""
        self._follow_drag_of_groups(image, session)
        self._follow(image, session, self._workspace.request)

    def _follow(self, image: Image, session: Session, request: MapRequest, *, pointer: bool = False) -> None:
        seen = {
            name: layer
            for name in session.embedded
            if (layer := self._layer_manager.find(image, "similarity", name)) is not None
            and self._in_view(layer)
        }
        if not seen:
            return
        budget = int(FRAME_MEGABYTES / len(seen) * 1e6)
        for name, layer in seen.items():
            item = session.embedded[name]
            if not item.lock.acquire(blocking=False):
                continue  # its coarse tokens are being built; the mouse must not wait for them
            try:
                drawing = live_layer(item, request, budget)
            except (InvalidAnchorError, InvalidOptionError) as error:
                self._failed(error)
                return
            finally:
                item.lock.release()
            contrast = layer.metadata[OWN].get("contrast")
            drawing.record["contrast"] = contrast
            if pointer:
                drawing.record["options"]["pointer"] = True
            self._layer_manager.show(image, replace(drawing, limits=None), live=True)
        self.drawn.emit(image)

    def _request(self) -> MapRequest:
        """Return what is wanted, with the anchors of the image they are taken from."""
        reference = self._workspace.reference
        if reference is None:
            return self._workspace.request
        there = self._sessions.of(reference)
        embeddings = {name: item.embedding for name, item in there.embedded.items()}
        return self._workspace.request_for(there.anchors, embeddings)

    def _shown_maps(self, image: Image) -> dict[str, dict[str, TokenMap]]:
        """Return the maps that layers show, by encoder and key."""
        shown: dict[str, dict[str, TokenMap]] = {}
        for layer in self._layer_manager.maps_of(image):
            result, mark = self._layer_manager.result_of(layer), layer.metadata[OWN]
            if result is not None:
                shown.setdefault(mark["encoder"], {})[mark["map"]] = result
        return shown

    def _drop_what_has_no_reference(self, image: Image, request: MapRequest) -> None:
        """Remove maps of methods that have not seen the image with the anchors."""
        if request.reference is None:
            return
        for kind in following_anchors():
            layers = {
                name: self._layer_manager.find(image, kind, name)
                for name in self._workspace.methods
                if name not in request.reference
            }
            self._layer_manager.drop(layer for layer in layers.values() if layer is not None)
            if kind in request.wanted and layers:
                missing = ", ".join(layers)
                self._workspace.say(
                    f"Run {missing} on the image with the anchors, too: it is not embedded there yet.",
                )

    def _follow_drag_of_groups(self, image: Image, session: Session) -> None:
        """Draw groups in view, if their tokens can be read within a frame; else they wait for the release."""
        layers = {name: self._layer_manager.find(image, "groups", name) for name in session.embedded}
        seen = [name for name, layer in layers.items() if layer is not None and self._in_view(layer)]
        request = replace(self._workspace.request, wanted=("groups",))
        count = len({anchor.group for anchor in self._workspace.anchors})
        if sum(session.embedded[name].megabytes for name in seen) * count > FRAME_MEGABYTES:
            return
        for name in seen:
            try:
                made = make_maps({name: session.embedded[name].embedding}, request)
                for result in made[name].values():
                    self._layer_manager.show(image, draw(result), live=True)
            except (InvalidAnchorError, InvalidOptionError) as error:
                self._failed(error)
                return
        self.drawn.emit(image)

    def _show(self, image: Image, drawings: list[LayerSpec]) -> None:
        for item in drawings:
            self._layer_manager.show(image, item)
        self._shown(image)
        self.drawn.emit(image)

    def _on_failed(self, error: BaseException) -> None:
        if not isinstance(error, Cancelled):
            self._failed(error)


def _ignore(_answer: Any) -> None:
    return


def live_layer(item: Embedded, request: MapRequest, max_bytes: int) -> LayerSpec:
    """Draw a similarity map at the finest pyramid level whose tokens take at most `max_bytes`.

    Raises
    ------
    InvalidAnchorError
        If an anchor lies on a token that has not been computed.
    """
    options = request.options.similarity
    pyramid = item.pyramid(centred=options.centred, scale=request.options.scale)
    level = pyramid.level_for(max_bytes)
    positive, negative = request.anchors.anchors, request.anchors.negative
    values = pyramid.values(positive, negative=negative, combine=options.combine, level=level)
    return draw(
        SimilarityMap(
            values=values,
            grid=item.embedding.grid.coarser(level),
            provenance=item.embedding.provenance,
            anchors=tuple(positive),
            negative=tuple(negative),
            centred=options.centred,
            combine=options.combine,
            scale=pyramid.scale,
        )
    )
