"""Attention that embeddings do not hold: of an anchor's token, of any block, and rollout."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from napari.layers import Image
from psygnal import Signal

from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import Cancelled, SSLMapsError
from napari_sslmaps.maps.attention import AttentionStack
from napari_sslmaps.maps.make import MapRequest, make_maps
from napari_sslmaps.pipeline.attention import attend, attention_field
from napari_sslmaps.pipeline.attention_field import AttentionField
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, LayerSpec, Picture, draw, draw_all
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.session import Embedded, Session
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskContext, TaskRunner
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

Point = tuple[float, float]


class Attender(Protocol):
    """Runs an encoder again for its attention."""

    def of_output(
        self, embedding: Embedding, block: int | None, *, rollout: bool, check: Callable[[], None]
    ) -> AttentionStack:
        """Return what the output reads in a block, from 1, or through all; call `check` after each tile."""
        ...

    def around(self, embedding: Embedding, anchor: Point) -> AttentionField:
        """Return what every token of the tile under an anchor attends to, in every block."""
        ...


class PipelineAttender:
    """Attends by the pipeline.

    Parameters
    ----------
    encoders
        Encoders, each loaded once.
    """

    def __init__(self, encoders: LoadedEncoders) -> None:
        self._encoders = encoders

    def of_output(
        self, embedding: Embedding, block: int | None, *, rollout: bool, check: Callable[[], None]
    ) -> AttentionStack:
        """Read the region again and run the encoder up to that block."""
        encoder = self._encoders.get(get_spec(embedding.provenance.encoder))
        return attend(embedding, encoder, block=block, rollout=rollout, on_progress=lambda *_: check())

    def around(self, embedding: Embedding, anchor: Point) -> AttentionField:
        """Read the tile again and run the encoder."""
        encoder = self._encoders.get(get_spec(embedding.provenance.encoder))
        return attention_field(embedding, encoder, anchor, blocks=None)


@dataclass(frozen=True, eq=False)
class _Attention:
    """Work for the runner: report the drawings of every method so far, as each is done.

    What one method cannot do is raised when the others are done.
    """

    items: tuple[tuple[Embedded, int], ...]
    request: MapRequest
    attender: Attender

    def __call__(self, context: TaskContext) -> None:
        maps: list[TokenMap] = []
        failures: list[SSLMapsError] = []
        for item, depth in self.items:
            context.token.check()
            try:
                item.stack = self._stack(item, depth, context)
            except Cancelled:
                raise
            except SSLMapsError as error:
                failures.append(error)
                continue
            maps.append(attention_of(item, self.request))
            context.report(draw_all(maps, self.request.options.similarity.display))
        if failures:
            raise failures[0]

    def _stack(self, item: Embedded, depth: int, context: TaskContext) -> AttentionStack:
        options = self.request.options.attention
        block = None if options.block is None else min(options.block, depth)
        if options.query != "anchor":
            rollout = options.query == "rollout"
            return self.attender.of_output(item.embedding, block, rollout=rollout, check=context.token.check)
        anchor = self.request.anchors.anchors[-1]
        if item.around is None or not item.around.keeps(anchor):
            item.around = self.attender.around(item.embedding, anchor)
        return item.around.at(anchor, block=depth if block is None else block)


class AttentionController:
    """Shows the attention that is asked for, where embeddings do not hold it.

    Parameters
    ----------
    workspace
        Workspace that says which attention is asked for.
    layer_manager
        Layers that maps are drawn in.
    runner
        Runner of the encoders; the newest request wins.
    attender
        Service that computes attention.
    shown
        Callback with the image whose maps were shown.
    in_view
        Function that tells whether a picture is seen at this moment.
    failed
        Callback that is told what went wrong.
    """

    drawn = Signal(object)
    """Attention of this image changed, or came."""

    def __init__(
        self,
        workspace: WorkspaceModel,
        layer_manager: LayerManager,
        runner: TaskRunner,
        attender: Attender,
        shown: Callable[[Image], None],
        in_view: Callable[[Picture], bool],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._workspace = workspace
        self._layer_manager = layer_manager
        self._runner = runner
        self._attender = attender
        self._shown = shown
        self._in_view = in_view
        self._failed = failed

    def repaint(self, image: Image, session: Session) -> None:
        """Compute and show the attention of every transformer, unless embeddings hold what is asked."""
        request = self._workspace.request
        self._runner.discard()
        if "attention" not in request.wanted or request.options.attention.is_kept:
            return
        if request.options.attention.query == "anchor" and not request.anchors.anchors:
            self._workspace.say("Set an anchor: what its token attends to will appear.")
            return
        items = tuple(self._transformers(session))
        self._drop_what_cannot_follow(image, session, {id(item) for item, _ in items})

        def reported(drawings: list[LayerSpec]) -> None:
            for drawing in drawings:
                self._layer_manager.show(image, drawing)
            self._shown(image)
            self.drawn.emit(image)

        if items:
            work = _Attention(items, request, self._attender)
            self._runner.submit(work, TaskCallbacks(reported, _ignore, self._on_failed))

    def follow_drag(self, image: Image, session: Session) -> None:
        """Show the attention of an anchor that is being moved, where its tile has been computed."""
        request = self._workspace.request
        if request.options.attention.query != "anchor" or not request.anchors.anchors:
            return
        anchor = request.anchors.anchors[-1]
        for item, depth in self._transformers(session):
            layer = self._layer_manager.find(image, "attention", item.embedding.provenance.encoder)
            if (
                layer is None
                or not self._in_view(layer)
                or item.around is None
                or not item.around.keeps(anchor)
            ):
                continue
            block = min(request.options.attention.block or depth, depth)
            item.stack = item.around.at(anchor, block=block)
            drawing = replace(draw(attention_of(item, request)), limits=None)
            self._layer_manager.show(image, drawing, live=True)
            self.drawn.emit(image)

    def abandon(self) -> None:
        """Take no more answers: another image is shown."""
        self._runner.discard()

    def _transformers(self, session: Session) -> Iterator[tuple[Embedded, int]]:
        for name, item in session.embedded.items():
            depth = depth_of(self._workspace, name)
            if depth and item.complete:
                yield item, depth

    def _drop_what_cannot_follow(self, image: Image, session: Session, able: set[int]) -> None:
        """Remove attention of methods that cannot be asked again, such as the constant image."""
        for name, item in session.embedded.items():
            layer = self._layer_manager.find(image, "attention", name)
            if layer is not None and item.embedding.attention is not None and id(item) not in able:
                self._layer_manager.drop([layer])

    def _on_failed(self, error: BaseException) -> None:
        if not isinstance(error, Cancelled):
            self._failed(error)


def depth_of(workspace: WorkspaceModel, name: str) -> int:
    """Return how many blocks an encoder of the list has; 0 if it is no transformer."""
    spec = next((spec for spec in workspace.available if spec.name == name), None)
    return depth_of_spec(spec)


def depth_of_spec(spec: EncoderSpec | None) -> int:
    """Return how many blocks an encoder has; 0 if it is no transformer."""
    return 0 if spec is None else spec.architecture.attention_blocks


def attention_of(item: Embedded, request: MapRequest) -> TokenMap:
    """Return the map of an embedding's stack, as the request reduces it, with the nearest head it has."""
    name = item.embedding.provenance.encoder
    wanted = replace(request, wanted=("attention",))
    stacks = {} if item.stack is None else {name: item.stack}
    return make_maps({name: item.embedding}, wanted, stacks=stacks)[name]["attention"]


def _ignore(_answer: object) -> None:
    return
