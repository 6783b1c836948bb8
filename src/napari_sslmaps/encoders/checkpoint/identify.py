"""Method and architecture of a file; what it cannot tell is said and can be overridden."""

from dataclasses import dataclass, replace

from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.checkpoint.case import Case
from napari_sslmaps.encoders.checkpoint.method import choose_method
from napari_sslmaps.encoders.checkpoint.report import Inference
from napari_sslmaps.encoders.checkpoint.shapes import unet_shape
from napari_sslmaps.encoders.checkpoint.transformer import describe_transformer
from napari_sslmaps.encoders.checkpoint.translated import Translated
from napari_sslmaps.encoders.checkpoint.unwrap import OTHER, Unwrapped
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import (
    Architecture,
    Method,
    UNetArchitecture,
    architecture_from_dict,
    get_normalisation,
)
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
    architecture = _unet(case, written) if is_unet else describe_transformer(case, method, written)
    _note_branch(case)
    if "norm_pix" in translated.facts:
        case.note("norm_pix", translated.facts["norm_pix"].value, translated.facts["norm_pix"].how)
    normalisation = _normalisation(case, method)
    return Identity(method, architecture, normalisation, tuple(case.notes), tuple(case.doubts))


def _unet(case: Case, written: Architecture | None) -> UNetArchitecture:
    stage = case.overrides.token_stage
    case.doubt_idle("a U-Net", ("num_heads", "eps"))
    if written is not None:
        if not isinstance(written, UNetArchitecture):
            raise CheckpointError("The file says it holds a transformer, but its keys are a U-Net's.")
        described = replace(written, token_stage=stage or written.token_stage)
        case.note("architecture", described.summary, "written in the file")
        return described
    architecture = unet_shape(case.translated.state, stage)
    case.note("architecture", architecture.summary, "shapes of the tensors")
    return architecture


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
