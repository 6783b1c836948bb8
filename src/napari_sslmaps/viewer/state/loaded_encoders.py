"""Encoders that were loaded once and are kept, for whoever needs them, on any thread."""

from threading import Lock
from typing import TYPE_CHECKING

from napari_sslmaps.encoders.spec import EncoderSpec

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder


class LoadedEncoders:
    """Loads an encoder when it is first needed.

    Parameters
    ----------
    precision
        Precision as `load_encoder` takes it.
    """

    def __init__(self, precision: str = "auto") -> None:
        self._precision = precision
        self._lock = Lock()
        self._encoders: dict[tuple[str, str, str], Encoder] = {}

    def get(self, spec: EncoderSpec) -> "Encoder":
        """Return the running encoder that a list shows as `spec`.

        Raises
        ------
        SSLMapsError
            If it cannot be loaded: its file is missing, has changed or is damaged.
        """
        from napari_sslmaps.encoders.registry import load_encoder

        key = spec.name, spec.sha256, repr(sorted(spec.overrides.items()))
        with self._lock:
            if key not in self._encoders:
                self._encoders[key] = load_encoder(spec.name, precision=self._precision)
            return self._encoders[key]
