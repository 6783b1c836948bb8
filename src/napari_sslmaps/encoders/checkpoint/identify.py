"""Method and architecture of a file; what it cannot tell is said and can be overridden."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_sslmaps.encoders.checkpoint.unwrap import OTHER
from napari_sslmaps.encoders.families.family import Case
from napari_sslmaps.encoders.families.registry import architecture_from_dict
from napari_sslmaps.encoders.families.unet import recognise_unet
from napari_sslmaps.encoders.families.vit_network import sincos_positions
from napari_sslmaps.encoders.families.vit_recognition import describe_transformer
from napari_sslmaps.encoders.methods.registry import METHOD_INFO
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.recognition import Inference, Translated, Unwrapped
from napari_sslmaps.encoders.spec import Architecture, Method, get_normalisation
from napari_sslmaps.errors import CheckpointError, InvalidOptionError


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file was identified as, with the evidence."""

    method: Method
    architecture: Architecture
    normalisation: str
    inferred: tuple[Inference, ...]
    ambiguous: tuple[str, ...]


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
    case = Case(file, translated, overrides, name)
    method = choose_method(case)
    is_unet = "encoder.conv1.weight" in translated.state
    if (method == "dira") != is_unet:
        found = "a U-Net or ResNet" if is_unet else "a transformer"
        raise InvalidOptionError(
            f"Expected a method that fits the network in {name}, which is {found}; got {method!r}."
        )
    header = file.header
    written = architecture_from_dict(header["architecture"]) if "architecture" in header else None
    architecture = recognise_unet(case, written) if is_unet else describe_transformer(case, method, written)
    _note_branch(case)
    if "norm_pix" in translated.facts:
        case.note("norm_pix", translated.facts["norm_pix"].value, translated.facts["norm_pix"].how)
    normalisation = _normalisation(case, method)
    return Identity(method, architecture, normalisation, tuple(case.notes), tuple(case.doubts))


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


def _normalisation(case: Case, method: Method) -> str:
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


def choose_method(case: Case) -> Method:
    """Return the method as given, as the file says it, or as its keys and positions suggest.

    Raises
    ------
    CheckpointError
        If the file fits several methods and none was given.
    """
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


def _told_method(case: Case) -> tuple[Method | None, str, bool]:
    """Return what the file itself says of its method, how it does, and whether that is certain."""
    if "method" in case.file.header:
        return _written_method(case), "written in the file", True
    fact = case.translated.facts.get("method")
    return (
        _guess_method(case.file.container, case.translated) if fact is None else (fact.value, fact.how, True)
    )


def _written_method(case: Case) -> Method | None:
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


def has_sincos_positions(state: Mapping[str, Tensor]) -> bool:
    """Whether the patch positions are the fixed 2-D sine–cosine table of MAE (arXiv 2111.06377)."""
    if "pos_embed" not in state or state["pos_embed"].ndim != 3:
        return False
    stored = state["pos_embed"][0].float()
    dim = stored.shape[1]
    side = math.isqrt(len(stored))
    if dim % 4 or not side:
        return False
    return torch.allclose(stored[-side * side :], sincos_positions(dim, side, side)[0], atol=2e-3)
