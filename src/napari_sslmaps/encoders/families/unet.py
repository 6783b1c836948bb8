"""U-Nets with a ResNet encoder: their architecture and family, known without torch; their recognition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from napari_sslmaps.encoders.families.family import Case, Convolutional, Family, prefixes_of
from napari_sslmaps.encoders.recognition import channels_of, check_stated, count_of, shape_of
from napari_sslmaps.encoders.spec import Architecture, InputConstraint, RelativeRule, RopeCoords, place_of
from napari_sslmaps.errors import CheckpointError, InvalidOptionError
from napari_sslmaps.serialise import strict

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sslmaps.encoders.methods.method import Method

DEFAULT_STAGE = "encoder.layer3"
Block = Literal["basic", "bottleneck"]


@strict
@dataclass(frozen=True, slots=True)
class UNetArchitecture(Convolutional):
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
    channels
        Channels of its input: 3, or 1 where it learned from grey images as such.
    """

    block: Block
    layers: tuple[int, ...]
    stage_channels: tuple[int, ...]
    decoder_channels: tuple[int, ...]
    token_stage: str = DEFAULT_STAGE
    classes: int = 1
    channels: int = 3

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
        """Constraint on its input: sides a multiple of 32."""
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

    @property
    def token_places(self) -> tuple[str, ...]:
        """Its stages: those of the encoder, then those of the decoder, if it has one."""
        return tuple(name for name in UNET_STRIDES if self.decoder_channels or name.startswith("encoder."))

    @property
    def token_place(self) -> int:
        """The stage, from 0, whose features the tokens are."""
        return self.token_places.index(self.token_stage)

    @property
    def token_norm(self) -> bool:
        """True: there is no final norm to leave out."""
        return True

    def at_block(self, block: int | str, *, norm: bool = True) -> Self:
        """Return it with tokens of a stage; there is no final norm."""
        del norm
        places = self.token_places
        return replace(self, token_stage=places[place_of(block, places, f"a U-Net of {len(places)} stages")])

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
        """Return it with another token stage; nothing else means anything here."""
        del num_heads, eps, antialias, offset, rope_coords, relative_rule
        return replace(self, token_stage=token_stage or self.token_stage)


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


def unet_shape(state: Mapping[str, Tensor], token_stage: str | None) -> UNetArchitecture:
    """Read the shape of a U-Net, or of its encoder alone, off its tensors.

    Raises
    ------
    CheckpointError
        If a tensor that tells it is missing, or the input has neither three channels nor one.
    """
    channels = channels_of(state, "encoder.conv1.weight", "a U-Net")
    stages = range(1, 5)
    if _is_wider(state):
        raise CheckpointError(
            "Expected a ResNet; this one is a ResNeXt or a wide ResNet, whose blocks have other widths. It "
            "cannot be loaded."
        )
    decoder = range(count_of(state, "decoder.blocks."))
    options: dict[str, Any] = {"token_stage": token_stage} if token_stage else {}
    if decoder:
        options["classes"] = shape_of(state, "segmentation_head.0.weight")[0]
    return UNetArchitecture(
        block="bottleneck" if "encoder.layer1.0.conv3.weight" in state else "basic",
        layers=tuple(count_of(state, f"encoder.layer{stage}.") for stage in stages),
        stage_channels=tuple(shape_of(state, f"encoder.layer{stage}.0.conv1.weight")[0] for stage in stages),
        decoder_channels=tuple(
            shape_of(state, f"decoder.blocks.{index}.conv1.0.weight")[0] for index in decoder
        ),
        channels=channels,
        **options,
    )


def _is_wider(state: Mapping[str, Tensor]) -> bool:
    """Whether blocks have groups or more channels inside than a ResNet's."""
    inner = state.get("encoder.layer1.0.conv2.weight")
    last = state.get("encoder.layer1.0.conv3.weight")
    if inner is None or last is None:
        return False
    return inner.shape[1] != inner.shape[0] or last.shape[0] != 4 * inner.shape[0]


def recognise_unet(case: Case, method: Method, written: Architecture | None) -> Architecture:
    """Return the architecture of a U-Net or ResNet: as written in its file, else from shapes."""
    del method
    stage = case.overrides.token_stage
    if written is not None:
        described = written.corrected(token_stage=stage)
        _check_written(described, case)
        case.note("architecture", described.summary, "written in the file")
        return described
    architecture = unet_shape(case.translated.state, stage)
    case.note("architecture", architecture.summary, "shapes of the tensors")
    return architecture


def _check_written(written: Any, case: Case) -> None:
    """Compare what a file says of itself with its tensors, before anything is built as large as it says."""
    seen = unet_shape(case.translated.state, written.token_stage)
    stated = ("block", "layers", "stage_channels", "decoder_channels", "classes", "channels")
    check_stated({name: (getattr(written, name), getattr(seen, name)) for name in stated}, case.name)


_BESIDE_ITS_ENCODER = ("decoder.", "segmentation_head.", "projection.", "discriminator.")


def _prefixes(names: Iterable[str]) -> set[str]:
    """Look for the stem and first stage of a ResNet; that of a U-Net stands under ``encoder.``, its own."""
    known = set(names)
    return {
        _of_unet(prefix, known)
        for prefix in prefixes_of(known, "conv1.weight")
        if f"{prefix}layer1.0.conv1.weight" in known
    }


def _of_unet(prefix: str, known: set[str]) -> str:
    """Return what stands before a U-Net whose encoder has this prefix, or the prefix of a ResNet alone."""
    outer = prefix.removesuffix("encoder.")
    if outer and not outer.endswith("."):  # base_encoder. and the like
        return prefix
    parts = tuple(f"{outer}{part}" for part in _BESIDE_ITS_ENCODER)
    return outer if any(name.startswith(parts) for name in known) else prefix


UNET = Family(
    kind="unet",
    title="a U-Net or ResNet encoder",
    architecture=UNetArchitecture,
    mark="encoder.conv1.weight",
    prefixes=_prefixes,
    corrections=("token_stage",),
    stages=UNET_STRIDES,
    later=("channels",),
    network="napari_sslmaps.encoders.families.unet_network:NETWORK",
    recognition="napari_sslmaps.encoders.families.unet:recognise_unet",
)
