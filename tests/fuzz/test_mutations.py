"""Whole files with other bytes here and there: read, or refused in a sentence, in little time and memory.

Few here; ``NAPARI_SSLMAPS_FUZZ=1000 pytest tests/fuzz/test_mutations.py`` tries as many of each,
and with ``NAPARI_SSLMAPS_FUZZ_SEED=1`` others.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from bounded import attempt
from encoders_factory import write_encoder
from hostile import grey
from PIL import Image
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")
_SEED = int(os.environ.get("NAPARI_SSLMAPS_FUZZ_SEED", "0"))
_TRIES = int(os.environ.get("NAPARI_SSLMAPS_FUZZ", "4"))
_EXTREMES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\0\0\0\x10")
_HEADER = 1024


def tiff(path: Path) -> None:
    tifffile.imwrite(path, grey(), tile=(32, 32), compression="zlib")


def ome(path: Path) -> None:
    tifffile.imwrite(path, np.stack([grey()] * 3), metadata={"axes": "TYX"}, ome=True)


def npy(path: Path) -> None:
    np.save(path, grey())


def picture(path: Path) -> None:
    Image.fromarray(grey()).save(path)


def safetensors(path: Path) -> None:
    write_encoder(path)


def pickled(path: Path) -> None:
    write_encoder(path.with_suffix(".safetensors"))
    torch.save({"model": load_file(path.with_suffix(".safetensors"))}, path)


def old(path: Path) -> None:
    write_encoder(path.with_suffix(".safetensors"))
    state = {"model": load_file(path.with_suffix(".safetensors"))}
    torch.save(state, path, _use_new_zipfile_serialization=False)


_SEEDS = {
    "a.tif": (tiff, "image"),
    "a.ome.tif": (ome, "image"),
    "a.npy": (npy, "image"),
    **{f"a.{suffix}": (picture, "image") for suffix in ("png", "bmp", "gif", "jpg", "ppm", "webp")},
    "a.safetensors": (safetensors, "weights"),
    "a.pth": (pickled, "weights"),
    "old.pth": (old, "weights"),
}


@pytest.mark.parametrize("name", _SEEDS)
def test_a_file_with_other_bytes_is_read_or_refused(name: str, tmp_path: Path) -> None:
    write, kind = _SEEDS[name]
    path, encoder = tmp_path / name, write_encoder(tmp_path / "encoder.safetensors")
    write(path)
    whole, rng = path.read_bytes(), np.random.default_rng(_SEED)
    for _ in range(_TRIES):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(len(content) if rng.random() < 0.2 else min(len(content), _HEADER)))
            other = _EXTREMES[rng.integers(len(_EXTREMES))] if rng.random() < 0.6 else rng.bytes(1)
            content[place : place + len(other)] = other
        path.write_bytes(content[: rng.integers(len(content))] if rng.random() < 0.1 else content)
        outcome = attempt(kind, path, encoder)
        assert outcome.fine, outcome
