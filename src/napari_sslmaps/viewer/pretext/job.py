"""Request for a pretext view, and the service that computes it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from napari_sslmaps.core.pretext_views import Bool, Crop, PretextView, TokenBlock, uncovered
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.pretext.options import PretextOptions
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders
from napari_sslmaps.viewer.state.tasks import TaskContext


@dataclass(frozen=True, eq=False, slots=True)
class PretextEdits:
    """Edits of a user, painted or moved; None is drawn by the method.

    Parameters
    ----------
    mask
        (rows, cols) bool, True where hidden; where nothing is, nothing is predicted.
    targets
        Blocks that are to be predicted.
    crops
        Views that are to agree.
    """

    mask: Bool | None = None
    targets: tuple[TokenBlock, ...] | None = None
    crops: tuple[Crop, ...] | None = None


class Pretext(Protocol):
    """Computes the pretext view of a region."""

    def __call__(
        self,
        source: ImageSource,
        spec: EncoderSpec,
        region: Region,
        options: PretextOptions,
        edits: PretextEdits,
        resolution: str = ...,
        check: Callable[[], None] = ...,
    ) -> PretextView:
        """Compute, on the calling thread; `check` is called between steps and may raise `Cancelled`."""
        ...


class EncoderPretext:
    """Computes by the encoder itself.

    Parameters
    ----------
    encoders
        Encoders, each loaded once.
    """

    def __init__(self, encoders: LoadedEncoders) -> None:
        self._encoders = encoders

    def __call__(
        self,
        source: ImageSource,
        spec: EncoderSpec,
        region: Region,
        options: PretextOptions,
        edits: PretextEdits,
        resolution: str = "trained",
        check: Callable[[], None] = lambda: None,
    ) -> PretextView:
        """Load the encoder if need be, then compute."""
        encoder = self._encoders.get(spec)
        from napari_sslmaps.encoders.encoder import checked_at_each_layer
        from napari_sslmaps.pretext.view import pretext_view

        check()
        with checked_at_each_layer(check):
            return pretext_view(
                source,
                encoder,
                edits.mask,
                region=region,
                fit=options.fit,
                seed=options.seed,
                ratio=options.ratio,
                targets=edits.targets,
                crops=edits.crops,
                distortion=options.distortion,
                resolution=resolution,
            )


@dataclass(frozen=True, eq=False, slots=True)
class PretextJob:
    """All that one view needs, captured when it is submitted."""

    source: ImageSource
    spec: EncoderSpec
    region: Region
    options: PretextOptions
    resolution: str
    edits: PretextEdits
    compute: Pretext

    def __call__(self, context: TaskContext) -> PretextView:
        """Compute, unless a newer one was asked for meanwhile."""
        context.token.check()
        check, edits = context.token.check, self.edits
        is_empty = edits.mask is not None and not edits.mask.any()
        edits = replace(edits, mask=None) if is_empty else edits
        view = self.compute(self.source, self.spec, self.region, self.options, edits, self.resolution, check)
        return uncovered(view) if is_empty else view
