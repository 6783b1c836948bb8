"""Kinds of files that are no weight files of PyTorch or safetensors, told by their first bytes.

A download that needs a sign-in leaves a web page under the name of the weights, a clone without Git LFS a
pointer, and other libraries have formats of their own.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

from napari_sslmaps.encoders.checkpoint.pickled import is_zip
from napari_sslmaps.errors import CheckpointError

_LOOKED_AT, _MOST_HEADER = 1024, 2**40
_TORCH_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""With which torch.save begins in its old format: its magic number, pickled."""
_AGAIN = "Fetch it again, signed in if its page asks for that."
_UNPACK = "Unpack it, and load the weight file in it."
_CONVERT = "Take its PyTorch version, or convert it with the library that wrote it."
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS, without the weights", "Run git lfs pull there."),
    (b"<?xml", "an XML page, as a refused download leaves it", _AGAIN),
    (b"\x89HDF\r\n\x1a\n", "HDF5, as Keras saves", _CONVERT),
    (b"GGUF", "GGUF, for language models", _CONVERT),
    (b"\x93NUMPY", "an array of NumPy", _CONVERT),
    (b"\x1f\x8b", "packed with gzip", _UNPACK),
    (b"7z\xbc\xaf'\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\xfd7zXZ", "packed with xz", _UNPACK),
    (b"BZh", "packed with bzip2", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", _UNPACK),
    *((start, "an image", "Name the file of an encoder.") for start in (b"\x89PNG", b"\xff\xd8\xff", b"BM")),
    *((start, "an image", "Name the file of an encoder.") for start in (b"II*\0", b"MM\0*")),
)
_SUFFIXES = {
    ".onnx": "ONNX",
    ".msgpack": "msgpack, as Flax saves",
    ".tflite": "TensorFlow Lite",
    ".h5": "HDF5, as Keras saves",
    ".index": "a part of a TensorFlow checkpoint",
}
_IN_ZIPS: tuple[tuple[Callable[[str], bool], str, str], ...] = (
    (
        lambda name: name.endswith("constants.pkl"),
        "TorchScript, which carries code",
        "Load it with torch.jit.load, if you trust it, and save its state_dict.",
    ),
    (
        lambda name: name.endswith(("archive_format", "archive_version")),
        "a program of torch.export",
        _CONVERT,
    ),
    (lambda name: name.endswith(".npy"), "arrays of NumPy, as code for JAX publishes", _CONVERT),
    (bool, "an archive", _UNPACK),
)


def refuse_other_kinds(path: Path) -> None:
    """Refuse a file that is known to be something else; one that is only damaged passes.

    Raises
    ------
    CheckpointError
        If it is; the sentence names it and says what to do.
    """
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < _MOST_HEADER:
        return  # safetensors, whose length of the header can look like anything
    found = _in_zip(path) if is_zip(path) else _kind_of_start(start, path.suffix.lower())
    if found is not None:
        what, then = found
        raise CheckpointError(f"Expected a PyTorch or safetensors file; {path.name} is {what}. {then}")


def _kind_of_start(start: bytes, suffix: str) -> tuple[str, str] | None:
    beginning = start.lstrip()[:15].lower()
    signatures = (
        (not start, "empty", "Fetch it again."),
        *((start.startswith(begin), what, then) for begin, what, then in _STARTS),
        (start[257:262] == b"ustar", "a tar archive", _UNPACK),
        (suffix in _SUFFIXES, _SUFFIXES.get(suffix, ""), _CONVERT),
        (
            beginning.startswith((b"<!doctype html", b"<html")),
            "a web page, as a refused download leaves",
            _AGAIN,
        ),
        (bool(beginning) and all(byte in _PRINTED for byte in start), "text", _AGAIN),
        (_is_foreign_pickle(start), "a pickle that torch.save did not write", _SAVE),
    )
    return next(((what, then) for holds, what, then in signatures if holds), None)


_PRINTED = {*b"\t\r\n", *range(32, 127)}
_SAVE = "Save its weights with torch.save, or as safetensors."


def _is_foreign_pickle(start: bytes) -> bool:
    torchs = start.startswith(_TORCH_PICKLE) or _TORCH_PICKLE.startswith(start)
    return start[:1] == b"\x80" and not torchs


def _in_zip(path: Path) -> tuple[str, str] | None:
    """Say what a zip file is that holds no pickle of torch's; None where it holds one, or is damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    script = any(_IN_ZIPS[0][0](name) for name in names)
    if any(name.endswith("data.pkl") for name in names) and not script:
        return None
    return next(((what, then) for fits, what, then in _IN_ZIPS if any(map(fits, names))), None)
