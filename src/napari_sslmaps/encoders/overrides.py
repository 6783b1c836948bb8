"""Corrections of a weight file by its user."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.spec import (
    RELATIVE_RULES,
    ROPE_COORDS,
    RelativeRule,
    RopeCoords,
    check_eps,
    get_normalisation,
)
from napari_sslmaps.errors import InvalidOptionError

Branch = Literal["target", "encoder"]
_OTHER_WORDS = {"teacher": "target", "student": "encoder"}
BRANCHES: tuple[str, ...] = get_args(Branch)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Corrections of a weight file by the user; None leaves a field to the file.

    Parameters
    ----------
    method
        A key of `METHODS`: mae, ijepa, dino, dinov2, dinov3 or dira.
    num_heads
        Heads per block; most weight files do not tell them.
    normalisation
        Name of a preset, or means and deviations as `get_normalisation` reads them.
    token_stage
        Stage of a U-Net whose features are the tokens.
    eps
        Epsilon of LayerNorm, in (0, 1).
    antialias, offset
        Resampling of added positions for another grid: with a low-pass filter or without, and by how many
        tokens the scale is longer; `antialias` and `position_offset` of `ViTArchitecture`.
    grid
        Rows and columns of the stored positions, where they are no square.
    rope_coords
        Division of DINOv3's rotary coordinates, ``normalize_coords`` of its training: ``separate``, the
        default, divides each by its own side of the grid, ``max`` both by the longer and ``min`` by the
        shorter one.
    relative_rule
        Rule by which a BEiT's tables of relative positions are resized for another grid: ``geometric-cubic``
        as its own code does it, ``geometric-linear`` as timm does, ``bilinear`` as transformers does.
    branch
        Network to take from a file with several: the ``target`` (I-JEPA's target encoder, a teacher), which
        is the default, or the ``encoder`` that was trained by gradients (I-JEPA's context encoder, a
        student); ``teacher`` and ``student`` are other words for these.

    Raises
    ------
    InvalidOptionError
        If a value is not among the permitted ones.
    """

    method: str | None = None
    num_heads: int | None = None
    normalisation: str | None = None
    token_stage: str | None = None
    eps: float | None = None
    branch: Branch | None = None
    antialias: bool | None = None
    offset: float | None = None
    grid: tuple[int, int] | None = None
    rope_coords: RopeCoords | None = None
    relative_rule: RelativeRule | None = None

    def __post_init__(self) -> None:
        if self.method is not None and self.method not in METHODS:
            raise InvalidOptionError(f"Expected a method among {', '.join(METHODS)}; got {self.method!r}.")
        object.__setattr__(self, "branch", _OTHER_WORDS.get(self.branch or "", self.branch))
        if self.branch is not None and self.branch not in BRANCHES:
            raise InvalidOptionError(f"Expected a branch among {', '.join(BRANCHES)}; got {self.branch!r}.")
        if self.num_heads is not None and self.num_heads < 1:
            raise InvalidOptionError(f"Expected at least one head; got {self.num_heads}.")
        if self.eps is not None:
            check_eps(self.eps)
        if self.offset is not None and not 0 <= self.offset < 1:
            raise InvalidOptionError(f"Expected an offset of 0 to 1 token; got {self.offset!r}.")
        if self.grid is not None and (len(self.grid) != 2 or min(self.grid) < 1):
            raise InvalidOptionError(f"Expected rows and columns of a grid of tokens; got {self.grid!r}.")
        if self.rope_coords not in (None, *ROPE_COORDS):
            raise InvalidOptionError(
                f"Expected rope_coords among {', '.join(ROPE_COORDS)}; got {self.rope_coords!r}."
            )
        if self.relative_rule not in (None, *RELATIVE_RULES):
            raise InvalidOptionError(
                f"Expected relative_rule among {', '.join(RELATIVE_RULES)}; got {self.relative_rule!r}."
            )
        if self.normalisation is not None:
            get_normalisation(self.normalisation)

    @property
    def keywords(self) -> dict[str, Any]:
        """Fields that are set, as keywords of `load_encoder`, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Self:
        """Rebuild from `keywords`.

        Raises
        ------
        InvalidOptionError
            If a keyword is not known.
        """
        unknown = set(keywords) - set(cls.__dataclass_fields__)
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise InvalidOptionError(f"Expected corrections among {known}; got {', '.join(sorted(unknown))}.")
        given: dict[str, Any] = dict(keywords)
        if given.get("grid") is not None:
            given["grid"] = tuple(given["grid"])
        return cls(**given)
