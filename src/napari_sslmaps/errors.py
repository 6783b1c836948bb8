"""Every error this package raises on purpose.

Each one says what was expected, what came and what to do. None subclasses
``RuntimeError``, which Qt generator workers swallow.
"""


class SSLMapsError(Exception):
    """Base of all errors of this package; its text is a sentence for the user."""


class UnsupportedImageError(SSLMapsError, ValueError):
    """The image cannot be used: wrong shape, dtype or values, or an unreadable file."""


class ChannelsError(UnsupportedImageError):
    """The image has channels that are no colour image, and none was chosen.

    Parameters
    ----------
    sentence
        Sentence that says what was expected and what came.
    channels
        Number and name of each.
    """

    def __init__(self, sentence: str, channels: tuple[str, ...]) -> None:
        super().__init__(sentence, channels)
        self.channels = channels

    def __str__(self) -> str:
        """Return the sentence alone."""
        return str(self.args[0])


class AnnotationError(SSLMapsError, ValueError):
    """An annotation is empty, holds a single class, or does not fit the image."""


class RegionError(SSLMapsError, ValueError):
    """The region lies outside the image or is smaller than one patch."""


class InvalidAnchorError(SSLMapsError, ValueError):
    """An anchor is missing, malformed or lies outside the embedded region."""


class InvalidOptionError(SSLMapsError, ValueError):
    """An option has a value that is not among the permitted ones."""


class MapUnavailableError(SSLMapsError, ValueError):
    """The embedding does not have what the map is made of."""


class MissingExtraError(SSLMapsError, ImportError):
    """An optional dependency is needed; the text names the extra to install."""


class EncoderNotFoundError(SSLMapsError, KeyError):
    """No encoder of that name is known."""

    def __str__(self) -> str:
        """Return the sentence itself; ``KeyError`` would quote it."""
        return str(self.args[0]) if self.args else ""


class CheckpointError(SSLMapsError, ValueError):
    """A weight file is damaged, unsafe or not one that is recognised."""


class WeightsUnavailableError(SSLMapsError, OSError):
    """A weight file is missing or cannot be read."""


class LicenceNotAcceptedError(SSLMapsError, PermissionError):
    """Published weights were asked for before their licence was accepted."""


class EncoderListError(SSLMapsError, OSError):
    """The list of remembered encoders cannot be read or written."""


class ExportError(SSLMapsError, OSError):
    """A result cannot be written."""


class RecordError(SSLMapsError, ValueError):
    """A file that this package wrote is damaged, or what it describes has changed."""


class TrainingDivergedError(SSLMapsError, ArithmeticError):
    """The loss of a training is no number any more."""


class DeviceMemoryError(SSLMapsError):
    """The device has too little memory even for the smallest batch."""


class Cancelled(SSLMapsError):  # noqa: N818  # a request that was honoured, not a fault
    """The computation was stopped on request."""
