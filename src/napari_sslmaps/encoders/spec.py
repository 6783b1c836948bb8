"""What can be said of an encoder without loading torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args

from napari_sslmaps.encoders.hashes import footprint
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

Method = Literal["mae", "ijepa", "dino", "dinov2", "dinov3", "dira"]
Block = Literal["basic", "bottleneck"]
Gate = Literal["silu", "gelu"]
Domain = Literal["histology", "ultrasound", ""]
Origin = Literal["embedded", "control", "published", "file"]
METHODS: tuple[str, ...] = get_args(Method)
DOMAINS: tuple[Domain, ...] = ("histology", "ultrasound")


@dataclass(frozen=True, slots=True)
class InputConstraint:
    """What an encoder asks of its input.

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
        """The family, as files name it: ``vit`` or ``unet``."""

    @property
    def constraint(self) -> InputConstraint:
        """What the network asks of its input."""

    @property
    def summary(self) -> str:
        """A short text for people."""

    @property
    def token_width(self) -> int:
        """Channels of a token."""


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
        Of red, green and blue, of intensities in [0, 1]; equal to a preset's if no number differs by 0.0005.
    """
    given = (*mean, *std)
    for preset in NORMALISATIONS.values():
        pairs = zip(given, (*preset.mean, *preset.std), strict=True)
        if all(abs(value - known) < 5e-4 for value, known in pairs):
            return preset.name
    return "/".join(",".join(f"{value:.6g}" for value in part) for part in (mean, std))


@dataclass(frozen=True, slots=True)
class ViTArchitecture:
    """Shape of a vision transformer.

    Parameters
    ----------
    patch, dim, depth, heads
        Patch side in pixels, token width, number of blocks, heads per block.
    grid
        Rows and columns of tokens of the position embedding as stored.
    mlp_hidden
        Hidden width of each block's MLP (of one branch, for SwiGLU).
    class_token, registers
        Prefix tokens, in this order.
    rope
        Rotary positions as DINOv3 has them, instead of an added position embedding.
    layer_scale, qkv_bias, swiglu
        Whether blocks have these.
    gate
        Activation of a gated MLP's gate: ``silu``, SwiGLU's own, or ``gelu``.
    eps
        LayerNorm epsilon; weight files do not tell it.
    final_norm
        Whether tokens pass a norm after the last block; a fine-tuned MAE norms its pooled token alone.
    antialias, position_offset
        How added positions are resampled, bicubically, for another grid than the stored one: with low-pass
        filter or without (the kernels differ too: Keys' a = -0.5 with it, -0.75 without), and by how many
        tokens the scale is longer than the wanted grid. Methods' own codes differ:

        - this package's own encoders and timm: filter, 0;
        - MAE and I-JEPA, and transformers' versions of these, of ViT and of DINOv2: none, 0;
        - DINO (vision_transformer.py) and DINOv2 without registers (its hub): none, 0.1;
        - DINOv2 with registers: filter, 0.

        Rotary positions (DINOv3) are computed for every grid.
    """

    patch: int
    dim: int
    depth: int
    heads: int
    grid: tuple[int, int]
    mlp_hidden: int
    class_token: bool
    registers: int = 0
    rope: bool = False
    layer_scale: bool = False
    qkv_bias: bool = True
    swiglu: bool = False
    eps: float = 1e-6
    final_norm: bool = True
    antialias: bool = True
    position_offset: float = 0.0
    gate: Gate = "silu"

    @property
    def kind(self) -> str:
        """``vit``."""
        return "vit"

    @property
    def constraint(self) -> InputConstraint:
        """What the transformer asks of its input."""
        return InputConstraint(self.patch, self.patch)

    @property
    def summary(self) -> str:
        """A short text such as ``ViT d128 × 4, 4 heads, patch 8``."""
        return f"ViT d{self.dim} × {self.depth}, {self.heads} heads, patch {self.patch}"

    @property
    def token_width(self) -> int:
        """Channels of a token."""
        return self.dim


UNET_STRIDES: Mapping[str, int] = {
    "encoder.stem": 2,
    "encoder.layer1": 4,
    "encoder.layer2": 8,
    "encoder.layer3": 16,
    "encoder.layer4": 32,
    "decoder.blocks.0": 16,
    "decoder.blocks.1": 8,
    "decoder.blocks.2": 4,
    "decoder.blocks.3": 2,
}
"""Token stride, in pixels, of each stage whose features can serve as tokens."""


DEFAULT_STAGE = "encoder.layer3"


@dataclass(frozen=True, slots=True)
class UNetArchitecture:
    """Shape of a U-Net with a ResNet encoder, in segmentation-models-pytorch's layout.

    Parameters
    ----------
    block
        Residual block of the encoder.
    layers, stage_channels
        Blocks and planes of the four encoder stages (before bottleneck expansion).
    decoder_channels
        Output channels of the five decoder blocks, deepest first; empty for an encoder alone.
    token_stage
        The stage whose features are the tokens; a key of `UNET_STRIDES`.
    classes
        Output channels of the head.
    """

    block: Block
    layers: tuple[int, ...]
    stage_channels: tuple[int, ...]
    decoder_channels: tuple[int, ...]
    token_stage: str = DEFAULT_STAGE
    classes: int = 1

    def __post_init__(self) -> None:
        if self.token_stage not in UNET_STRIDES:
            stages = ", ".join(UNET_STRIDES)
            raise InvalidOptionError(f"Expected a token stage among {stages}; got {self.token_stage!r}.")
        if not self.decoder_channels and self.token_stage.startswith("decoder."):
            raise InvalidOptionError(
                f"Expected a token stage of the encoder, as there is no decoder; got {self.token_stage!r}."
            )

    @property
    def kind(self) -> str:
        """``unet``."""
        return "unet"

    @property
    def constraint(self) -> InputConstraint:
        """What the U-Net asks of its input: sides a multiple of 32."""
        return InputConstraint(UNET_STRIDES[self.token_stage], 32)

    @property
    def summary(self) -> str:
        """A short text such as ``U-Net, ResNet 2-2-2-2, tokens of encoder.layer2``."""
        depths = "-".join(map(str, self.layers))
        return f"U-Net, ResNet {depths} ({self.block}), tokens of {self.token_stage}"

    @property
    def token_width(self) -> int:
        """Channels of a token: those of the stage whose features the tokens are."""
        part, _, name = self.token_stage.partition(".")
        if part == "decoder":
            return self.decoder_channels[int(name[-1])]
        if name == "stem":
            return self.stage_channels[0]
        expansion = 4 if self.block == "bottleneck" else 1
        return self.stage_channels[int(name[-1]) - 1] * expansion


_KINDS: Mapping[str, Callable[..., Architecture]] = {
    "vit": ViTArchitecture,
    "unet": UNetArchitecture,
}


def architecture_to_dict(architecture: Architecture) -> dict[str, Any]:
    """Return a JSON-ready description; `architecture_from_dict` reads it back."""
    return {"kind": architecture.kind, **asdict(architecture)}


def architecture_from_dict(description: Mapping[str, Any]) -> Architecture:
    """Rebuild an architecture from `architecture_to_dict`'s description.

    Raises
    ------
    CheckpointError
        If the description names an unknown kind or has missing or unknown fields.
    """
    values = dict(description)
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise CheckpointError(
            f"Expected an architecture of kind {' or '.join(_KINDS)}; the file says {kind!r}."
        )
    build = _KINDS[kind]
    unknown = set(values) - set(signature(build).parameters)
    if unknown:
        raise CheckpointError(
            f"The architecture in the file has fields this version does not know: "
            f"{', '.join(sorted(unknown))}. Update napari-sslmaps to read it."
        )
    plain = {key: tuple(val) if isinstance(val, list) else val for key, val in values.items()}
    try:
        return build(**plain)
    except TypeError as error:
        raise CheckpointError(f"The architecture in the file is incomplete: {error}.") from error


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """An encoder as it is listed: a method's network with weights and preprocessing.

    Parameters
    ----------
    name
        Unique name, for example ``dinov3-histology``; for a user's file, what it was added as, or its
        own name without suffixes.
    method
        Pretext method: mae, ijepa, dino, dinov2, dinov3 or dira.
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
        What its user knows better than the file, as keywords of `load_encoder`.
    trouble
        Why it cannot be loaded as it is, as a sentence: its file has moved or changed, or is not downloaded
        yet; empty if it can.
    """

    name: str
    method: Method
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

    @property
    def constraint(self) -> InputConstraint:
        """What the encoder asks of its input."""
        return self.architecture.constraint

    @property
    def megabytes(self) -> float:
        """Size of the weight file or folder in MB (10⁶ bytes); 0 where there is none."""
        if self.path is None or not self.path.exists():
            return 0.0
        return footprint(self.path)[0] / 1e6
