"""What is not an encoder's weight file is refused with a sentence."""

import json
import os

import pytest
import torch
from encoders_factory import TINY_UNET, TINY_VIT, write_encoder
from official import dinov3_state, mae_state
from safetensors.torch import load_file, save_file

from napari_sslmaps.encoders.catalog import NAMES
from napari_sslmaps.encoders.families.registry import architecture_to_dict
from napari_sslmaps.encoders.header import HEADER_KEY
from napari_sslmaps.encoders.registry import get_spec, load_encoder
from napari_sslmaps.errors import (
    CheckpointError,
    EncoderNotFoundError,
    InvalidOptionError,
    WeightsUnavailableError,
)


class Bomb:
    """A pickle that would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_with_code_is_refused_by_name_and_not_run(tmp_path):
    target = tmp_path / "boom"
    torch.save({"model": Bomb(str(target))}, tmp_path / "bomb.pth")
    with pytest.raises(CheckpointError, match=r"mkdir.*refused"):
        load_encoder(tmp_path / "bomb.pth")
    assert not target.exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file(tmp_path, keep, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"model": mae_state()}, path)
    else:
        write_encoder(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match="Fetch it again"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "found none"),
        ({"optimizer": {"state": {}}, "epoch": 3}, "found none. Its keys: optimizer, epoch"),
        ([torch.zeros(3)], "holds a list"),
        ({"transformer.h.0.attn.c_attn.weight": torch.zeros(3, 3)}, "c_attn.weight"),
    ],
    ids=["empty", "optimizer only", "list", "language model"],
)
def test_a_file_of_something_else_lists_its_keys(tmp_path, content, sentence):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=sentence):
        load_encoder(tmp_path / "other.pth")


def test_text_is_no_weight_file(tmp_path):
    path = tmp_path / "notes.pth"
    path.write_text("these are not weights")
    with pytest.raises(CheckpointError, match=r"notes\.pth is text"):
        load_encoder(path)


def test_a_folder_and_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"one weight file in the folder .*; it has none"):
        load_encoder(tmp_path)
    with pytest.raises(WeightsUnavailableError, match="no file at"):
        load_encoder(tmp_path / "missing.pth")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(EncoderNotFoundError, match=", ".join(NAMES)) as caught:
        load_encoder("dinov9")
    assert isinstance(caught.value, KeyError)
    with pytest.raises(EncoderNotFoundError):
        get_spec("dinov9")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop("norm.weight"), "missing norm.weight"),
        (lambda state: state.update({"surprise": torch.zeros(1)}), "not known surprise"),
        (lambda state: state.update({"norm.bias": torch.zeros(7)}), r"norm.bias of shape \(7,\)"),
    ],
)
def test_missing_unknown_and_misshapen_keys_are_listed(tmp_path, change, sentence):
    state = mae_state()
    change(state)
    torch.save({"model": state}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=sentence):
        load_encoder(tmp_path / "odd.pth", method="mae")


def test_rotary_periods_of_another_length_are_refused(tmp_path):
    torch.save(dinov3_state(), tmp_path / "dinov3.pth")
    with pytest.raises(CheckpointError, match=r"rope.periods of shape \(16,\)"):
        load_encoder(tmp_path / "dinov3.pth", num_heads=4)


def test_a_header_of_a_later_version_is_refused(tmp_path):
    path = write_encoder(tmp_path / "later.safetensors")
    header = {"method": "mae", "architecture": {"kind": "vit", "patch": 8, "colour": "red"}}
    save_file(load_file(path), path, metadata={HEADER_KEY: json.dumps(header)})
    with pytest.raises(CheckpointError, match="colour"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("method", "written", "sentence"),
    [
        (
            "mae",
            TINY_UNET,
            "says it holds a U-Net or ResNet encoder, but its keys are those of a transformer",
        ),
        ("dira", TINY_VIT, "says it holds a transformer, but its keys are those of a U-Net"),
    ],
)
def test_a_header_of_another_family_than_the_keys_is_refused(tmp_path, method, written, sentence):
    path = write_encoder(tmp_path / "odd.safetensors", method)
    header = {"method": method, "architecture": architecture_to_dict(written)}
    save_file(load_file(path), path, metadata={HEADER_KEY: json.dumps(header)})
    with pytest.raises(CheckpointError, match=sentence):
        load_encoder(path)


@pytest.mark.parametrize("options", [{"device": "quantum"}, {"precision": "int3"}, {"method": "simclr"}])
def test_impossible_options_name_the_possible_ones(tmp_path, options):
    path = write_encoder(tmp_path / "mae.safetensors")
    with pytest.raises(InvalidOptionError, match="Expected a"):
        load_encoder(path, **options)


def test_a_width_that_suggests_no_head_count_asks_for_it(tmp_path):
    from official import architecture

    from napari_sslmaps.encoders.families.vit_network import build_vit

    network = build_vit(architecture(dim=96, heads=3, mlp_hidden=384))
    torch.save({"model": network.state_dict()}, tmp_path / "narrow.pth")
    with pytest.raises(CheckpointError, match="Pass num_heads"):
        load_encoder(tmp_path / "narrow.pth", method="mae")
    assert load_encoder(tmp_path / "narrow.pth", method="mae", num_heads=3).spec.architecture.heads == 3
