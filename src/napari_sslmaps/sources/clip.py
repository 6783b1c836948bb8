"""Clips as MP4, AVI, MOV and MKV, through PyAV; an extra."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.extras import require_extra
from napari_sslmaps.sources.base import ImageLayout, SourceBase, decoding
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.protocol import Level

if TYPE_CHECKING:
    from av import VideoFrame

_KEPT_BYTES = 128 * 2**20
_AHEAD = 64
"""Frames that are decoded on the way to a later one, before the nearest key frame is sought instead."""


class ClipSource(SourceBase):
    """A clip, decoded from the nearest key frame on when a frame is asked for; those used last are kept.

    Pixels are RGB bytes, or grey ones where the clip stores no colour, upright where the file says how the
    camera was held. Micrometres per pixel are not known: such files do not say.

    Parameters
    ----------
    path
        The file; its first video stream is read.

    Raises
    ------
    MissingExtraError
        If PyAV is not installed.
    UnsupportedImageError
        If it holds no video, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        require_extra("formats")
        import av

        self._path, self._kept = path, DecodedCache(_KEPT_BYTES)
        self._damage = (av.FFmpegError, OSError, ValueError, EOFError)
        self._idle: list[_Decoder] = []
        with decoding(path.name, "a readable clip", *self._damage):
            with _Decoder(path) as decoder:
                self._times = decoder.times()
            first = self._frame(self._times[0])
        layout = ImageLayout(
            levels=(Level((first.shape[0], first.shape[1])),),
            channels=3 if first.ndim == 3 else 1,
            dtype=first.dtype,
            frames=len(self._times),
        )
        super().__init__(path.stem, layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        wanted = self._times[region.frame]
        with decoding(self._path.name, "a readable clip", *self._damage):
            pixels = self._kept.get(wanted, lambda: self._frame(wanted))
        rows = slice(region.y, region.y + region.height)
        return np.array(pixels[rows, region.x : region.x + region.width])

    def _frame(self, time: int) -> NDArray[Any]:
        """Decode the frame of a time; each thread that reads has a decoder of its own meanwhile."""
        try:
            decoder = self._idle.pop()
        except IndexError:
            decoder = _Decoder(self._path)
        try:
            return decoder.frame(time)
        finally:
            self._idle.append(decoder)

    def _release(self) -> None:
        self._kept.clear()
        while self._idle:
            self._idle.pop().close()


class _Decoder:
    """A clip that is open at one place, for one thread."""

    def __init__(self, path: Path) -> None:
        self._path, self._exact = path, True
        self._open()

    def _open(self) -> None:
        import av

        self._container = av.open(str(self._path))
        if not self._container.streams.video:
            self._container.close()
            raise UnsupportedImageError(
                f"Expected a clip with pictures; {self._path.name} has none. Choose another file."
            )
        self._stream = self._container.streams.video[0]
        self._coming = self._container.decode(self._stream)
        self._last: int | None = None

    def times(self) -> list[int]:
        """Return when each frame is shown, in the stream's own unit; at least one."""
        packets = [packet.pts for packet in self._container.demux(self._stream) if packet.size]
        times = [time for time in packets if time is not None]
        if len(times) < len(packets):  # as AVI has it: only what is decoded has a time
            self._container.seek(0, stream=self._stream)
            shown = [frame.pts for frame in self._container.decode(self._stream)]
            times = [time for time in shown if time is not None]
        if not times:
            raise ValueError("it has no frames")
        return sorted(set(times))

    def frame(self, time: int) -> NDArray[Any]:
        """Decode the frame that is shown at a time.

        MPEG program streams are sought beyond it; then they are decoded from their start.
        """
        step = max(1, int(self._stream.duration or 0) // max(1, int(self._stream.frames or 1)))
        if self._last is None or not self._last < time <= self._last + _AHEAD * step:
            self._container.seek(time, stream=self._stream)
            self._coming = self._container.decode(self._stream)
        found = self._next(time)
        if self._exact and (found is None or found.pts != time):
            self.close()
            self._open()
            found = self._next(time)
            self._exact = found is not None and found.pts == time
        if found is None:
            raise EOFError("it ends before its last frame")
        return _upright(found)

    def _next(self, time: int) -> "VideoFrame | None":
        """Return the first frame from here on that is shown at a time or after it."""
        for frame in self._coming:
            if frame.pts is not None and frame.pts >= time:
                self._last = frame.pts
                return frame
        self._last = None
        return None

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _upright(frame: "VideoFrame") -> NDArray[Any]:
    """Return (height, width[, 3]) bytes, turned as the file says."""
    grey = frame.format.name.startswith("gray")
    pixels = frame.to_ndarray(format="gray" if grey else "rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns))
