"""A transformer's architecture, with the two values that no shape tells: heads and epsilon."""

from collections.abc import Mapping
from dataclasses import replace

from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.checkpoint.case import Case
from napari_sslmaps.encoders.checkpoint.heads import weigh_heads
from napari_sslmaps.encoders.checkpoint.shapes import vit_depth, vit_shape, vit_width
from napari_sslmaps.encoders.spec import Architecture, Method, ViTArchitecture
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

_HEAD_WIDTH = 64
# where heads are not 64 wide: ViT-H and ViT-g of MAE and I-JEPA, and DINOv3's ViT-7B
_HEADS_BY_WIDTH: Mapping[tuple[Method, int], int] = {
    ("mae", 1280): 16,
    ("ijepa", 1280): 16,
    ("ijepa", 1408): 16,
    ("dinov3", 4096): 32,
}
_ALIKE = "rows of W_q and W_k within one head are alike"


def describe_transformer(case: Case, method: Method, written: Architecture | None) -> ViTArchitecture:
    """Return a transformer's architecture: shapes, and what was given, told or inferred beyond them.

    Parameters
    ----------
    case, method
        The file, and which method it is of.
    written
        What the file itself says; None if it says nothing.

    Raises
    ------
    CheckpointError
        If the file tells no number of heads and suggests none, or is none of a transformer for images.
    InvalidOptionError
        If the number of heads does not divide the width.
    """
    given = case.overrides
    case.doubt_idle("a transformer", ("token_stage",))
    if written is not None:
        if not isinstance(written, ViTArchitecture):
            raise CheckpointError("The file says it holds a U-Net, but its keys are a transformer's.")
        heads = written.heads if given.num_heads is None else _checked(given.num_heads, written.dim)
        if heads != written.heads:
            case.doubts.append(
                f"You gave {heads} heads; the file itself says {written.heads}. "
                "Another number gives other maps."
            )
        described = replace(written, heads=heads, eps=given.eps or written.eps)
        case.note("architecture", described.summary, "written in the file")
        return described
    architecture = vit_shape(case.translated, method, _heads(case, method), _eps(case, method))
    case.note("architecture", architecture.summary, "shapes of the tensors")
    return architecture


def _eps(case: Case, method: Method) -> float:
    fact = case.translated.facts.get("eps")
    if case.overrides.eps is not None:
        case.note("eps", f"{case.overrides.eps:g}", "given")
        return case.overrides.eps
    if fact is not None:
        case.note("eps", f"{fact.value:g}", fact.how)
        return float(fact.value)
    eps = METHOD_INFO[method].eps
    case.note("eps", f"{eps:g}", f"what {METHOD_INFO[method].title}'s own code uses")
    case.doubts.append(f"LayerNorm's epsilon is not in the file; {eps:g} is assumed.")
    return eps


def _heads(case: Case, method: Method) -> int:
    """Heads as given, told, or spoken for by the weights; as usual for the width where those say nothing."""
    state = case.translated.state
    dim, _ = vit_width(state)
    given, told = case.overrides.num_heads, _told_heads(case, dim)
    if given is not None:
        heads = _checked(given, dim)
        case.note("heads", heads, "given")
        _doubt_given(case, heads, told)
        return heads
    if told is not None:
        case.note("heads", told[0], told[1])
        return _checked(told[0], dim)
    usual = _HEADS_BY_WIDTH.get((method, dim), dim // _HEAD_WIDTH if dim % _HEAD_WIDTH == 0 else 0)
    return _weighed_heads(case, dim, usual)


def _weighed_heads(case: Case, dim: int, usual: int) -> int:
    """Choose between the usual number, 0 if there is none, and the one that the weights speak for."""
    evidence = weigh_heads(case.translated.state, dim, vit_depth(case.translated.state))
    if evidence.heads is not None and (not usual or evidence.contradicts(usual)):
        case.note("heads", evidence.heads, f"the weights themselves: {_ALIKE}")
        case.doubts.append(
            f"The number of heads is not in the file; its weights speak for {evidence.heads}"
            + (f", though {usual} is usual for this width" if usual else "")
            + ". Set num_heads otherwise."
        )
        return evidence.heads
    if not usual:
        raise CheckpointError(
            f"The file does not tell its number of heads, and a width of {dim} suggests none. "
            "Pass num_heads=."
        )
    agreed = evidence.heads == usual
    how = "the usual number for this width"
    case.note("heads", usual, f"{how}, and the weights agree: {_ALIKE}" if agreed else how)
    if not agreed:
        rather = f", though its weights rather speak for {evidence.heads}" if evidence.heads else ""
        case.doubts.append(
            f"The number of heads is not in the file; {usual} is assumed{rather}. Set num_heads otherwise."
        )
    return usual


def _told_heads(case: Case, dim: int) -> tuple[int, str] | None:
    """Heads that the file says in words, or by the number of its rotary periods."""
    fact = case.translated.facts.get("heads")
    if fact is not None:
        return int(fact.value), fact.how
    periods = case.translated.buffers.get("rope.periods")
    if periods is not None:
        return dim // (4 * len(periods)), "width over four times the number of rotary periods"
    return None


def _doubt_given(case: Case, heads: int, told: tuple[int, str] | None) -> None:
    if told is not None:
        if told[0] != heads:
            case.doubts.append(f"You gave {heads} heads; the file says {told[0]} ({told[1]}).")
        return
    state = case.translated.state
    evidence = weigh_heads(state, vit_width(state)[0], vit_depth(state))
    if evidence.contradicts(heads):
        case.doubts.append(
            f"You gave {heads} heads; the weights themselves speak for {evidence.heads}: rows of W_q and W_k "
            "are alike within heads of that width. Another number loads, and gives other tokens and maps."
        )


def _checked(heads: int, dim: int) -> int:
    if heads < 1 or dim % heads:
        raise InvalidOptionError(f"Expected a number of heads that divides the width {dim}; got {heads}.")
    return heads
