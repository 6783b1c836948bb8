"""Clips: all frames embedded ahead of the slider, and what of them is shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from napari.components import ViewerModel
from napari.layers import Image
from psygnal import Signal

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import Cancelled, InvalidAnchorError, SSLMapsError
from napari_sslmaps.maps.make import MapRequest
from napari_sslmaps.maps.tracking import REACH, follow
from napari_sslmaps.viewer.canvas.image_layer import lead_of_frame
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, LayerSpec
from napari_sslmaps.viewer.canvas.region_selection import RegionSelection
from napari_sslmaps.viewer.maps.clip_job import ClipJob, FrameDone
from napari_sslmaps.viewer.maps.embedding_job import Embedder, EmbedOptions
from napari_sslmaps.viewer.state.messages import sentence
from napari_sslmaps.viewer.state.session import ClipEmbeddings, Embedded, Session, Sessions
from napari_sslmaps.viewer.state.tasks import TaskCallbacks, TaskRunner
from napari_sslmaps.viewer.state.workspace import RunProgress, WorkspaceModel


@dataclass(frozen=True, slots=True)
class TimeCourses:
    """Similarity over time at the anchors of the active group.

    Parameters
    ----------
    frames
        Numbers of the frames.
    values
        Values by method, one for each frame: cosine to what is under the anchors, less each frame's mean
        token; the mean over the anchors.
    at
        The frame in which the anchors are.
    """

    frames: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]
    at: int


class ClipFrames:
    """Embeds all frames in the background, and takes from them what the slider comes to.

    Parameters
    ----------
    viewer
        Viewer whose slider chooses the frame.
    workspace
        Workspace with what is chosen; gets status and progress.
    sessions
        Sessions with what was embedded.
    region_selection
        The chosen region, and the frame that is shown.
    runner
        Runner of the runs: a run and this work never go on together.
    embedder
        Embedder that computes tokens.
    layer_manager
        Layers, which get those of all frames.
    """

    arrived = Signal(object)
    """All methods have embedded the frame of this image that is shown."""
    finished = Signal(object)
    """All frames of this image are embedded."""

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        sessions: Sessions,
        region_selection: RegionSelection,
        runner: TaskRunner,
        embedder: Embedder,
        layer_manager: LayerManager,
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._sessions = sessions
        self._region_selection = region_selection
        self._runner = runner
        self._embedder = embedder
        self._layer_manager = layer_manager
        self.busy = False

    def embed_all(self) -> None:
        """Embed every frame of the image, beginning with the one that is shown, and lay its maps in time."""
        workspace, here = self._workspace, self._sessions.here
        if here is None or not workspace.requested:
            workspace.say(workspace.plan.text or "Open a clip and tick an encoder.")
            return
        image, session = here
        try:
            source, region = self._region_selection(image)
            key, options = self._key(image, region)
        except SSLMapsError as error:
            workspace.say(str(error), failed=True)
            return
        if source.frames < 2:
            workspace.say(f"{image.name} has a single frame: Run embeds it.")
            return
        if session.clip is None or session.clip.key != key:
            session.clip = ClipEmbeddings(key)
        shown = self._region_selection.frame(image)
        order = [*range(shown, source.frames), *range(shown)]
        known = {frame: dict(made) for frame, made in session.clip.frames.items()}
        job = ClipJob(
            source,
            region,
            order,
            workspace.requested,
            self._embedder,
            options,
            known,
            self._request(image),
        )

        drawn: list[str] = []

        def reported(done: FrameDone | LayerSpec) -> None:
            if isinstance(done, LayerSpec):
                self._layer_manager.show(image, done)
                drawn.append(done.kind)
            else:
                self._on_reported(image, session, done, source.frames)

        def returned(_: None) -> None:
            self._on_returned(image, session, drawn, source.frames)

        workspace.say("")
        workspace.progress = RunProgress(f"all {source.frames} frames", 0.0)
        self.busy = True
        self._runner.submit(job, TaskCallbacks(reported, returned, self._on_failed))

    def courses(self) -> TimeCourses | None:
        """Return how like the anchors their places are in every frame that is embedded; None without any.

        In each frame the place is that of the anchor, or, where anchors are tracked, the best match by the
        tokens of the method itself.
        """
        workspace, here = self._workspace, self._sessions.here
        anchors = [a for a in workspace.anchors if a.group == workspace.group and not a.negative]
        if here is None or here[1].clip is None or not anchors:
            return None
        clip, at = here[1].clip, self._region_selection.frame(here[0])
        frames = tuple(sorted(n for n in clip.frames if clip.of_frame(n, workspace.methods) is not None))
        if at not in frames or len(frames) < 2:
            return None
        values = {}
        for name in workspace.methods:
            embeddings = [clip.frames[frame][name] for frame in frames]
            reach = REACH if workspace.track else 0
            try:
                found = [follow(embeddings, frames.index(at), a.pixel_yx, reach) for a in anchors]
            except InvalidAnchorError:
                return None
            values[name] = tuple(
                sum(match.similarity for match in matches) / len(matches)
                for matches in zip(*found, strict=True)
            )
        return TimeCourses(frames, values, at)

    def go_to(self, frame: int) -> None:
        """Let the slider go to a frame."""
        image = self._sessions.image
        for axis, step in enumerate(() if image is None else lead_of_frame(image, frame)):
            self._viewer.dims.set_current_step(axis, step)

    def take(self, image: Image, session: Session) -> bool:
        """Let the session have the frame that is shown, if all methods have embedded it; tell whether."""
        if session.clip is None:
            return False
        try:
            region = self._region_selection.region(image)
            key, options = self._key(image, region)
        except SSLMapsError:
            return False
        found = session.clip.of_frame(region.frame, self._workspace.methods)
        if session.clip.key != key or found is None:
            return False
        session.region, session.mask = region, options.mask
        session.embedded = {name: Embedded(embedding) for name, embedding in found.items()}
        return True

    def follow_progress(self, progress: RunProgress | None) -> None:
        """Take note that nothing goes on any more."""
        if progress is None:
            self.busy = False

    def _key(self, image: Image, region: Region) -> tuple[tuple[object, ...], EmbedOptions]:
        workspace, mask = self._workspace, self._region_selection.mask(image)
        depth = workspace.token_block, workspace.token_norm
        options = EmbedOptions(
            workspace.tiling, None, workspace.keep, mask, workspace.resolution, workspace.detail, *depth
        )
        hashed = None if mask is None else mask.sha256
        chosen = (workspace.tiling, workspace.resolution, workspace.detail, *depth, workspace.spacing_um)
        return (replace(region, frame=0), hashed, *chosen), options

    def _request(self, image: Image) -> Callable[[], tuple[MapRequest, int]]:
        def request() -> tuple[MapRequest, int]:
            workspace = self._workspace
            wanted = workspace.in_view or next(iter(workspace.maps), "attention")
            return replace(workspace.request, wanted=(wanted,)), self._region_selection.frame(image)

        return request

    def _on_reported(self, image: Image, session: Session, done: FrameDone, count: int) -> None:
        label = f"{done.encoder}: frame {done.frame + 1} of {count}"
        self._workspace.progress = RunProgress(label, done.fraction, done.seconds_left)
        self.busy = True
        if done.embedding is None or session.clip is None:
            return
        session.clip.frames.setdefault(done.frame, {})[done.encoder] = done.embedding
        complete = session.clip.of_frame(done.frame, self._workspace.methods) is not None
        if complete and self._region_selection.frame(image) == done.frame:
            self.arrived.emit(image)

    def _on_returned(self, image: Image, session: Session, drawn: list[str], count: int) -> None:
        self._workspace.progress = None
        self.finished.emit(image)
        layers = f" {len(drawn)} hidden layers hold {drawn[0]} of all." if drawn else ""
        methods = f"{len(session.embedded)} method{'s' * (len(session.embedded) != 1)}"
        self._workspace.say(f"{count} frames embedded by {methods}: maps follow the slider at once.{layers}")

    def _on_failed(self, error: BaseException) -> None:
        self._workspace.progress = None
        self._workspace.say(sentence(error), failed=not isinstance(error, Cancelled))
