"""Chunks of zarr that unpack to no more than they say: a small one could fill the memory."""

import bz2
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import prod
from typing import Any

import imagecodecs
import numpy as np
import zarr
from zarr.abc.codec import ArrayArrayCodec
from zarr.abc.numcodec import Numcodec
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.codecs import BloscCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.codecs.numcodecs import GZip
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.registry import get_numcodec
from zarr.storage import FsspecStore, StorePath, WrapperStore

_MORE = 2**20
"""What an unpacked chunk may have beyond its pixels: an index, a checksum, or what packing of noise adds."""
_WIDEST = 8
"""Bytes of the numbers that filters make of a pixel's, at most."""
_BESIDE_A_CHUNK = 64
"""Bytes that a chunk in a shard may have beside its pixels."""


def bounded(array: Any) -> Any:
    """Return an array whose chunks are refused where they would be, or unpack to, more than they have to.

    Codecs that numcodecs and zarr do not have are left as they are; so is what a server gives.

    Raises
    ------
    ValueError
        If a codec would run what is stored, or makes numbers that no pixel has.
    """
    metadata, inner = array.metadata, array.async_array
    pixels, inside = prod(array.shards or array.chunks), 0
    if metadata.zarr_format == 2:
        most = _most(pixels, array.dtype, metadata.filters)
        filters = metadata.filters and tuple(_Bounded(one, most) for one in metadata.filters)
        packed = metadata.compressor and _Bounded(metadata.compressor, most)
        metadata = replace(metadata, filters=filters, compressor=packed)
    else:
        most = _most(pixels, array.dtype, array.shards or _filters(metadata.codecs))
        inside = pixels // prod(array.chunks) * _BESIDE_A_CHUNK if array.shards else 0
        metadata = replace(metadata, codecs=_all_bounded(metadata.codecs, most + inside, array.dtype))
    place: StorePath = inner.store_path
    if not isinstance(place.store, FsspecStore):
        place = StorePath(_ShortFiles(place.store, most + most // 16 + inside), place.path)
    return zarr.Array(type(inner)(metadata=metadata, store_path=place))


def _most(pixels: int, dtype: np.dtype[Any], filters: Any) -> int:
    """Bytes that a chunk may unpack to."""
    return pixels * (max(dtype.itemsize, _WIDEST) if filters else dtype.itemsize) + _MORE


def _filters(codecs: Iterable[Any]) -> list[Any]:
    return [codec for codec in codecs if isinstance(codec, ArrayArrayCodec)]


def _all_bounded(codecs: Iterable[Any], most: int, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    return tuple(_bounded(codec, most, dtype) for codec in codecs)


def _bounded(codec: Any, most: int, dtype: np.dtype[Any]) -> Any:
    """Bound a codec of zarr 3 by the bytes of what it is for: a shard, or a chunk in it."""
    if isinstance(codec, ShardingCodec):
        inside = _most(prod(codec.chunk_shape), dtype, _filters(codec.codecs))
        return replace(codec, codecs=_all_bounded(codec.codecs, inside, dtype))
    if type(codec) in _OF_ZARR:
        return _of_numcodecs({"id": _OF_ZARR[type(codec)]}, most)
    about = getattr(codec, "codec_config", None)
    if about is not None and about["id"] in _UNPACK:
        return _of_numcodecs(about, most)
    if about is not None:
        _check_numbers(about)
    return codec


def _of_numcodecs(about: Any, most: int) -> GZip:
    """Make a codec of zarr 3 that calls one of numcodecs, as zarr does for each of those."""
    made = object.__new__(GZip)  # of whatever name: it is that of the codec within that counts
    made.__dict__.update(codec_config=about, _codec=_Bounded(get_numcodec(about), most))
    return made


class _Bounded:
    """A codec of numcodecs that unpacks to so many bytes at most.

    Parameters
    ----------
    codec
        Numcodec of numcodecs.
    most
        Bytes that a chunk may unpack to.
    """

    codec_id = "bounded"

    def __init__(self, codec: Numcodec, most: int) -> None:
        self._codec, self._most = codec, most
        self.codec_id = codec.codec_id
        if self.codec_id == "pickle":
            raise ValueError("its chunks are pickles, which could run anything")
        _check_numbers(codec.get_config())

    def encode(self, buf: Any) -> Any:
        """Pack."""
        return self._codec.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack.

        Raises
        ------
        ValueError
            If that would be more than it may be.
        """
        unpack = _UNPACK.get(self.codec_id)
        if unpack is None:
            return self._codec.decode(buf, out)
        unpacked = unpack(np.asarray(buf).tobytes(), self._most, self._codec)
        _check(len(unpacked), self._most)
        return unpacked

    def get_config(self) -> Any:
        """Return what the codec says of itself."""
        return self._codec.get_config()

    @classmethod
    def from_config(cls, config: Any) -> Numcodec:
        """Make the codec that it bounds."""
        return get_numcodec(config)


def _check(unpacked: int, most: int) -> None:
    if unpacked > most:
        raise ValueError(f"a chunk that should have {most - _MORE:,} bytes unpacks to {unpacked:,} or more")


def _check_numbers(about: dict[str, Any]) -> None:
    """Refuse a filter that makes numbers wider than any pixel's."""
    for key in ("dtype", "astype", "encode_dtype", "decode_dtype"):
        if about.get(key) is not None and np.dtype(about[key]).itemsize > _WIDEST:
            raise ValueError(f"its filter {about['id']} makes values of type {about[key]!r:.40}")


def _zlib(content: bytes, most: int, _: Numcodec) -> bytes:
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(content, most + 1)
    _check(len(found), most)
    if not unpacking.eof:
        raise ValueError("a chunk ends too early")
    return found


def _gzip(content: bytes, most: int, _: Numcodec) -> bytes:
    return gzip.GzipFile(fileobj=io.BytesIO(content)).read(most + 1)


def _bz2(content: bytes, most: int, _: Numcodec) -> bytes:
    return bz2.BZ2File(io.BytesIO(content)).read(most + 1)


def _lzma(content: bytes, most: int, codec: Numcodec) -> bytes:
    about = codec.get_config()
    with lzma.LZMAFile(io.BytesIO(content), format=about["format"], filters=about["filters"]) as file:
        return bytes(file.read(most + 1))


def _zstd(content: bytes, most: int, _: Numcodec) -> bytes:
    return bytes(imagecodecs.zstd_decode(content, out=most))


def _blosc(content: bytes, most: int, codec: Numcodec) -> bytes:
    _check(struct.unpack_from("<I", content, 4)[0] if len(content) >= 16 else 0, most)
    return bytes(codec.decode(content))


def _lz4(content: bytes, most: int, codec: Numcodec) -> bytes:
    _check(struct.unpack_from("<I", content)[0] if len(content) >= 4 else 0, most)
    return bytes(codec.decode(content))


_UNPACK: dict[str, Callable[[bytes, int, Numcodec], bytes]] = {
    "zlib": _zlib,
    "gzip": _gzip,
    "bz2": _bz2,
    "lzma": _lzma,
    "zstd": _zstd,
    "blosc": _blosc,
    "lz4": _lz4,
}
_OF_ZARR: dict[type, str] = {
    GzipCodec: "gzip",
    ZstdCodec: "zstd",
    BloscCodec: "blosc",
}


class _ShortFiles(WrapperStore[Store]):
    """A store of which no value is read that is longer than a chunk or shard of an array can be.

    Parameters
    ----------
    store
        Store of a folder or a zip file, in which a file may be long and take no room.
    most
        Bytes of a value.
    """

    def __init__(self, store: Store, most: int) -> None:
        super().__init__(store)
        self._most = most

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key; None if there is none.

        Raises
        ------
        OSError
            If they are too many.
        """
        wanted = byte_range or RangeByteRequest(0, self._most + 1)
        if isinstance(wanted, RangeByteRequest):
            wanted = RangeByteRequest(wanted.start, min(wanted.end, wanted.start + self._most + 1))
        found = await self._store.get(key, prototype, wanted)
        if found is not None and len(found) > self._most:
            raise OSError(f"{key} in it is longer than a chunk of {self._most:,} bytes at most")
        return found
