"""The methods of a comparison: encoders, then their controls, each with how its tokens are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Self, cast

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
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.encoders.untrained import untrained_twin
from napari_sslmaps.errors import InvalidOptionError, WeightsUnavailableError
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.inputs.images import mask_in
from napari_sslmaps.maps.attention import check_attention
from napari_sslmaps.pipeline.controls import embed_control
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.free_memory import free_memory
from napari_sslmaps.pipeline.masks import MaskLike
from napari_sslmaps.pipeline.planning import at_working_resolution, check_stride
from napari_sslmaps.pipeline.progress import OnProgress
from napari_sslmaps.records.run import RunOptions


class _EncodersInMemory:
    """Encoders in memory, as many as fit; the others are loaded anew when their turn comes.

    Images go round all encoders in turn, so room is made of the one whose turn was last.

    Parameters
    ----------
    most
        Largest sum of the bytes of their weights; one encoder is held even beyond it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, Encoder] = {}

    def take(self, name: str, load: Callable[[], Encoder]) -> Encoder:
        """Return the encoder of that name, loaded if it is not held."""
        encoder = self._held.pop(name, None)
        if encoder is None:
            while self._held and self.held_bytes > self._most:
                self._held.popitem()
            encoder = load()
            while self._held and self.held_bytes + _weight_bytes(encoder) > self._most:
                self._held.popitem()
        self._held[name] = encoder
        return encoder

    @property
    def held_bytes(self) -> int:
        """Bytes of the weights that are held now."""
        return sum(map(_weight_bytes, self._held.values()))


def _weight_bytes(encoder: Encoder) -> int:
    return sum(part.nbytes for part in encoder.extractor.network.state_dict().values())


@dataclass(frozen=True, slots=True)
class LoadableEncoder:
    """An encoder by what it says of itself, whose weights are in memory only when it runs.

    Parameters
    ----------
    spec
        Entry of the encoder in the list.
    device, precision, token_block
        Facts of the encoder as it was loaded first; see `Encoder`.
    load
        Function that returns the encoder, from memory or from its file.
    """

    spec: EncoderSpec
    device: str
    precision: str
    token_block: str
    load: Callable[[], Encoder]

    @classmethod
    def held_by(cls, memory: _EncodersInMemory, name: str, load: Callable[[], Encoder]) -> Self:
        """Load an encoder for the first time, so that what it says is known."""
        first = memory.take(name, load)
        own = cls(first.spec, first.device, first.precision, first.token_block, load)
        return replace(own, load=lambda: own.unchanged(memory.take(name, load)))

    def unchanged(self, encoder: Encoder) -> Encoder:
        """Return an encoder that was loaded again.

        Raises
        ------
        WeightsUnavailableError
            If its weights are no longer those of the first time.
        """
        if encoder.spec.sha256 != self.spec.sha256:
            raise WeightsUnavailableError(
                f"Expected the weights of {self.spec.name} to stay as they are while they are compared; the "
                "file has changed. Start again."
            )
        return encoder


@dataclass(frozen=True, slots=True, eq=False)
class Entrant:
    """A method, and what makes its tokens.

    Parameters
    ----------
    method
        Name of the method, and facts about it.
    loadable
        The network that runs; None where none does.
    control
        Control of an encoder; None for the encoder itself.
    """

    method: ComparedMethod
    loadable: LoadableEncoder | None
    control: Control | None = None

    @property
    def spec(self) -> EncoderSpec | None:
        """The entry of its encoder in the list; None where no network runs."""
        return None if self.loadable is None else self.loadable.spec

    @property
    def encoder(self) -> Encoder | None:
        """The encoder, loaded; None where no network runs."""
        return None if self.loadable is None else self.loadable.load()

    @property
    def has_network(self) -> bool:
        """Whether its tokens are a network's of the image, so that it can be asked for attention."""
        return self.control is None or self.control.kind == "untrained"

    @property
    def trained(self) -> Resolution | None:
        """The resolution that its encoder learned at; None where there is none or it is not known."""
        if self.control is not None:
            return self.control.trained
        return None if self.spec is None else self.spec.trained

    @property
    def places(self) -> tuple[str, ...]:
        """Names of its network's blocks or stages, as they are computed; none without a network."""
        return self.spec.architecture.token_places if self.spec and self.has_network else ()

    def embed_places(self, image: OpenedImage, options: RunOptions) -> tuple[Embedding, ...]:
        """Compute the tokens of every block or stage."""
        return embed(
            image.source,
            cast("Encoder", self.encoder),
            region=image.region,
            tiling=Tiling(options.tile, options.overlap, cast("Stitching", options.stitching)),
            mask=_mask_of(image, options),
            resolution=options.resolution,
            stride=options.stride,
            block=self.places,
            norm=options.token_norm,
        )

    def grid(self, image: OpenedImage, options: RunOptions) -> TokenGrid:
        """Return where the tokens of an encoder will lie on an image's region."""
        spec = cast("EncoderSpec", self.spec)
        source, area = at_working_resolution(image.source, image.region, options.resolution, self.trained)
        stride, patch = check_stride(options.stride, spec), spec.constraint.token_stride
        return TokenGrid.covering(area, stride, source.levels[area.level].downsample_yx, patch=patch)

    def embed(self, image: OpenedImage, options: RunOptions, on_progress: OnProgress | None) -> Embedding:
        """Compute the method's tokens of an image's region."""
        tiling = Tiling(options.tile, options.overlap, cast("Stitching", options.stitching))
        mask = _mask_of(image, options)
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


def _mask_of(image: OpenedImage, options: RunOptions) -> MaskLike | None:
    """Return which tokens are embedded: what the image's own mask says, else what is to be found."""
    own = image.requested.mask
    if own is not None:
        return own if isinstance(own, PlacedMask) else mask_in(own)
    return cast("MaskLike", options.mask) if options.mask else None


def entrants_of(
    request: ComparisonRequest, loaded: Mapping[str, Encoder] | None = None, *, most: int | None = None
) -> tuple[Entrant, ...]:
    """Prepare the encoders of a comparison and their controls, each loaded once to see that it can be.

    Parameters
    ----------
    request
        Comparison to prepare them for.
    loaded
        Encoders that are loaded already, by the name in their choice.
    most
        Bytes of weights that may be in memory together; half of the free memory if omitted.

    Raises
    ------
    SSLMapsError
        If one cannot be loaded, two are called the same, or none has the attention that is asked for.
    """
    run = request.options.run
    memory = _EncodersInMemory(free_memory() // 2 if most is None else most)
    encoders = []
    for choice in request.encoders:
        load = partial(_load, choice, run, (loaded or {}).get(choice.name))
        encoders.append(LoadableEncoder.held_by(memory, choice.name, load))
    anchors = min((image.anchors for image in request.images), key=len)
    depth, heads = attention_size(encoder.spec.architecture for encoder in encoders)
    check_attention(run.maps.attention, depth=depth, heads=heads, anchors=anchors, elsewhere=False)
    entrants = [Entrant(_method(encoder.spec), encoder) for encoder in encoders]
    _check_names(entrants)
    return (*entrants, *_control_entrants(encoders, request, memory))


def _load(choice: EncoderChoice, run: RunOptions, here: Encoder | None) -> Encoder:
    precision = choice.precision or run.precision
    encoder = here or load_encoder(choice.name, device=run.device, precision=precision, **choice.overrides)
    return encoder.at_block(run.token_block, norm=run.token_norm)


def _method(spec: EncoderSpec) -> ComparedMethod:
    return ComparedMethod(spec.name, METHODS[spec.method].title)


def _control_entrants(
    encoders: list[LoadableEncoder], request: ComparisonRequest, memory: _EncodersInMemory
) -> list[Entrant]:
    shared: dict[str, list[str]] = {}
    first: dict[str, tuple[Control, LoadableEncoder]] = {}
    for encoder in encoders:
        for control in controls_of(encoder.spec):
            if control.kind in request.controls:
                shared.setdefault(control.name, []).append(encoder.spec.name)
                first.setdefault(control.name, (control, encoder))
    own = {encoder.spec.name for encoder in encoders}
    names = sorted((name for name in shared if name not in own), key=lambda name: _rank(first[name][0]))
    return [_control_entrant(*first[name], tuple(shared[name]), memory) for name in names]


def _rank(control: Control) -> int:
    return CONTROL_KINDS.index(control.kind)


def _control_entrant(
    control: Control, encoder: LoadableEncoder, of: tuple[str, ...], memory: _EncodersInMemory
) -> Entrant:
    method = ComparedMethod(control.name, control.kind, control.kind, of)
    if control.kind == "untrained":
        twin = LoadableEncoder.held_by(memory, control.name, lambda: untrained_twin(encoder.load()))
        return Entrant(method, twin, control)
    return Entrant(method, encoder if control.needs_encoder else None, control)


def _check_names(entrants: list[Entrant]) -> None:
    names = [entrant.method.name for entrant in entrants]
    if len(set(names)) < len(names):
        raise InvalidOptionError(
            "Expected encoders of different names, since scores are listed under them; got "
            f"{', '.join(names)}."
        )
