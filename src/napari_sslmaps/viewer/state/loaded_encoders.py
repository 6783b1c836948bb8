"""Encoders that were loaded once and are kept, for whoever needs them, on any thread."""

import atexit
import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from napari_sslmaps.encoders.spec import EncoderSpec

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder


_LIBRARIES = (
    "torch",
    "pandas",  # of which napari takes the table beside the first points
    "scipy.ndimage",
    "scipy.sparse",
    "matplotlib.backends.backend_agg",  # plots of a comparison
    "timm.layers",
    "napari_sslmaps.encoders.registry",
    "napari_sslmaps.pipeline.embedding",
)


class LoadedEncoders:
    """Loads an encoder when it is first needed.

    napari collects all garbage for each layer that is removed; through the objects of torch that takes half
    a second. So what is there once an encoder is loaded is kept out of collections (`gc.freeze`).

    Parameters
    ----------
    precision
        Precision as `load_encoder` takes it.
    """

    def __init__(self, precision: str = "auto") -> None:
        self._precision = precision
        self._lock = Lock()
        self._encoders: dict[tuple[str, str, str], Encoder] = {}
        self._has_libraries = self._frozen = False

    def get(self, spec: EncoderSpec) -> "Encoder":
        """Return the running encoder that a list shows as `spec`.

        Raises
        ------
        SSLMapsError
            If it cannot be loaded: its file is missing, has changed or is damaged.
        """
        key = spec.name, spec.sha256, repr(sorted(spec.overrides.items()))
        with self._lock:
            self._load_libraries()
            from napari_sslmaps.encoders.registry import load_encoder

            if key not in self._encoders:
                self._encoders[key] = load_encoder(spec.name, precision=self._precision)
                self._frozen = False
            self._freeze()
            return self._encoders[key]

    def prepare(self) -> None:
        """Load the libraries that encoders need, before the first is asked for; to be called on a thread."""
        with self._lock:
            self._load_libraries()

    def release(self) -> None:
        """Let garbage of before be collected again: an image was closed, or the window is."""
        gc.unfreeze()
        self._frozen = False

    def hold(self) -> None:
        """Keep what is there out of collections again, once what an image left has been collected."""
        if self._encoders:
            self._freeze()

    def _freeze(self) -> None:
        if not self._frozen:  # `gc.get_freeze_count` walks through all that is frozen, and keeps the GIL
            gc.collect()
            gc.freeze()
            self._frozen = True

    def _load_libraries(self) -> None:
        if self._has_libraries:
            return
        with _no_collection():
            _open_shared_libraries()
            for name in _LIBRARIES:
                import_module(name)
            gc.freeze()
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)  # else Python walks through torch's objects again and again as it ends
        self._has_libraries = True


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect no garbage meanwhile: imports leave little, and would be walked through again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _open_shared_libraries() -> None:
    """Open torch's libraries; unlike an import, this leaves the interpreter to the other threads.

    So does a function that is called through ctypes, but not ``ctypes.CDLL`` of a path (Python 3.11), which
    keeps the window waiting for the third of a second that this takes.
    """
    found = find_spec("torch")
    folder = Path(found.origin).parent / "lib" if found is not None and found.origin else Path()
    for name in ("libtorch.so", "libtorch.dylib"):
        if (folder / name).is_file():
            dlopen = ctypes.CDLL(None).dlopen
            dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
            dlopen(os.fsencode(folder / name), os.RTLD_NOW)  # what fails, the import will say
