"""Facts about an encoder that need no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, get_args

from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.core.whole import whole_number
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.files import footprint

Domain = Literal["histology", "ultrasound", ""]
Origin = Literal["embedded", "control", "published", "file"]
DOMAINS: tuple[Domain, ...] = ("histology", "ultrasound")


Block = int | str
"""A block or stage: its number, from 0 or from the end, or the name of a stage."""
RopeCoords = Literal["separate", "max", "min"]
ROPE_COORDS: tuple[str, ...] = get_args(RopeCoords)
"""Sides of a grid by which rotary coordinates are divided."""
RelativeRule = Literal["geometric-cubic", "geometric-linear", "bilinear"]
RELATIVE_RULES: tuple[str, ...] = get_args(RelativeRule)
"""Rules by which tables of relative positions are resized."""


@dataclass(frozen=True, slots=True)
class InputConstraint:
    """Constraint of an encoder on its input.

    Parameters
    ----------
    token_stride
        Input pixels per token along each axis.
    size_multiple
        Height and width, in pixels, must be multiples of this.
    """

    token_stride: int
    size_multiple: int


class Architecture(Protocol):
    """Shape of a network, a frozen dataclass of plain values; what else there is, its family knows."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def kind(self) -> str:
        """The family, as files name it: a key of `FAMILIES`."""

    @property
    def constraint(self) -> InputConstraint:
        """Constraint on its input."""

    @property
    def summary(self) -> str:
        """A short text for people."""

    @property
    def channels(self) -> int:
        """Channels of its input: 3, or 1 where it takes grey images as such."""

    @property
    def token_width(self) -> int:
        """Channels of a token."""

    @property
    def token_stage(self) -> str:
        """The stage whose features are the tokens; empty where a user has no choice."""

    @property
    def token_places(self) -> tuple[str, ...]:
        """Blocks or stages whose features can be tokens, in the order in which they are computed."""

    @property
    def token_place(self) -> int:
        """Index, from 0, of the one that the tokens are of."""

    @property
    def token_norm(self) -> bool:
        """Whether tokens pass the final norm, where there is one."""

    @property
    def attention_blocks(self) -> int:
        """Number of blocks whose attention can be read; 0 without attention."""

    @property
    def attention_heads(self) -> int:
        """Heads of such a block; 0 without attention."""

    @property
    def square_tiles(self) -> bool:
        """Whether a tile's positions depend on its shape, so that all tiles should be squares."""

    @property
    def stored_side(self) -> int:
        """Side in pixels of the input that stored positions are of; 0 if there are none."""

    def work(self, rows: int, cols: int) -> float:
        """Count what a tile of rows × cols tokens asks of the network, in units of this family's own."""

    def at_block(self, block: Block, *, norm: bool = True) -> Self:
        """Return it with tokens of a block or stage, which `place_of` finds, with the final norm or without.

        Raises
        ------
        InvalidOptionError
            If there is no such block.
        """

    def corrected(
        self,
        *,
        num_heads: int | None = None,
        eps: float | None = None,
        token_stage: str | None = None,
        antialias: bool | None = None,
        offset: float | None = None,
        rope_coords: RopeCoords | None = None,
        relative_rule: RelativeRule | None = None,
    ) -> Self:
        """Return the architecture with what is given and means something to it, instead of its own.

        Raises
        ------
        InvalidOptionError
            If a value does not fit.
        """


def place_of(block: Block, places: Sequence[str], what: str) -> int:
    """Return which of an encoder's blocks or stages is meant, from 0.

    Parameters
    ----------
    block
        Index from 0, the first, or from −1, the last; or the name of a stage.
    places
        Names of those that the encoder has, from the first.
    what
        Name of the network in a sentence: ``a transformer of 12 blocks``.

    Raises
    ------
    InvalidOptionError
        If there is no such block.
    """
    count = len(places)
    if isinstance(block, str):
        if block in places:
            return places.index(block)
    elif (number := whole_number(block)) is not None and -count <= number < count:
        return number % count
    named = "" if places == block_names(count) else f", or its name ({', '.join(places)})"
    raise InvalidOptionError(
        f"Expected a block of {what}: from 0, the first, to {count - 1}, or from -1, the last, to "
        f"-{count}{named}; got {block!r}."
    )


def block_names(count: int) -> tuple[str, ...]:
    """Return the names of a transformer's blocks."""
    return tuple(f"block {number}" for number in range(count))


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Channel statistics subtracted and divided after scaling intensities to [0, 1]."""

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


NORMALISATIONS: Mapping[str, Normalisation] = {
    preset.name: preset
    for preset in (
        Normalisation("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        Normalisation("unit", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        Normalisation("satellite", (0.430, 0.411, 0.296), (0.213, 0.156, 0.143)),
        # of the simulated fields; a preset that fits the images leaves tokens little constant part
        Normalisation("histology", (0.76, 0.55, 0.79), (0.19, 0.26, 0.15)),
        Normalisation("ultrasound", (0.28, 0.28, 0.28), (0.17, 0.17, 0.17)),
        Normalisation("chest-xray", (0.5056, 0.5056, 0.5056), (0.252, 0.252, 0.252)),
    )
}


def get_normalisation(name: str) -> Normalisation:
    """Return the preset called `name`, or the statistics that it spells out.

    Parameters
    ----------
    name
        A key of `NORMALISATIONS`, or means and deviations of red, green and blue in [0, 1], as
        `spell_normalisation` writes them: ``0.5,0.5,0.5/0.25,0.25,0.25``.

    Raises
    ------
    InvalidOptionError
        If it is neither; the sentence names the presets.
    """
    if name in NORMALISATIONS:
        return NORMALISATIONS[name]
    known = f"a normalisation among {', '.join(NORMALISATIONS)}"
    if "/" not in name:
        raise InvalidOptionError(
            f"Expected {known}, or means and deviations such as 0.5,0.5,0.5/0.25,0.25,0.25; got {name!r}."
        )
    try:
        mean, std = (_three_numbers(part) for part in name.split("/"))
    except ValueError as error:
        raise InvalidOptionError(
            f"Expected {known}, or three means and three deviations such as 0.5,0.5,0.5/0.25,0.25,0.25; "
            f"got {name!r}."
        ) from error
    if not all(0 <= value <= 1 for value in mean) or not all(0 < value <= 1 for value in std):
        raise InvalidOptionError(
            "Expected means in [0, 1] and deviations above 0 and up to 1, for intensities in [0, 1]; "
            f"got {name!r}. Divide statistics of 8-bit values by 255."
        )
    return Normalisation(spell_normalisation(mean, std), mean, std)


def _three_numbers(text: str) -> tuple[float, float, float]:
    red, green, blue = (float(part) for part in text.split(","))
    return red, green, blue


def spell_normalisation(mean: Sequence[float], std: Sequence[float]) -> str:
    """Return the name of the preset with these statistics, or their text, which `get_normalisation` reads.

    Parameters
    ----------
    mean, std
        Mean and standard deviation of red, green and blue, of intensities in [0, 1]; equal to a preset's if
        no number differs by 0.0005.
    """
    given = (*mean, *std)
    for preset in NORMALISATIONS.values():
        pairs = zip(given, (*preset.mean, *preset.std), strict=True)
        if all(abs(value - known) < 5e-4 for value, known in pairs):
            return preset.name
    return "/".join(",".join(f"{value:.6g}" for value in part) for part in (mean, std))


def check_eps(eps: float) -> None:
    """Raise `InvalidOptionError` unless an epsilon of LayerNorm is between 0 and 1."""
    if not 0 < eps < 1:
        raise InvalidOptionError(f"Expected a LayerNorm epsilon between 0 and 1; got {eps!r}.")


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """An encoder as it is listed: a method's network with weights and preprocessing.

    Parameters
    ----------
    name
        Unique name, for example ``dinov3-histology``; for a user's file, what it was added as, or its
        own name without suffixes.
    method
        Pretext method: a key of `METHODS`.
    architecture
        Shape of the network.
    normalisation
        Name of a preset of `NORMALISATIONS`, or a text that `get_normalisation` reads.
    path
        The weight file; None for a control, whose weights are drawn.
    sha256
        Hash, as hexadecimal, of the weight file, or of a control's drawn weights; empty while it has not been
        computed.
    licence
        Licence of the weights, as a short text.
    origin
        ``embedded`` in this package, an untrained ``control``, ``published`` by a method's authors, or the
        user's ``file``.
    domain
        Kind of images it was trained on; empty for controls and where it is not known.
    alias_of
        The name that this one stands for; empty if it is no alias.
    overrides
        Corrections by its user, as keywords of `load_encoder`.
    trouble
        Reason why it cannot be loaded as it is, as a sentence: its file has moved or changed, or is not
        downloaded yet; empty if it can.
    trained
        The resolution that it learned at; None where there is none or it is not known.
    scale
        The neighbourhood that its tokens are usually compared over; None for single patches.
    """

    name: str
    method: str
    architecture: Architecture
    normalisation: str
    path: Path | None
    sha256: str
    licence: str
    origin: Origin
    domain: Domain = ""
    alias_of: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""
    trained: Resolution | None = None
    scale: TokenScale | None = None

    @property
    def constraint(self) -> InputConstraint:
        """Constraint on its input."""
        return self.architecture.constraint

    def at_block(self, block: Block | None, *, norm: bool = True) -> Self:
        """Return it with tokens of another block or stage, as `Encoder.at_block`; itself if none is asked.

        Raises
        ------
        InvalidOptionError
            If there is no such block.
        """
        if block is None and norm:
            return self
        own = self.architecture.token_place
        return replace(
            self, architecture=self.architecture.at_block(own if block is None else block, norm=norm)
        )

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and deviations of its input's channels; of grey input, the means of those of three."""
        preset = get_normalisation(self.normalisation)
        if self.architecture.channels == len(preset.mean):
            return preset.mean, preset.std
        return (_grey(preset.mean),), (_grey(preset.std),)

    @property
    def megabytes(self) -> float:
        """Size of the weight file or folder in MB (10⁶ bytes); 0 where there is none."""
        if self.path is None or not self.path.exists():
            return 0.0
        return footprint(self.path)[0] / 1e6


def _grey(values: Sequence[float]) -> float:
    """Return the mean of three numbers, and the number itself where all are equal."""
    return values[0] if len(set(values)) == 1 else sum(values) / len(values)
