"""What the cache has to complain about, for whoever shows it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident

_LOGGER = "napari_sslmaps.cache"


class _Listener(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell
        self._thread = get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._tell(record.getMessage())


@contextmanager
def complaints(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell every warning that the cache logs on this thread: what could not be kept, what was damaged."""
    listener, logger = _Listener(tell), logging.getLogger(_LOGGER)
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
