"""Encoders as a user names them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.encoders.catalog import NAMES, embedded_spec, names_for
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import Domain
from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError
from napari_sslmaps.inputs.images import open_named
from napari_sslmaps.sources.colour import is_grey
from napari_sslmaps.sources.open_options import AS_STORED, OpenOptions


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """An encoder to run.

    Parameters
    ----------
    name
        A name of `list_encoders`, or the path of a weight file or folder.
    overrides
        Keywords of `load_encoder` that correct what the file says.
    precision
        Precision instead of the run's, where it was resolved before.
    control
        Kind of the encoder's control to run in its place; empty for the encoder itself.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    control: str = ""


def choose_encoders(names: Sequence[str], corrections: Overrides) -> tuple[EncoderChoice, ...]:
    """Choose encoders by name or path, and correct the weight files among them.

    Parameters
    ----------
    names
        Names or paths as `EncoderChoice` takes them.
    corrections
        Corrections by the user, who may know better than the files; embedded encoders and controls need none.

    Raises
    ------
    InvalidOptionError
        If there are corrections, but no weight file to correct.
    """
    choices = tuple(
        EncoderChoice(name) if name in NAMES else EncoderChoice(name, corrections.keywords) for name in names
    )
    if corrections.keywords and not any(choice.overrides for choice in choices):
        options = ", ".join(f"--{option.replace('_', '-')}" for option in corrections.keywords)
        raise InvalidOptionError(
            f"Expected a weight file to correct with {options}; got {', '.join(names) or 'none'}, which "
            "need no correction. Name a file with --encoder, or leave the option out."
        )
    return choices


def usual_scale(choices: Sequence[EncoderChoice]) -> TokenScale:
    """Return the scale that encoders are compared at where nobody says another: that of the first one."""
    name = choices[0].name if choices else ""
    return (embedded_spec(name).scale if name in NAMES else None) or TokenScale()


def fitting_encoders(image: str, opening: OpenOptions = AS_STORED) -> tuple[EncoderChoice, ...]:
    """Return the embedded encoders trained on images like this one: grey or coloured.

    Parameters
    ----------
    image, opening
        Image and how it is opened, as `open_named` takes them.

    Raises
    ------
    UnsupportedImageError
        If it cannot be opened.
    """
    return _trained_on(grey=_is_grey(image, opening))


_LOOKED_AT = 16


def fitting_most(images: Sequence[tuple[str, OpenOptions]]) -> tuple[EncoderChoice, ...]:
    """Return the embedded encoders that fit most of several images, judged by up to 16 of them.

    Parameters
    ----------
    images
        Images and how they are opened, as `open_named` takes them; at least one.

    Raises
    ------
    UnsupportedImageError
        If none of those can be opened.
    """
    grey = []
    for image, opening in images[:: -(-len(images) // _LOOKED_AT)]:
        with suppress(UnsupportedImageError):  # said of it when its turn comes
            grey.append(_is_grey(image, opening))
    if not grey:
        return fitting_encoders(*images[0])
    return _trained_on(grey=2 * sum(grey) > len(grey))


def _is_grey(image: str, opening: OpenOptions) -> bool:
    with open_named(image, opening) as source:
        return is_grey(source)


def _trained_on(*, grey: bool) -> tuple[EncoderChoice, ...]:
    domain: Domain = "ultrasound" if grey else "histology"
    return tuple(EncoderChoice(name) for name in names_for(domain))
