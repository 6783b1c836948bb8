"""Method and architecture of a file; what it cannot tell is said and can be overridden."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_sslmaps.encoders.checkpoint.unwrap import OTHER
from napari_sslmaps.encoders.families.family import Case, Family
from napari_sslmaps.encoders.families.registry import FAMILIES, architecture_from_dict
from napari_sslmaps.encoders.families.vit import VIT
from napari_sslmaps.encoders.families.vit_network import sincos_positions
from napari_sslmaps.encoders.families.vit_recognition import likely_grid
from napari_sslmaps.encoders.methods.method import Method
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.recognition import Inference, Translated, Unwrapped
from napari_sslmaps.encoders.spec import Architecture, get_normalisation
from napari_sslmaps.errors import CheckpointError, InvalidOptionError


@dataclass(frozen=True, slots=True)
class Recognised:
    """Result of recognising a file, with the evidence.

    Parameters
    ----------
    method, family, architecture, normalisation
        Method, network and normalisation that it is loaded with.
    inferred
        Inferred values, each with its evidence.
    warnings
        Sentences on what the file cannot tell, or tells otherwise than was given.
    """

    method: Method
    family: Family
    architecture: Architecture
    normalisation: str
    inferred: tuple[Inference, ...]
    warnings: tuple[str, ...]


def identify(file: Unwrapped, translated: Translated, overrides: Overrides, name: str) -> Recognised:
    """Identify method, architecture and normalisation of a file.

    What was given wins over what the file says in words, and that over what its tensors suggest.

    Raises
    ------
    CheckpointError
        If the file fits several methods and none was named, or its head count cannot be guessed.
    InvalidOptionError
        If an override does not fit.
    """
    case = Case(file, translated, overrides, name)
    family = _family_of(case)
    method = _choose_method(case, family)
    if family.kind not in method.families:
        raise InvalidOptionError(
            f"Expected a method that fits the network in {name}, which is {family.title}; "
            f"got {method.name!r}."
        )
    case.doubt_idle(family)
    if "ignored" in translated.facts:
        case.doubts.append(str(translated.facts["ignored"].value))
    architecture = family.recognise(case, method, _written_architecture(case, family))
    _note_branch(case)
    if "norm_pix" in translated.facts:
        case.note("norm_pix", translated.facts["norm_pix"].value, translated.facts["norm_pix"].how)
    normalisation = _normalisation(case, method, architecture)
    return Recognised(method, family, architecture, normalisation, tuple(case.notes), tuple(case.doubts))


def _family_of(case: Case) -> Family:
    state = case.translated.state
    found = next((family for family in FAMILIES.values() if family.mark in state), None)
    if found is None:
        marks = ", ".join(f"{family.mark} ({family.title})" for family in FAMILIES.values())
        raise CheckpointError(f"Expected one of these tensors in {case.name}: {marks}; there is none.")
    return found


def _written_architecture(case: Case, family: Family) -> Architecture | None:
    """Return what the file's own metadata says, which has to be of the family that its keys are of."""
    if "architecture" not in case.file.header:
        return None
    written = architecture_from_dict(case.file.header["architecture"])
    if written.kind != family.kind:
        said = FAMILIES[written.kind].title
        raise CheckpointError(f"The file says it holds {said}, but its keys are those of {family.title}.")
    return written


def _note_branch(case: Case) -> None:
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


_LISTED = 4


def _some(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


_OF_GREY = " Of grey input the mean of its three channels is taken."


def _statistics_of_width(width: int) -> str:
    """Say which published encoders of a token width use which statistics, if they differ from each other."""
    users: dict[str, list[str]] = {}
    for entry in PUBLISHED.values():
        if entry.architecture.token_width == width:
            users.setdefault(entry.normalisation, []).append(entry.name)
    if len(users) < 2:
        return ""
    listed = "; ".join(f"{statistics} by {_some(names)}" for statistics, names in users.items())
    return f" Of encoders as wide, {width} channels, are used: {listed}."


def _normalisation(case: Case, method: Method, architecture: Architecture) -> str:
    fact = case.translated.facts.get("normalisation")
    if case.overrides.normalisation is not None:
        chosen, how = case.overrides.normalisation, "given"
    elif "normalisation" in case.file.header:
        chosen, how = case.file.header["normalisation"], "written in the file"
    elif fact is not None:
        chosen, how = fact.value, fact.how
    elif (word := next((word for word in method.named_statistics if word in case.name.lower()), "")) != "":
        chosen, how = method.named_statistics[word], f"{word!r} in the file's name"
    else:
        chosen, how = method.normalisation, f"what {method.title} uses"
        grey = architecture.channels == 1
        others = _OF_GREY if grey else _statistics_of_width(architecture.token_width)
        case.doubts.append(f"The file does not tell its normalisation; {chosen} is assumed.{others}")
    name = get_normalisation(chosen).name
    case.note("normalisation", name, how)
    return name


def _choose_method(case: Case, family: Family) -> Method:
    """Return the method as given, as the file says it, or as its keys and positions suggest.

    Raises
    ------
    CheckpointError
        If the file fits several methods and none was given.
    """
    method, how, certain = _method_of_file(case, family)
    given = case.overrides.method
    if given is not None:
        case.note("method", given, "given")
        rotary = any(usual.rope for usual in METHODS[given].model_types.values())
        if method is None and family is VIT and rotary and "pos_embed" not in case.translated.state:
            _check_rotary(case)
        if method not in {None, given} and certain:
            case.doubts.append(f"You gave the method {given}; the file speaks for {method}: {how}.")
        return METHODS[given]
    if method is None and family is VIT and "pos_embed" not in case.translated.state:
        raise CheckpointError(
            f"{case.name} is a transformer with rotary positions and nothing that says whose: DINOv3's, or "
            "others, which look alike and are not read. If it is DINOv3, say load_encoder(path, "
            'method="dinov3").'
        )
    if method is None:
        example = _example(case, family)
        raise CheckpointError(
            f"{case.name} is {_unclear(case, family)} Say which, for example load_encoder(path, method="
            f'"{example}"), on the command line --method {example}.'
        )
    case.note("method", method, how)
    if not certain:
        case.doubts.append(f"The method {METHODS[method].title} is inferred from this alone: {how}.")
        _doubt_likeness(case, family)
    return METHODS[method]


_ALIKE = {
    "timm": "other activations, or norms behind their layers, as timm has some",
    "torchvision ResNet": "smoothing before their strides, as timm's resnetaa and resnetblur",
}
"""Networks that nothing in a file tells from those read here, by the layout of its names."""


def _doubt_likeness(case: Case, family: Family) -> None:
    """Say which networks have the same tensors and give other tokens, where nothing says that it is none."""
    layout = case.translated.layout
    if case.file.config is None and not case.translated.pretext_heads.state and layout in _ALIKE:
        case.doubts.append(
            f"{family.title[:1].upper()}{family.title[1:]} with {_ALIKE[layout]}, has the same tensors, and "
            "would be read with wrong tokens. config.json beside the weights tells it."
        )


def _check_rotary(case: Case) -> None:
    """Refuse a rotary transformer that cannot be DINOv3's, whatever its user says, and doubt any other."""
    if "cls_token" not in case.translated.state:
        raise InvalidOptionError(
            f"Expected a CLS token in {case.name}, as every transformer of DINOv3's has it; it has none, so "
            "its rotary positions are others, which are not computed here."
        )
    case.doubts.append(
        "Nothing in the file says that its rotary positions are DINOv3's, but you: others, as timm has them, "
        "look alike and would be read with wrong tokens."
    )


def _example(case: Case, family: Family) -> str:
    if family is VIT and "cls_token" not in case.translated.state:
        return "ijepa"
    return next(name for name in METHODS if family.kind in METHODS[name].families)


def _unclear(case: Case, family: Family) -> str:
    if family is VIT:
        has_class = "cls_token" in case.translated.state
        token, methods = ("with", "MAE, DINO") if has_class else ("without", "I-JEPA")
        sentence = (
            f"a vision transformer {token} a CLS token and nothing that tells its method: it can be {methods}"
        )
    else:
        titles = ", ".join(method.title for method in METHODS.values() if family.kind in method.families)
        sentence = f"{family.title} with nothing that tells its method: it can be {titles}"
    return f"{sentence} or a supervised one."


def _method_of_file(case: Case, family: Family) -> tuple[str | None, str, bool]:
    """Return what the file itself says of its method, how it does, and whether that is certain."""
    if "method" in case.file.header:
        return _written_method(case), "written in the file", True
    fact = case.translated.facts.get("method")
    if fact is not None:
        return fact.value, fact.how, fact.certain
    if family is VIT:
        return _guess_of_transformer(case.file.container, case.translated)
    trained = [one for one in METHODS.values() if family.kind in one.families and one.file_holds]
    if len(trained) != 1:
        return None, "", False
    how = f"{family.title}; what learned otherwise, from labels for example, looks the same"
    return trained[0].name, how, False


def _written_method(case: Case) -> str | None:
    written = case.file.header["method"]
    if isinstance(written, str) and written in METHODS:
        return written
    if case.overrides.method is None:
        raise CheckpointError(
            f"Expected a method among {', '.join(METHODS)}; {case.name} says {written!r}. "
            "Update napari-sslmaps to read it, or name the method."
        )
    return None


_POOLED = {"norm of the pooled token", "pooling by attention"}
"""What networks trained with labels or texts have behind their tokens."""


def _guess_of_transformer(container: str, translated: Translated) -> tuple[str | None, str, bool]:
    """Tell methods apart whose files share their names; what a method's own names say, its module states."""
    state, reasons = translated.state, set(translated.left_out.values())
    rules: tuple[tuple[bool, str | None, str, bool], ...] = (
        (
            "pos_embed" not in state and {"cls_token", "reg_token"} <= set(state),
            "dinov3",
            "CLS, registers and no position embedding, as timm's DINOv3 alone has",
            False,
        ),
        ("pos_embed" not in state, None, "", False),
        ("MAE decoder" in reasons, "mae", "a decoder beside the encoder", True),
        ("cls_token" not in state and not _POOLED & reasons, "ijepa", "no CLS token", False),
        ("cls_token" not in state, None, "", False),
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


def has_sincos_positions(state: Mapping[str, Tensor]) -> bool:
    """Whether the patch positions are the fixed 2-D sine–cosine table of MAE (arXiv 2111.06377)."""
    if "pos_embed" not in state or state["pos_embed"].ndim != 3:
        return False
    stored = state["pos_embed"][0].float()
    dim = stored.shape[1]
    grids = [] if dim % 4 else [likely_grid(stored[first:]) for first in (0, 1)]
    return any(
        torch.allclose(stored[-rows * columns :], sincos_positions(dim, rows, columns)[0], atol=2e-3)
        for rows, columns in filter(None, grids)
    )
