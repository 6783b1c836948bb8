"""Decoded pieces of a file, the least recently used of them dropped."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any

from numpy.typing import NDArray

Piece = Future[NDArray[Any]]


class DecodedCache:
    """The pieces used last, up to a number of bytes; each is decoded once, however many threads ask.

    Parameters
    ----------
    limit_bytes
        Bytes that all pieces together may take. The one that was decoded last stays, however large.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._used = 0
        self._lock = Lock()
        self._pieces: OrderedDict[Hashable, Piece] = OrderedDict()

    def get(self, key: Hashable, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the piece named `key`, decoding it unless it is here; it must not be written to."""
        with self._lock:
            piece = self._pieces.get(key)
            if piece is not None:
                self._pieces.move_to_end(key)
            else:
                mine = self._pieces[key] = Piece()
        if piece is None:
            piece = mine
            self._fill(key, mine, decode)
        return piece.result()

    def clear(self) -> None:
        """Let go of all pieces."""
        with self._lock:
            self._pieces.clear()
            self._used = 0

    def _fill(self, key: Hashable, piece: Piece, decode: Callable[[], NDArray[Any]]) -> None:
        try:
            pixels = decode()
        except BaseException as error:
            with self._lock:
                self._pieces.pop(key, None)
            piece.set_exception(error)  # whoever waits for the piece must hear of it
            raise
        with self._lock:
            piece.set_result(pixels)
            if self._pieces.get(key) is piece:  # not cleared in the meantime
                self._used += pixels.nbytes
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        while self._used > self._limit and len(self._pieces) > 1:
            key, piece = next(iter(self._pieces.items()))
            if not piece.done():
                return
            self._used -= self._pieces.pop(key).result().nbytes
