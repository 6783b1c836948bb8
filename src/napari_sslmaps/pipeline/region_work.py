"""A region of an opened image, embedded at one depth of an encoder or at several."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from napari_sslmaps.cache.entry import CacheEntry
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.preprocess import check_window
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.results import Embedding, PixelReader, Provenance
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.pipeline.assembly import Frame
from napari_sslmaps.pipeline.caching import entry_of
from napari_sslmaps.pipeline.masks import MaskLike
from napari_sslmaps.pipeline.planning import EmbeddingPlan, plan
from napari_sslmaps.pipeline.progress import OnProgress
from napari_sslmaps.pipeline.reading import TileReader, parts_read, scan_ahead
from napari_sslmaps.pipeline.streaming import recall, stream
from napari_sslmaps.pipeline.token_store import TokenBudget
from napari_sslmaps.pipeline.weaving import weave
from napari_sslmaps.sources.base import spacing_in
from napari_sslmaps.sources.colour import is_grey
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.scan import RegionScan

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionWork:
    """A region of an opened image, and how it is embedded.

    Parameters
    ----------
    source, region, resolution
        The image at its working resolution, the rectangle there, and what that resolution is.
    tiling, mask, stride, window, allow_uniform, focus_yx, on_progress
        Options as `embed` takes them.
    cache
        Place where finished tiles are kept; None for nowhere.
    file, known_by
        The image's file when it was opened, if it is in one; the same if its levels are read as stored.
    pixels
        Function that reads the image again.
    budget
        Budget for the tokens of one depth.
    says_if_short
        Whether a lack of memory is said.
    """

    source: ImageSource
    region: Region
    resolution: Resolution | None
    tiling: Tiling | None
    mask: MaskLike | None
    stride: int | None
    window: tuple[float, float] | None
    allow_uniform: bool
    focus_yx: tuple[float, float] | None
    cache: Cache | None
    file: FileIdentity | None
    known_by: FileIdentity | None
    pixels: PixelReader
    budget: TokenBudget
    says_if_short: bool
    on_progress: OnProgress | None

    def embed(self, encoders: Sequence["Encoder"]) -> list[Embedding]:
        """Embed at each depth of an encoder; depths of one token stride take one pass together."""
        by_stride: dict[int, list[int]] = {}
        for place, encoder in enumerate(encoders):
            by_stride.setdefault(encoder.spec.constraint.token_stride, []).append(place)
        found: dict[int, Embedding] = {}
        for places in by_stride.values():
            found |= zip(places, self._together([encoders[place] for place in places]), strict=True)
        return [found[place] for place in range(len(encoders))]

    def _together(self, encoders: Sequence["Encoder"]) -> list[Embedding]:
        spec = encoders[0].spec
        check_colour(self.source, spec)
        planned = plan(self.source, spec, self.region, self.tiling, mask=self.mask, stride=self.stride)
        self._check_room(planned, encoders)
        parts = None if planned.mask is None else parts_read(planned)
        look = partial(scan_ahead, self.source, planned.region, parts)
        scan = look() if self.cache is None else self.cache.scan(self.known_by, planned.region, look, parts)
        check_structure(scan, allow_uniform=self.allow_uniform)
        window = check_window(scan.window if self.window is None else self.window, flat=self.allow_uniform)
        reader = TileReader(self.source, planned, window)
        frames = [self._frame(planned, encoder, scan, window) for encoder in encoders]
        entries = [self._entries(*pair) for pair in zip(encoders, frames, strict=True)]
        if planned.passes:
            return [
                weave(reader, encoder, frame, kept, self.on_progress)
                for encoder, frame, kept in zip(encoders, frames, entries, strict=True)
            ]
        found = [
            None if kept[0] is None else recall(kept[0], frame, self.on_progress)
            for frame, kept in zip(frames, entries, strict=True)
        ]
        places = [place for place, known in enumerate(found) if known is None]
        if places:
            depths = [encoders[place].spec.architecture for place in places]
            made = stream(
                reader,
                encoders[places[0]],
                [frames[place] for place in places],
                [entries[place][0] for place in places],
                self.on_progress,
                depths if len(depths) > 1 else (),
            )
            for place, embedding in zip(places, made, strict=True):
                found[place] = embedding
        return [embedding for embedding in found if embedding is not None]

    def _check_room(self, planned: EmbeddingPlan, encoders: Sequence["Encoder"]) -> None:
        for encoder in encoders:
            shape = *planned.grid.shape, encoder.spec.architecture.token_width
            self.budget.check_room(*shape)
            if self.says_if_short:
                self.budget.say_if_short(*shape)

    def _frame(
        self, planned: EmbeddingPlan, encoder: "Encoder", scan: RegionScan, window: tuple[float, float]
    ) -> Frame:
        provenance = provenance_of(self.source, planned, encoder, scan, window, self.resolution)
        focus = None
        if self.focus_yx is not None:
            row, col = planned.grid.pixel_to_token(self.focus_yx)
            focus = float(row), float(col)
        return Frame(planned, provenance, encoder.extractor.attention_kind, self.pixels, focus, self.budget)

    def _entries(self, encoder: "Encoder", frame: Frame) -> list[CacheEntry | None]:
        """Return where each pass is kept."""
        planned = frame.plan
        if self.cache is None:
            return [None] * len(planned.runs)
        half = self.budget.kept(*planned.grid.shape, encoder.spec.architecture.token_width) != "full"
        return [
            entry_of(self.cache, part, encoder, frame.provenance, self.file, half=half)
            for part in planned.runs
        ]


def check_colour(source: ImageSource, spec: EncoderSpec) -> None:
    """Refuse a coloured image to an encoder that takes one channel.

    Raises
    ------
    UnsupportedImageError
        If it is one.
    """
    if spec.architecture.channels == 1 and source.channels == 3 and not is_grey(source):
        raise UnsupportedImageError(
            f"Expected a grey image for {spec.name}, which takes one channel; {source.name} has colours. "
            "Choose one of its channels (channel=0, 1 or 2; --channel), or an encoder that takes three."
        )


def check_structure(scan: RegionScan, *, allow_uniform: bool) -> None:
    """Refuse a region whose pixels are all equal, unless it is allowed.

    Raises
    ------
    UnsupportedImageError
        If it is one.
    """
    if scan.low == scan.high and not allow_uniform:
        raise UnsupportedImageError(
            f"Expected a region with structure; every pixel of this one is {scan.low:g}, so its maps "
            "would show nothing but position bias. Choose another region, or pass allow_uniform=True "
            "to see that bias."
        )


def provenance_of(
    source: ImageSource,
    planned: EmbeddingPlan,
    encoder: "Encoder",
    scan: RegionScan,
    window: tuple[float, float],
    resolution: Resolution | None = None,
) -> Provenance:
    """Say what decides the numbers of a region's embedding."""
    import torch

    spec = encoder.spec
    return Provenance(
        encoder=spec.name,
        method=spec.method,
        weights_sha256=spec.sha256,
        architecture=spec.architecture.summary,
        image=source.name,
        image_sha256=scan.sha256,
        region=planned.region,
        window=window,
        normalisation=spec.normalisation,
        precision=encoder.precision,
        device=encoder.device,
        tile=planned.side,
        overlap=planned.tiling.overlap,
        stitching=planned.tiling.stitching,
        package_version=version("napari-sslmaps"),
        torch_version=torch.__version__,
        overrides=dict(spec.overrides),
        mask_sha256=planned.mask_sha256,
        image_notes=tuple(getattr(source, "notes", ())),
        stride=planned.stride if planned.passes else 0,
        spacing_um_yx=spacing_in(source, planned.region),
        resolution="" if resolution is None else str(resolution),
        token_block=encoder.token_block,
        token_norm=spec.architecture.token_norm,
    )
