"""Controls of an encoder: what knows less than it and has to be beaten by it; known without torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, Union, get_args

from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.encoders.catalog import ALIASES, CONTROLS
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import InvalidOptionError

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder

ControlKind = Literal["untrained", "constant", "position", "pixels", "colour"]
_SHOWS = {
    "untrained": "the same network with the weights its training starts from: what architecture alone gives",
    "constant": "the encoder on the region's mean colour: what its positions and borders alone give",
    "position": "a cosine basis of each token's place: what nearness alone gives",
    "pixels": "the pixels of each token as they are: what no network at all gives",
    "colour": "mean and standard deviation of each token's colour: what brightness and stain alone give",
}


@dataclass(frozen=True, slots=True)
class Control:
    """A method that knows less than an encoder, and that the encoder has to beat.

    Two encoders of one stride share their ``position``, ``pixels`` and ``colour``: these controls are equal.

    Parameters
    ----------
    kind
        ``untrained``, ``constant``, ``position``, ``pixels`` or ``colour``.
    stride
        Pixels of the region's level per token.
    of
        Name of the encoder that it belongs to; empty for a kind that needs no encoder.
    name
        Name beside methods: ``mae-untrained``, ``mae-histology-constant``, ``position-8px``.
    trained
        The resolution that its encoder learned at, so that both are read alike.
    """

    kind: ControlKind
    stride: int
    of: str
    name: str
    trained: Resolution | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(ControlKind):
            kinds = ", ".join(get_args(ControlKind))
            raise InvalidOptionError(f"Expected a control among {kinds}; got {self.kind!r}.")

    @property
    def needs_encoder(self) -> bool:
        """Whether a network has to run for it."""
        return self.kind in {"untrained", "constant"}

    @property
    def shows(self) -> str:
        """Line on what it is and what it tells."""
        return _SHOWS[self.kind]

    @classmethod
    def of_encoder(cls, kind: ControlKind, spec: EncoderSpec) -> Self:
        """Return the control of one kind that belongs to an encoder."""
        name, stride = ALIASES.get(spec.name, spec.name), spec.constraint.token_stride
        if kind == "untrained":
            return cls(kind, stride, name, twin_name(name), spec.trained)
        if kind == "constant":
            return cls(kind, stride, name, f"{name}-constant", spec.trained)
        return cls(kind, stride, "", f"{kind}-{stride}px", spec.trained)


def controls_of(encoder: Union["Encoder", EncoderSpec]) -> tuple[Control, ...]:
    """List the controls of an encoder: its untrained twin first, then those that are cheaper.

    Parameters
    ----------
    encoder
        Loaded encoder, or its spec from `list_encoders` or `get_spec`.

    Returns
    -------
    tuple of Control
        Controls, one of each kind; an encoder that is itself untrained has no ``untrained`` one.

    Examples
    --------
    >>> import napari_sslmaps as ssl
    >>> spec = next(spec for spec in ssl.list_encoders() if spec.name == "mae-histology")
    >>> [control.kind for control in ssl.controls_of(spec)]
    ['untrained', 'constant', 'position', 'pixels', 'colour']
    """
    spec: Any = getattr(encoder, "spec", encoder)
    if not isinstance(spec, EncoderSpec):
        raise InvalidOptionError(f"Expected an encoder from load_encoder or list_encoders; got {encoder!r}.")
    return tuple(
        Control.of_encoder(kind, spec)
        for kind in get_args(ControlKind)
        if kind != "untrained" or spec.origin != "control"
    )


def twin_name(name: str) -> str:
    """Return the name of an encoder's untrained twin: the catalog's, where it lists one."""
    known = {trained: control for control, trained in CONTROLS.items()}
    return known.get(ALIASES.get(name, name), f"{name}-untrained")
