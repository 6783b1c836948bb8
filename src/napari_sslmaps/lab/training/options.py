"""Options of each objective, with the paper's values or ours as defaults; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from napari_sslmaps.errors import InvalidOptionError

if TYPE_CHECKING:
    from napari_sslmaps.pretext.masks import BlockScheme

Ingredients = Literal["Di", "Di+Re", "Di+Re+Ad"]


@dataclass(frozen=True, slots=True)
class MAEOptions:
    """Options of MAE (arXiv 2111.06377).

    Attributes
    ----------
    mask_ratio
        Share of the patches that are hidden.
    norm_pix_loss
        Whether the pixels of each patch are normalised before they are predicted, the paper's better target.
    decoder_dim, decoder_depth, decoder_heads
        Size of the decoder; the paper's has 512, 8 and 16.
    patch_gain
        Factor on the patch embedding's initial weights: more than the paper's 1, so that content
        outweighs the added positions from the start of a short training.
    jitter
        Strength of the colour jitter; the paper has none.
    """

    mask_ratio: float = 0.75
    norm_pix_loss: bool = True
    decoder_dim: int = 64
    decoder_depth: int = 2
    decoder_heads: int = 2
    patch_gain: float = 4.0
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class IJEPAOptions:
    """Options of I-JEPA (arXiv 2301.08243).

    Attributes
    ----------
    targets
        Number of target blocks.
    target_scale, target_aspect
        Range of a target's share of the grid, and of its height over its width.
    context_scale
        Range of the context's share of the grid, before the targets are taken out of it.
    predictor_dim, predictor_depth, predictor_heads
        Size of the predictor; the paper's has 384, 6 (12 for ViT-H) and 12.
    momentum
        First momentum of the target encoder; it rises linearly to 1. The paper begins at 0.996.
    patch_gain
        Factor on the patch embedding's initial weights: content must outweigh the added positions from the
        start, or targets are told by their places alone. The paper has 1 with far longer training.
    jitter
        Strength of the colour jitter; the paper has none.
    """

    targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    predictor_dim: int = 64
    predictor_depth: int = 2
    predictor_heads: int = 4
    momentum: float = 0.99
    patch_gain: float = 4.0
    jitter: float = 0.1

    @property
    def blocks(self) -> BlockScheme:
        """Rule by which blocks are drawn."""
        from napari_sslmaps.pretext.masks import BlockScheme

        return BlockScheme(self.targets, self.target_scale, self.target_aspect, self.context_scale)


@dataclass(frozen=True, slots=True)
class DINOv3Options:
    """Options of DINOv3 (arXiv 2508.10104).

    Attributes
    ----------
    region, region_span
        Every view of a field lies in one region of it, so that views share tissue and not only their stain:
        the region's side in the pixels that the views' spans are counted in, and the range of its side in the
        field.
    locals, local_size, local_span
        Number of local crops, their side, and the range of their side in the region.
    prototypes, patch_prototypes
        Number of prototypes of the DINO and of the iBOT head; the paper's has 262 144 and 98 304.
    head_hidden, head_bottleneck
        Widths of both heads.
    student_temperature, teacher_temperature, teacher_warmup
        Softmax temperatures; the teacher's goes from the first to the second value over a share of the steps.
    mask_share, mask_ratio
        Share of the global crops that iBOT masks, and the range of the share of patches hidden in them.
    patch_weight, koleo_weight, gram_weight
        Weights of iBOT, KoLeo and Gram; DINO has 1.
    momentum
        First momentum of the teacher; it rises to 1 along a cosine.
    gram_from
        Share of the steps after which Gram anchoring begins; 1 switches it off.
    gram_refresh
        Share of the steps after which the Gram teacher becomes the teacher again; the paper: 10 000 of a
        million.
    gram_resolution
        Factor by which the Gram teacher sees a higher resolution than the student; the paper: 2.
    rope_rescale
        Positions are scaled by up to this factor, or its inverse, in training; the paper: 2. 1 leaves them.
    jitter, grey_share
        Strength of the colour jitter and share of views turned grey.
    """

    region: int = 96
    region_span: tuple[float, float] = (64.0, 104.0)
    locals: int = 4
    local_size: int = 32
    local_span: tuple[float, float] = (24.0, 44.0)
    prototypes: int = 128
    patch_prototypes: int = 128
    head_hidden: int = 256
    head_bottleneck: int = 64
    student_temperature: float = 0.1
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    teacher_warmup: float = 0.3
    mask_share: float = 0.5
    mask_ratio: tuple[float, float] = (0.1, 0.5)
    patch_weight: float = 1.0
    koleo_weight: float = 0.1
    gram_weight: float = 2.0
    momentum: float = 0.99
    gram_from: float = 0.75
    gram_refresh: float = 0.1
    gram_resolution: int = 2
    rope_rescale: float = 1.0
    jitter: float = 0.25
    grey_share: float = 0.15


@dataclass(frozen=True, slots=True)
class DiRAOptions:
    """Options of DiRA (arXiv 2204.10437) with MoCo-v2 (arXiv 2003.04297).

    Attributes
    ----------
    ingredients
        Trained parts of discrimination, restoration and adversary: ``Di``, ``Di+Re`` or ``Di+Re+Ad``.
    region, region_span
        Region of a field that both its views lie in: its side in the pixels that the views' spans are counted
        in, and the range of its side in the field.
    queue, temperature, momentum
        Keys in the queue, softmax temperature, momentum of the key branch. MoCo-v2: 65 536, 0.2, 0.999.
    embedding
        Length of a key.
    restoration_weight, adversary_weight
        Weights beside discrimination, which has 1.
    adversary_from
        Share of the steps after which the adversary joins: the paper's second phase.
    discriminator_width
        Channels of the discriminator's first layer.
    shuffle_windows
        Windows within which pixels are shuffled, in images that are shuffled.
    jitter
        Strength of the colour jitter.
    """

    ingredients: Ingredients = "Di+Re+Ad"
    region: int = 128
    region_span: tuple[float, float] = (96.0, 136.0)
    queue: int = 2048
    temperature: float = 0.2
    momentum: float = 0.99
    embedding: int = 128
    restoration_weight: float = 10.0
    adversary_weight: float = 0.001
    adversary_from: float = 0.7
    discriminator_width: int = 32
    shuffle_windows: int = 60
    jitter: float = 0.2


# Bounds by name: a name means the same in every method. What is not here must be at least 0.
_SHARES = {
    "mask_share",
    "momentum",
    "gram_from",
    "gram_refresh",
    "adversary_from",
    "grey_share",
    "teacher_warmup",
}
_POSITIVE = {
    "patch_gain",
    "temperature",
    "student_temperature",
    "teacher_temperature",
    "region_span",
    "local_span",
    "target_scale",
    "target_aspect",
    "context_scale",
}
_AT_LEAST_ONE = {"rope_rescale"}
_MAY_BE_NONE = {"locals"}
Options = MAEOptions | IJEPAOptions | DINOv3Options | DiRAOptions
OPTIONS: Mapping[str, type[Options]] = {
    "mae": MAEOptions,
    "ijepa": IJEPAOptions,
    "dinov3": DINOv3Options,
    "dira": DiRAOptions,
}
_Kind = TypeVar("_Kind", bound=Options)


def parse_options(kind: type[_Kind], given: Mapping[str, Any]) -> _Kind:
    """Check options by name and type.

    Parameters
    ----------
    kind
        Dataclass of the options, one of `OPTIONS`.
    given
        Names and values, as a recipe holds them; a list of two numbers is a range.

    Raises
    ------
    InvalidOptionError
        If a name is unknown or a value is of another type; it names the options and their defaults.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(given) - set(hints))
    if unknown:
        method = kind.__name__.removesuffix("Options")
        raise InvalidOptionError(
            f"Expected options of {method} among {_listing(kind)}; got {', '.join(map(repr, unknown))}."
        )
    options = kind(**{name: _converted(name, value, hints[name]) for name, value in given.items()})
    for name in hints:
        _check_range(name, getattr(options, name))
    return options


def _check_range(name: str, value: Any) -> None:
    """Raise `InvalidOptionError` where a number, or an end of a range, is out of its bounds."""
    if isinstance(value, str | bool):
        return
    low, high = value if isinstance(value, tuple) else (value, value)
    counted = isinstance(value, int) and name not in _MAY_BE_NONE
    least = 1 if counted or name in _AT_LEAST_ONE else 0
    if low > high:
        raise InvalidOptionError(f"Expected {name} from low to high; got {value}.")
    if name == "mask_ratio" and not 0 < low <= high < 1:
        raise InvalidOptionError(f"Expected {name} above 0 and below 1; got {value}.")
    if name in _SHARES and not 0 <= low <= high <= 1:
        raise InvalidOptionError(f"Expected {name} between 0 and 1; got {value}.")
    if name in _POSITIVE and low <= 0:
        raise InvalidOptionError(f"Expected {name} above 0; got {value}.")
    if low < least:
        raise InvalidOptionError(f"Expected {name} of at least {least}; got {value}.")


def _listing(kind: type[_Kind]) -> str:
    return ", ".join(f"{item.name} ({item.default})" for item in fields(kind) if item.default is not MISSING)


def _converted(name: str, value: object, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InvalidOptionError(f"Expected {name} among {', '.join(get_args(hint))}; got {value!r}.")
        return value
    if get_origin(hint) is tuple:
        return _range(name, value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise InvalidOptionError(f"Expected {name} as {hint.__name__}; got {value!r}.")
    return value


def _range(name: str, value: object) -> tuple[float, float]:
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = value
        if all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
            return (float(low), float(high))
    raise InvalidOptionError(f"Expected {name} as two numbers; got {value!r}.")
