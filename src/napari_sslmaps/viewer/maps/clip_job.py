"""The work ahead of the slider: embed every frame of a clip, and lay its maps in time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from napari_sslmaps.core.frames import FrameEmbeddings, FrameMap
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.maps.frames import frame_maps
from napari_sslmaps.maps.make import MapRequest
from napari_sslmaps.maps.map_type import Display
from napari_sslmaps.pipeline.frames import common_window
from napari_sslmaps.pipeline.progress import EmbeddingProgress
from napari_sslmaps.pipeline.token_store import TokenBudget
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.canvas.map_layers import FRAMES, LayerSpec, draw_all
from napari_sslmaps.viewer.maps.embedding_job import Embedder, EmbedOptions, EncoderChoice
from napari_sslmaps.viewer.state.tasks import TaskContext


@dataclass(frozen=True, eq=False, slots=True)
class FrameDone:
    """Progress of the work, and what was embedded of a frame by an encoder; None in the midst of one."""

    encoder: str
    frame: int
    fraction: float
    seconds_left: float | None = None
    embedding: Embedding | None = None


@dataclass(frozen=True, eq=False, slots=True)
class ClipJob:
    """All that the work needs, captured when it is submitted.

    Parameters
    ----------
    source, region
        Image, and the region of it, of any frame.
    frames
        Numbers of the frames, in the order in which they are embedded.
    methods, embedder, options
        Encoders, embedder and options, as in a run.
    known
        Earlier embeddings, by frame and encoder.
    request
        Function that returns the newest snapshot of what is wanted, and the frame that its anchors lie in.
    """

    source: ImageSource
    region: Region
    frames: Sequence[int]
    methods: Sequence[EncoderChoice]
    embedder: Embedder
    options: EmbedOptions
    known: Mapping[int, Mapping[str, Embedding]]
    request: Callable[[], tuple[MapRequest, int]]

    def __call__(self, context: TaskContext) -> None:
        """Embed what is missing, reporting `FrameDone`; then report the maps of all frames, one by one."""
        regions = [replace(self.region, frame=frame) for frame in sorted(self.frames)]
        count = len(self.frames) * len(self.methods)
        options = replace(
            self.options, window=common_window(self.source, regions), budget=_budget_for(count), focus_yx=None
        )
        found = {frame: dict(self.known.get(frame, {})) for frame in self.frames}
        missing = [
            (frame, method)
            for frame in self.frames
            for method in self.methods
            if method.name not in found[frame]
        ]
        start = perf_counter()
        for place, (frame, method) in enumerate(missing):
            context.token.check()
            region, name = replace(self.region, frame=frame), method.name

            def report(
                progress: EmbeddingProgress, before: int = place, at: int = frame, name: str = name
            ) -> None:
                context.token.check()
                done = before + progress.done / max(1, progress.total)
                left = (perf_counter() - start) * (len(missing) - done) / done
                context.report(FrameDone(name, at, done / len(missing), left))

            made = self.embedder(self.source, method, region, report, options)
            found[frame][method.name] = made
            context.report(FrameDone(method.name, frame, (place + 1) / len(missing), None, made))
        self._draw(context, found)

    def _draw(self, context: TaskContext, found: Mapping[int, Mapping[str, Embedding]]) -> None:
        request, at = self.request()
        for method in self.methods:
            context.token.check()
            frames = tuple(sorted(found))
            embeddings = FrameEmbeddings(frames, tuple(found[frame][method.name] for frame in frames))
            made = frame_maps(
                embeddings,
                request.wanted,
                anchors=tuple(request.anchors.anchors),
                negative=tuple(request.anchors.negative),
                anchor_frame=at,
                groups=request.groups,
                options=request.options,
            )
            for each in made.values():
                context.report(frames_layer(each, request.options.similarity.display))


def frames_layer(made: FrameMap, display: Display) -> LayerSpec:
    """Turn the maps of all frames into one drawing with an axis of frames and one contrast."""
    specs = draw_all(list(made.maps), "shared" if display == "each" else display)
    values: Float32 = np.stack([spec.values for spec in specs])
    return replace(
        specs[0],
        values=values,
        title=f"{specs[0].title}, all frames",
        role=FRAMES,
        frame=0,
        result=None,
    )


def _budget_for(count: int) -> TokenBudget:
    """Return the budget of one of so many embeddings that are kept at once."""
    room = TokenBudget.from_environment()
    return replace(
        room, full_bytes=room.full_bytes // max(1, count), memory_bytes=room.memory_bytes // max(1, count)
    )
