"""The methods of a comparison: encoders, then their controls, each with how its tokens are made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from napari_sslmaps.compare.images import OpenedImage
from napari_sslmaps.compare.request import ComparisonRequest
from napari_sslmaps.compare.results import ComparedMethod
from napari_sslmaps.compare.scores import CONTROL_KINDS
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import Stitching, Tiling
from napari_sslmaps.encoders.controls import Control, controls_of
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import attention_size, load_encoder
from napari_sslmaps.encoders.untrained import untrained_twin
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.inputs.images import mask_in
from napari_sslmaps.maps.attention import check_attention
from napari_sslmaps.pipeline.controls import embed_control
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.masks import MaskLike
from napari_sslmaps.pipeline.planning import at_working_resolution, check_stride
from napari_sslmaps.pipeline.progress import OnProgress
from napari_sslmaps.records.run import RunOptions


@dataclass(frozen=True, slots=True, eq=False)
class Entrant:
    """A method, and what makes its tokens.

    Parameters
    ----------
    method
        Name of the method, and facts about it.
    encoder
        The network that runs; None where none does.
    control
        Control of an encoder; None for the encoder itself.
    """

    method: ComparedMethod
    encoder: Encoder | None
    control: Control | None = None

    @property
    def has_network(self) -> bool:
        """Whether its tokens are a network's of the image, so that it can be asked for attention."""
        return self.control is None or self.control.kind == "untrained"

    @property
    def trained(self) -> Resolution | None:
        """The resolution that its encoder learned at; None where there is none or it is not known."""
        if self.control is not None:
            return self.control.trained
        return None if self.encoder is None else self.encoder.spec.trained

    @property
    def places(self) -> tuple[str, ...]:
        """Names of its network's blocks or stages, as they are computed; none without a network."""
        return self.encoder.spec.architecture.token_places if self.encoder and self.has_network else ()

    def embed_places(self, image: OpenedImage, options: RunOptions) -> tuple[Embedding, ...]:
        """Compute the tokens of every block or stage."""
        return embed(
            image.source,
            cast("Encoder", self.encoder),
            region=image.region,
            tiling=Tiling(options.tile, options.overlap, cast("Stitching", options.stitching)),
            mask=_wanted(image, options),
            resolution=options.resolution,
            stride=options.stride,
            block=self.places,
            norm=options.token_norm,
        )

    def grid(self, image: OpenedImage, options: RunOptions) -> TokenGrid:
        """Return where the tokens of an encoder will lie on an image's region."""
        encoder = cast("Encoder", self.encoder)
        source, area = at_working_resolution(image.source, image.region, options.resolution, self.trained)
        stride, patch = check_stride(options.stride, encoder.spec), encoder.spec.constraint.token_stride
        return TokenGrid.covering(area, stride, source.levels[area.level].downsample_yx, patch=patch)

    def embed(self, image: OpenedImage, options: RunOptions, on_progress: OnProgress | None) -> Embedding:
        """Compute the method's tokens of an image's region."""
        tiling = Tiling(options.tile, options.overlap, cast("Stitching", options.stitching))
        mask = _wanted(image, options)
        if self.control is None or self.has_network:
            return embed(
                image.source,
                cast("Encoder", self.encoder),
                region=image.region,
                tiling=tiling,
                on_progress=on_progress,
                mask=mask,
                resolution=options.resolution,
                stride=options.stride,
            )
        return embed_control(
            self.control,
            image.source,
            self.encoder,
            region=image.region,
            tiling=tiling,
            on_progress=on_progress,
            mask=mask,
            resolution=options.resolution,
            stride=options.stride,
        )


def _wanted(image: OpenedImage, options: RunOptions) -> MaskLike | None:
    """Return which tokens are embedded: what the image's own mask says, else what is to be found."""
    own = image.asked.mask
    if own is not None:
        return own if isinstance(own, PlacedMask) else mask_in(own)
    return cast("MaskLike", options.mask) if options.mask else None


def entrants_of(
    request: ComparisonRequest, loaded: Mapping[str, Encoder] | None = None
) -> tuple[Entrant, ...]:
    """Load the encoders of a comparison and their controls.

    Parameters
    ----------
    request
        Comparison to load them for.
    loaded
        Encoders that are loaded already, by the name in their choice.

    Raises
    ------
    SSLMapsError
        If one cannot be loaded, two are called the same, or none has the attention that is asked for.
    """
    encoders = [
        (loaded or {}).get(choice.name)
        or load_encoder(
            choice.name,
            device=request.options.run.device,
            precision=choice.precision or request.options.run.precision,
            **choice.overrides,
        )
        for choice in request.encoders
    ]
    run = request.options.run
    encoders = [encoder.at_block(run.token_block, norm=run.token_norm) for encoder in encoders]
    anchors = min((image.anchors for image in request.images), key=len)
    depth, heads = attention_size(encoder.spec.architecture for encoder in encoders)
    options = request.options.run.maps.attention
    check_attention(options, depth=depth, heads=heads, anchors=anchors, elsewhere=False)
    entrants = [Entrant(_method(encoder), encoder) for encoder in encoders]
    _check_names(entrants)
    return (*entrants, *_control_lanes(encoders, request))


def _method(encoder: Encoder) -> ComparedMethod:
    return ComparedMethod(encoder.spec.name, METHODS[encoder.spec.method].title)


def _control_lanes(encoders: list[Encoder], request: ComparisonRequest) -> list[Entrant]:
    shared: dict[str, list[str]] = {}
    first: dict[str, tuple[Control, Encoder]] = {}
    for encoder in encoders:
        for control in controls_of(encoder):
            if control.kind in request.controls:
                shared.setdefault(control.name, []).append(encoder.spec.name)
                first.setdefault(control.name, (control, encoder))
    own = {encoder.spec.name for encoder in encoders}
    names = sorted((name for name in shared if name not in own), key=lambda name: _rank(first[name][0]))
    return [_control_lane(*first[name], tuple(shared[name])) for name in names]


def _rank(control: Control) -> int:
    return CONTROL_KINDS.index(control.kind)


def _control_lane(control: Control, encoder: Encoder, of: tuple[str, ...]) -> Entrant:
    method = ComparedMethod(control.name, control.kind, control.kind, of)
    if control.kind == "untrained":
        return Entrant(method, untrained_twin(encoder), control)
    return Entrant(method, encoder if control.needs_encoder else None, control)


def _check_names(entrants: list[Entrant]) -> None:
    names = [entrant.method.name for entrant in entrants]
    if len(set(names)) < len(names):
        raise InvalidOptionError(
            f"Expected encoders of different names, as scores are listed under them; got {', '.join(names)}."
        )
