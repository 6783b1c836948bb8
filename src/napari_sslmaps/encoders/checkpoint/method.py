"""Which method a file is of; where files of several look alike, that is said and asked."""

from napari_sslmaps.encoders.catalog import METHOD_INFO
from napari_sslmaps.encoders.checkpoint.case import Case
from napari_sslmaps.encoders.checkpoint.evidence import has_sincos_positions
from napari_sslmaps.encoders.checkpoint.translated import Translated
from napari_sslmaps.encoders.spec import Method
from napari_sslmaps.errors import CheckpointError


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
