"""Method and architecture of a file; what it cannot tell is said and can be overridden."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.checkpoint.evidence import has_sincos_positions
from napari_sslmaps.encoders.checkpoint.heads import weigh_heads
from napari_sslmaps.encoders.checkpoint.report import Inference
from napari_sslmaps.encoders.checkpoint.shapes import unet_shape, vit_depth, vit_shape, vit_width
from napari_sslmaps.encoders.checkpoint.translated import Translated
from napari_sslmaps.encoders.checkpoint.unwrap import OTHER, Unwrapped
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import (
    Architecture,
    Method,
    UNetArchitecture,
    ViTArchitecture,
    architecture_from_dict,
    get_normalisation,
)
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

_HEAD_WIDTH = 64
# where heads are not 64 wide: ViT-H and ViT-g of MAE and I-JEPA, and DINOv3's ViT-7B
_HEADS_BY_WIDTH: Mapping[tuple[Method, int], int] = {
    ("mae", 1280): 16,
    ("ijepa", 1280): 16,
    ("ijepa", 1408): 16,
    ("dinov3", 4096): 32,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file was identified as, with the evidence."""

    method: Method
    architecture: Architecture
    normalisation: str
    inferred: tuple[Inference, ...]
    ambiguous: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """A file to be identified, and what has been found so far."""

    file: Unwrapped
    translated: Translated
    overrides: Overrides
    name: str
    notes: list[Inference] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def note(self, field_name: str, value: object, how: str) -> None:
        self.notes.append(Inference(field_name, str(value), how))


def identify(file: Unwrapped, translated: Translated, overrides: Overrides, name: str) -> Identity:
    """Identify method, architecture and normalisation of a file.

    What was given wins over what the file says in words, and that over what its tensors suggest.

    Raises
    ------
    CheckpointError
        If the file fits several methods and none was named, or its head count cannot be guessed.
    InvalidOptionError
        If an override does not fit.
    """
    case = _Case(file, translated, overrides, name)
    method = _method(case)
    is_unet = "encoder.conv1.weight" in translated.state
    if (method == "dira") != is_unet:
        found = "a U-Net or ResNet" if is_unet else "a transformer"
        raise InvalidOptionError(
            f"Expected a method that fits the network in {name}, which is {found}; got {method!r}."
        )
    architecture = _unet(case) if is_unet else _transformer(case, method)
    _note_branch(case)
    if "norm_pix" in translated.facts:
        case.note("norm_pix", translated.facts["norm_pix"].value, translated.facts["norm_pix"].how)
    normalisation = _normalisation(case, method)
    return Identity(method, architecture, normalisation, tuple(case.notes), tuple(case.doubts))


def _method(case: _Case) -> Method:
    method, how, certain = _told_method(case)
    given = case.overrides.method
    if given is not None:
        case.note("method", given, "given")
        if method not in {None, given} and certain:
            case.doubts.append(f"You gave the method {given}; the file speaks for {method}: {how}.")
        return given
    if method is None:
        raise CheckpointError(
            f"{case.name} is a vision transformer with a CLS token and nothing that tells its method: it can "
            'be MAE, DINO or a supervised one. Say which, for example load_encoder(path, method="mae").'
        )
    case.note("method", method, how)
    if not certain:
        case.doubts.append(f"The method {METHOD_INFO[method].title} is inferred from this alone: {how}.")
    return method


def _told_method(case: _Case) -> tuple[Method | None, str, bool]:
    """Return what the file itself says of its method, how it does, and whether that is certain."""
    if "method" in case.file.header:
        return _written_method(case), "written in the file", True
    fact = case.translated.facts.get("method")
    return (
        _guess_method(case.file.container, case.translated) if fact is None else (fact.value, fact.how, True)
    )


def _written_method(case: _Case) -> Method | None:
    written = case.file.header["method"]
    known = next((method for method in METHOD_INFO if method == written), None)
    if known is None and case.overrides.method is None:
        raise CheckpointError(
            f"Expected a method among {', '.join(METHOD_INFO)}; {case.name} says {written!r}. "
            "Update napari-sslmaps to read it, or name the method."
        )
    return known


def _guess_method(container: str, translated: Translated) -> tuple[Method | None, str, bool]:
    state, reasons = translated.state, set(translated.left_out.values())
    is_unet = "encoder.conv1.weight" in state
    rules: tuple[tuple[bool, Method | None, str, bool], ...] = (
        (
            is_unet and "decoder.blocks.0.conv1.0.weight" in state,
            "dira",
            "a U-Net with a ResNet encoder",
            False,
        ),
        (is_unet, "dira", "a ResNet encoder", False),
        (translated.layout == "DINOv3", "dinov3", "storage tokens or rotary periods", True),
        ("pos_embed" not in state, "dinov3", "no position embedding, so rotary positions", True),
        ("MAE decoder" in reasons, "mae", "a decoder beside the encoder", True),
        (translated.layout == "I-JEPA" and "predictor" in reasons, "ijepa", "a predictor beside it", True),
        ("cls_token" not in state, "ijepa", "no CLS token", False),
        ("blocks.0.ls1.gamma" in state, "dinov2", "layer scale and an added position embedding", False),
        ("norm of the pooled token" in reasons, None, "", False),
        (has_sincos_positions(state), "mae", "fixed sine–cosine positions and a CLS token", False),
        (
            container == "model" and "norm.weight" in state and "classification head" not in reasons,
            "mae",
            "the outer key 'model', a CLS token and no head",
            False,
        ),
    )
    return next(((method, how, certain) for holds, method, how, certain in rules if holds), (None, "", False))


def _doubt_idle(case: _Case, network: str, names: tuple[str, ...]) -> None:
    """Say which of the corrections mean nothing to a network; with several files they are for the others."""
    case.doubts.extend(
        f"You gave {name}, which means nothing to {network}; it was not used."
        for name in names
        if name in case.overrides.given
    )


def _unet(case: _Case) -> UNetArchitecture:
    stage = case.overrides.token_stage
    _doubt_idle(case, "a U-Net", ("num_heads", "eps"))
    if "architecture" in case.file.header:
        written = architecture_from_dict(case.file.header["architecture"])
        if not isinstance(written, UNetArchitecture):
            raise CheckpointError("The file says it holds a transformer, but its keys are a U-Net's.")
        return replace(written, token_stage=stage or written.token_stage)
    architecture = unet_shape(case.translated.state, stage)
    case.note("architecture", architecture.summary, "shapes of the tensors")
    return architecture


def _transformer(case: _Case, method: Method) -> ViTArchitecture:
    given = case.overrides
    _doubt_idle(case, "a transformer", ("token_stage",))
    if "architecture" in case.file.header:
        written = architecture_from_dict(case.file.header["architecture"])
        if not isinstance(written, ViTArchitecture):
            raise CheckpointError("The file says it holds a U-Net, but its keys are a transformer's.")
        heads = written.heads if given.num_heads is None else _checked(given.num_heads, written.dim)
        if heads != written.heads:
            case.doubts.append(
                f"You gave {heads} heads; the file itself says {written.heads}. "
                "Another number gives other maps."
            )
        return replace(written, heads=heads, eps=given.eps or written.eps)
    architecture = vit_shape(case.translated, method, _heads(case, method), _eps(case, method))
    case.note("architecture", architecture.summary, "shapes of the tensors")
    return architecture


def _eps(case: _Case, method: Method) -> float:
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


def _heads(case: _Case, method: Method) -> int:
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
    evidence = weigh_heads(state, dim, vit_depth(state))
    if evidence.heads is not None and (not usual or evidence.contradicts(usual)):
        how = "the weights themselves: rows of W_q and W_k within one head are alike"
        case.note("heads", evidence.heads, how)
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
    case.note(
        "heads", usual, "the usual number for this width" + (", and the weights agree" if agreed else "")
    )
    if not agreed:
        case.doubts.append(
            f"The number of heads is not in the file; {usual} is assumed. Set num_heads otherwise."
        )
    return usual


def _told_heads(case: _Case, dim: int) -> tuple[int, str] | None:
    """Heads that the file says in words, or by the number of its rotary periods."""
    fact = case.translated.facts.get("heads")
    if fact is not None:
        return int(fact.value), fact.how
    periods = case.translated.buffers.get("rope.periods")
    if periods is not None:
        return dim // (4 * len(periods)), "width over four times the number of rotary periods"
    return None


def _doubt_given(case: _Case, heads: int, told: tuple[int, str] | None) -> None:
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


def _note_branch(case: _Case) -> None:
    fact = case.translated.facts.get("branch")
    if fact is None:
        if OTHER in case.file.left_out.values():
            case.note("network", case.file.container, "one of several in the file; branch= chooses the other")
        return
    case.note("branch", fact.value, fact.how)
    if case.overrides.branch not in {None, fact.value}:
        case.doubts.append(
            f"You asked for the branch {case.overrides.branch!r}; the file has {fact.value!r} ({fact.how})."
        )


def _normalisation(case: _Case, method: Method) -> str:
    title, usual = METHOD_INFO[method].title, METHOD_INFO[method].normalisation
    fact = case.translated.facts.get("normalisation")
    if case.overrides.normalisation is not None:
        chosen, how = case.overrides.normalisation, "given"
    elif "normalisation" in case.file.header:
        chosen, how = case.file.header["normalisation"], "written in the file"
    elif fact is not None:
        chosen, how = fact.value, fact.how
    else:
        chosen, how = usual, f"what {title} uses"
        case.doubts.append(f"The file does not tell its normalisation; {usual} is assumed.")
    name = get_normalisation(chosen).name
    case.note("normalisation", name, how)
    return name
