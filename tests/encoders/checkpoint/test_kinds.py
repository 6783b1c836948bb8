"""Files of other kinds than PyTorch's and safetensors': one sentence names the kind and says what to do."""

import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from napari_sslmaps.encoders.checkpoint.kinds import refuse_other_kinds
from napari_sslmaps.encoders.checkpoint.open import open_weights
from napari_sslmaps.errors import CheckpointError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1213\n"


def zipped(**entries):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in entries.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return content.getvalue()


def arrays():
    content = io.BytesIO()
    np.savez(content, kernel=np.zeros((2, 2)))
    return content.getvalue()


def tar():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        file.addfile(tarfile.TarInfo("weights.pth"))
    return content.getvalue()


KINDS = {
    "model.safetensors": (POINTER, "a pointer of Git LFS, without the weights. Run git lfs pull"),
    "pytorch_model.bin": (POINTER, "a pointer of Git LFS"),
    "page.pth": (b"\n<!DOCTYPE html><html>", "a web page, as a refused download leaves. Fetch it again"),
    "denied.pth": (b'<?xml version="1.0"?><Error>', "an XML page"),
    "error.pth": (b'{"error": "Invalid username"}', "text. Fetch it again"),
    "empty.pth": (b"", "empty. Fetch it again"),
    "script.pt": (
        zipped(m__data_dot_pkl=b"", m__constants_dot_pkl=b""),
        "TorchScript, which carries code. Load it with torch.jit.load",
    ),
    "program.pt2": (zipped(m__archive_format=b"pt2"), "a program of torch.export"),
    "ViT-B_16.npz": (arrays(), "arrays of NumPy, as code for JAX publishes"),
    "array.npy": (b"\x93NUMPY\x01", "an array of NumPy"),
    "packed.zip": (zipped(model_dot_safetensors=b"x"), "an archive. Unpack it"),
    "packed.pth.tar": (tar(), "a tar archive. Unpack it"),
    "packed.gz": (b"\x1f\x8b\x08", "packed with gzip"),
    "keras.weights": (b"\x89HDF\r\n\x1a\n", "HDF5, as Keras saves. Take its PyTorch version"),
    "model.onnx": (b"\x08\x07\x12\x07pytorch", "ONNX"),
    "flax_model.msgpack": (b"\x81\xa6params", "msgpack, as Flax saves"),
    "slide.tif": (b"II*\0", "an image. Name the file of an encoder"),
    "weights.pkl": (pickle.dumps({"a": 1}), "a pickle that torch.save did not write. Save its weights"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_another_kind_is_named(tmp_path, name):
    content, sentence = KINDS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"a PyTorch or safetensors file; {name} is {sentence}"):
        open_weights(tmp_path / name)


@pytest.mark.parametrize("length", [0x80, 0x4D42, 0x8B1F, 0x2A4949])
def test_the_length_of_a_header_looks_like_nothing_else(tmp_path, length):
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{" + b" " * 3_000_000)
    refuse_other_kinds(tmp_path / "model.safetensors")


@pytest.mark.parametrize("old", [True, False])
def test_what_torch_saves_passes_also_when_it_is_cut(tmp_path, old):
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(9)}, path, _use_new_zipfile_serialization=not old)
    whole = path.read_bytes()
    for keep in (5, 40, len(whole)):
        path.write_bytes(whole[:keep])
        refuse_other_kinds(path)
