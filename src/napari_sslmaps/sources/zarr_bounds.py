"""Chunks of zarr that unpack to no more than they say: a small one could fill the memory."""

import asyncio
import struct
import zlib
from dataclasses import replace
from math import prod
from typing import Any

import imagecodecs
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer

_MORE = 2**20
"""What an unpacked chunk may have beyond its pixels: an index, a checksum, or what packing of noise adds."""


def bounded(array: Any) -> Any:
    """Return an array whose chunks are refused where they would unpack to more than they have to.

    Its codecs are those of zarr; in zarr 2, and with other codecs, it is returned as it is.
    """
    codecs = getattr(array.metadata, "codecs", None)
    if codecs is None:
        return array
    metadata = replace(array.metadata, codecs=tuple(map(_bounded, codecs)))
    inner = array.async_array
    return zarr.Array(type(inner)(metadata=metadata, store_path=inner.store_path))


def _bounded(codec: Any) -> Any:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=tuple(map(_bounded, codec.codecs)))
    kind = _BOUNDED.get(type(codec))
    if kind is None:
        return codec
    made: Any = object.__new__(kind)
    made.__dict__.update(codec.__dict__)
    return made


def _most(spec: ArraySpec) -> int:
    return prod(spec.shape) * int(spec.dtype.to_native_dtype().itemsize) + _MORE


def _check(unpacked: int, spec: ArraySpec) -> None:
    if unpacked > _most(spec):
        raise ValueError(f"a chunk that should have {_most(spec) - _MORE:,} bytes unpacks to {unpacked:,}")


def _gunzipped(content: bytes, spec: ArraySpec) -> bytes:
    found: list[bytes] = []
    while content:  # members follow each other
        unpacking = zlib.decompressobj(wbits=31)
        found.append(unpacking.decompress(content, _most(spec) + 1))
        _check(sum(map(len, found)), spec)
        if not unpacking.eof:
            raise ValueError("a chunk ends too early")
        content = unpacking.unused_data
    return b"".join(found)


class _Gzip(GzipCodec):
    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        found = await asyncio.to_thread(_gunzipped, chunk_bytes.to_bytes(), chunk_spec)
        return chunk_spec.prototype.buffer.from_bytes(found)


class _Blosc(BloscCodec):
    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        content = chunk_bytes.to_bytes()
        _check(struct.unpack_from("<I", content, 4)[0] if len(content) >= 16 else 0, chunk_spec)
        return await super()._decode_single(chunk_bytes, chunk_spec)


class _Zstd(ZstdCodec):
    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        found = await asyncio.to_thread(
            imagecodecs.zstd_decode, chunk_bytes.to_bytes(), out=_most(chunk_spec)
        )
        return chunk_spec.prototype.buffer.from_bytes(found)


_BOUNDED: dict[type, type] = {GzipCodec: _Gzip, BloscCodec: _Blosc, ZstdCodec: _Zstd}
