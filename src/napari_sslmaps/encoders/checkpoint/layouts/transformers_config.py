"""What `config.json` and `preprocessor_config.json` of a transformers folder say beyond the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_sslmaps.encoders.checkpoint.translated import Fact
from napari_sslmaps.encoders.spec import Method, get_normalisation, spell_normalisation
from napari_sslmaps.errors import CheckpointError, InvalidOptionError


@dataclass(frozen=True, slots=True)
class Family:
    """One ``model_type`` of transformers.

    Parameters
    ----------
    method
        None for ``vit``, which holds DINO, supervised and other transformers.
    heads, eps
        What transformers takes where the config is silent.
    antialias
        How transformers resamples its positions for another grid.
    rope
        Whether its positions are rotary.
    """

    method: Method | None
    heads: int = 12
    eps: float = 1e-12
    antialias: bool = False
    rope: bool = False


FAMILIES: Mapping[str, Family] = {
    "vit_mae": Family("mae"),
    "ijepa": Family("ijepa"),
    "dinov3_vit": Family("dinov3", heads=6, eps=1e-5, rope=True),
    "dinov2": Family("dinov2", eps=1e-6),
    "dinov2_with_registers": Family("dinov2", eps=1e-6, antialias=True),
    "vit": Family(None),
}
_BRANCH = "transformers' own converter takes the context encoder; config.json does not say"


def get_family(config: Mapping[str, Any]) -> Family:
    """Return the family that `config` names.

    Raises
    ------
    CheckpointError
        If it names none that is known.
    """
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise CheckpointError(
            f"Expected a transformers folder whose config.json has a model_type among {', '.join(FAMILIES)}; "
            f"it has {kind!r}. Other networks cannot be read."
        )
    return FAMILIES[kind]


def read_facts(config: Mapping[str, Any], preprocessor: Mapping[str, Any] | None) -> dict[str, Fact]:
    """Collect method, heads, eps, antialias, norm_pix, branch and normalisation, as far as they are told.

    Raises
    ------
    CheckpointError
        If a value is not what it should be.
    """
    family = get_family(config)
    facts = {
        "heads": _number(config, "num_attention_heads", family.heads),
        "eps": _number(config, "layer_norm_eps", family.eps),
    }
    if family.method is not None:
        facts["method"] = Fact(family.method, f"model_type {config['model_type']!r} in config.json")
    if not family.rope:
        facts["antialias"] = Fact(family.antialias, "as transformers resamples positions")
    if family.method == "mae" and isinstance(config.get("norm_pix_loss"), bool):
        facts["norm_pix"] = Fact(config["norm_pix_loss"], "norm_pix_loss in config.json")
    if family.method == "ijepa":
        facts["branch"] = Fact("encoder", _BRANCH)
    if preprocessor is not None and (normalisation := _normalisation(preprocessor)):
        facts["normalisation"] = normalisation
    return facts


def read_number(config: Mapping[str, Any], key: str, default: float) -> Any:
    """Return a positive number of the config, of the default's type, or the default.

    Raises
    ------
    CheckpointError
        If it is something else.
    """
    return _number(config, key, default).value


def _number(config: Mapping[str, Any], key: str, default: float) -> Fact:
    if key not in config:
        return Fact(default, f"transformers' default; config.json has no {key}")
    value = config[key]
    whole = isinstance(default, int)
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and value > 0
    if not fits:
        kind = "whole number" if whole else "number"
        raise CheckpointError(f"Expected {key} in config.json to be a {kind} above 0; it is {value!r}.")
    return Fact(type(default)(value), f"{key} in config.json")


def _normalisation(preprocessor: Mapping[str, Any]) -> Fact | None:
    """Statistics for intensities in [0, 1], whatever 8-bit values are multiplied by before."""
    where = "in preprocessor_config.json"
    factor = preprocessor.get("rescale_factor", 1 / 255) if preprocessor.get("do_rescale", True) else 1.0
    if not preprocessor.get("do_normalize", True):
        return Fact("unit", f"do_normalize is false {where}")
    mean: Any = preprocessor.get("image_mean")
    std: Any = preprocessor.get("image_std")
    if mean is None and std is None:
        return None
    try:
        scale = 255 * float(factor)
        name = spell_normalisation([value / scale for value in mean], [value / scale for value in std])
        return Fact(get_normalisation(name).name, f"image_mean and image_std {where}")
    except (TypeError, ValueError, ZeroDivisionError, InvalidOptionError) as error:
        raise CheckpointError(
            f"Expected image_mean and image_std {where} to be three means and three deviations of "
            f"intensities; they are {mean!r} and {std!r}. Correct them, or take the file away and name the "
            "normalisation."
        ) from error
