"""ConvNeXts: their architecture and family, known without torch; their recognition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from napari_sslmaps.encoders.families.family import Case, Convolutional, Family, prefixes_of
from napari_sslmaps.encoders.methods.dinov3 import (
    CONVNEXT_OFFICIAL,
    CONVNEXT_OURS,
    CONVNEXT_ROOT,
    CONVNEXT_TRANSFORMERS,
)
from napari_sslmaps.encoders.recognition import Fact, channels_of, check_stated, count_of, shape_of
from napari_sslmaps.encoders.spec import (
    Architecture,
    Block,
    InputConstraint,
    RelativeRule,
    RopeCoords,
    check_eps,
    place_of,
)
from napari_sslmaps.errors import CheckpointError, InvalidOptionError
from napari_sslmaps.serialise import strict

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sslmaps.encoders.methods.method import Method

CONVNEXT_STRIDES: Mapping[str, int] = {"stages.0": 4, "stages.1": 8, "stages.2": 16, "stages.3": 32}
"""Token stride, in pixels, of each stage whose features can serve as tokens."""
DEFAULT_STAGE = "stages.3"


@strict
@dataclass(frozen=True, slots=True)
class ConvNeXtArchitecture(Convolutional):
    """Shape of a ConvNeXt (arXiv 2201.03545) of four stages.

    Parameters
    ----------
    depths, widths
        Blocks and channels of the stages.
    eps
        Epsilon of every LayerNorm.
    token_stage
        The stage whose features are the tokens; a key of `CONVNEXT_STRIDES`. Those of the last one go through
        the final norm.
    token_norm
        Whether tokens of the last stage go through the final norm.
    channels
        Channels of its input: 3, or 1 where it learned from grey images as such.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    eps: float = 1e-6
    token_stage: str = DEFAULT_STAGE
    token_norm: bool = True
    channels: int = 3

    def __post_init__(self) -> None:
        if self.token_stage not in CONVNEXT_STRIDES:
            stages = ", ".join(CONVNEXT_STRIDES)
            raise InvalidOptionError(f"Expected a token stage among {stages}; got {self.token_stage!r}.")
        check_eps(self.eps)

    @property
    def kind(self) -> str:
        """``convnext``."""
        return "convnext"

    @property
    def constraint(self) -> InputConstraint:
        """Constraint on its input: sides a multiple of 32."""
        return InputConstraint(CONVNEXT_STRIDES[self.token_stage], 32)

    @property
    def summary(self) -> str:
        """A short text such as ``ConvNeXt 3-3-9-3, width 768, tokens of stages.3``."""
        bare = "" if self.token_norm else ", without the final norm"
        return (
            f"ConvNeXt {'-'.join(map(str, self.depths))}, width {self.widths[-1]}, tokens of "
            f"{self.token_stage}{bare}"
        )

    @property
    def token_width(self) -> int:
        """Channels of a token: those of the stage whose features the tokens are."""
        return self.widths[list(CONVNEXT_STRIDES).index(self.token_stage)]

    @property
    def token_places(self) -> tuple[str, ...]:
        """Stages whose features can be tokens, in order."""
        return tuple(CONVNEXT_STRIDES)

    @property
    def token_place(self) -> int:
        """The stage, from 0, whose features the tokens are."""
        return self.token_places.index(self.token_stage)

    def at_block(self, block: Block, *, norm: bool = True) -> Self:
        """Return it with tokens of a stage; the last one has the final norm, or has it not."""
        places = self.token_places
        stage = places[place_of(block, places, f"a ConvNeXt of {len(places)} stages")]
        return replace(self, token_stage=stage, token_norm=norm or stage != DEFAULT_STAGE)

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
        """Return it with another token stage or epsilon; nothing else means anything here."""
        del num_heads, antialias, offset, rope_coords, relative_rule
        return replace(self, eps=eps or self.eps, token_stage=token_stage or self.token_stage)


MARK = f"{CONVNEXT_ROOT}{CONVNEXT_OURS}"


def convnext_shape(state: Mapping[str, Tensor]) -> ConvNeXtArchitecture:
    """Read the shape of a ConvNeXt off its tensors, under our names.

    Raises
    ------
    CheckpointError
        If a tensor that tells it is missing, or it is none of four stages with three input channels or one.
    """
    channels = channels_of(state, f"{CONVNEXT_ROOT}stem.0.weight", "a ConvNeXt")
    count = count_of(state, f"{CONVNEXT_ROOT}stages.")
    if count != len(CONVNEXT_STRIDES):
        raise CheckpointError(f"Expected a ConvNeXt of {len(CONVNEXT_STRIDES)} stages; this one has {count}.")
    stages = range(count)
    return ConvNeXtArchitecture(
        depths=tuple(count_of(state, f"{CONVNEXT_ROOT}stages.{stage}.blocks.") for stage in stages),
        widths=tuple(
            shape_of(state, f"{CONVNEXT_ROOT}stages.{stage}.blocks.0.conv_dw.weight")[0] for stage in stages
        ),
        channels=channels,
    )


def recognise_convnext(case: Case, method: Method, written: Architecture | None) -> Architecture:
    """Return the architecture of a ConvNeXt: as written in its file, else from shapes.

    Raises
    ------
    CheckpointError
        If nothing says that it is DINOv3's: those trained with labels look alike.
    """
    del method
    facts, given = case.translated.facts, case.overrides
    seen = convnext_shape(case.translated.state)
    if written is not None:
        stated = ("depths", "widths", "channels")
        check_stated({name: (getattr(written, name), getattr(seen, name)) for name in stated}, case.name)
        case.note("architecture", written.summary, "written in the file")
        return written.corrected(eps=given.eps, token_stage=given.token_stage)
    if given.method is None and "method" not in facts and "method" not in case.file.header:
        raise CheckpointError(
            f"{case.name} is a ConvNeXt with nothing that tells its method: it can be DINOv3 or one trained "
            'with labels. If it is DINOv3, say load_encoder(path, method="dinov3").'
        )
    fact = facts.get("eps", Fact(seen.eps, "what the official code has; the file does not tell"))
    found = seen.corrected(eps=given.eps or fact.value, token_stage=given.token_stage)
    case.note("architecture", found.summary, "shapes of the tensors")
    case.note("eps", found.eps, fact.how if given.eps is None else "given")
    return found


def _prefixes(names: Iterable[str]) -> set[str]:
    """Look for the first block; transformers has the final norm outside of what holds the stages."""
    known = set(names)
    inner = {prefix.removesuffix(CONVNEXT_ROOT) for prefix in prefixes_of(known, CONVNEXT_OURS)}
    theirs = {
        outer if f"{(outer := prefix.removesuffix('model.'))}layer_norm.weight" in known else prefix
        for prefix in prefixes_of(known, CONVNEXT_TRANSFORMERS)
    }
    return inner | theirs | prefixes_of(known, CONVNEXT_OFFICIAL)


CONVNEXT = Family(
    kind="convnext",
    title="a ConvNeXt",
    architecture=ConvNeXtArchitecture,
    mark=MARK,
    prefixes=_prefixes,
    corrections=("eps", "token_stage"),
    stages=CONVNEXT_STRIDES,
    network="napari_sslmaps.encoders.families.convnext_network:NETWORK",
    recognition="napari_sslmaps.encoders.families.convnext:recognise_convnext",
    later=("token_norm", "channels"),
)
