"""Damaged, dangerous and mistaken files are refused with a sentence, and what was loaded before stays."""

import argparse
import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from definitions import HEADS
from encoders_factory import write_encoder
from official import mae_state
from safetensors import safe_open
from safetensors.torch import save_file
from torch.distributed import checkpoint as distributed

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint, read_checkpoint, read_pretext_heads
from napari_sslmaps.encoders.header import HEADER_KEY
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, InvalidOptionError, WeightsUnavailableError

MAE = Overrides(method="mae", num_heads=HEADS)


class Bomb:
    """What would make a folder when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def save(path, content, **options):
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("keep", [0, 1, 4, 9, 100, 0.3, 0.9, 0.999])
def test_truncated_pickles(tmp_path, keep, old):
    path = save(tmp_path / "cut.pth", {"model": mae_state()}, _use_new_zipfile_serialization=not old)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    for read in (inspect_checkpoint, read_checkpoint, read_pretext_heads):
        with pytest.raises(CheckpointError, match=r"cut\.pth.*Fetch it again"):
            read(path, MAE)


@pytest.mark.parametrize("keep", [0, 1, 8, 9, 100, 0.3, 0.999])
@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth"])
def test_truncated_safetensors_whatever_their_suffix(tmp_path, keep, name):
    path = tmp_path / name
    save_file(mae_state(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match="Fetch it again"):
        read_checkpoint(path, MAE)


def test_bytes_flipped_in_the_middle_of_a_safetensors_header(tmp_path):
    path = tmp_path / "flipped.safetensors"
    save_file(mae_state(), path)
    content = bytearray(path.read_bytes())
    content[40:60] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="Fetch it again"):
        read_checkpoint(path, MAE)


def test_a_safetensors_header_that_promises_more_than_there_is(tmp_path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)
    with pytest.raises(CheckpointError, match="Fetch it again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "found none"),
        ({"model": {}}, "found none. Its keys: model"),
        (
            {"optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}, "epoch": 3},
            "Its keys: optimizer, epoch",
        ),
        ({"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{}]}, "Its keys: state, param_groups"),
        ([torch.zeros(3)], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({"format": 2, "recipe": {}, "objective": {}}, r"Load the encoder\.safetensors beside it"),
        ({"wte.weight": torch.zeros(9, 4), "h.0.attn.c_attn.weight": torch.zeros(3, 3)}, r"c_attn\.weight"),
        ({"model.embed_tokens.weight": torch.zeros(9, 4), "lm_head.weight": torch.zeros(9, 4)}, "lm_head"),
        ({"vit.embeddings.patch_embeddings.projection.weight": torch.zeros(4, 3, 8, 8)}, r"Put config\.json"),
    ],
    ids=[
        "empty",
        "empty inside",
        "optimizer",
        "bare optimizer",
        "list",
        "tensor",
        "own training",
        "gpt",
        "llama",
        "no config",
    ],
)
def test_something_else_is_named(tmp_path, content, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        inspect_checkpoint(save(tmp_path / "else.pth", content))


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("place", ["model", "optimizer", "args"])
def test_a_pickle_that_wants_to_run_something_is_refused_by_name(tmp_path, place, old):
    target = tmp_path / "boom"
    content = {"model": mae_state()} | {place: Bomb(target)}
    path = save(tmp_path / "bomb.pth", content, _use_new_zipfile_serialization=not old)
    for read in (inspect_checkpoint, read_checkpoint, read_pretext_heads):
        with pytest.raises(CheckpointError, match=r"asks to run or build '\w+\.mkdir', which is refused"):
            read(path, MAE)
    assert not target.exists()


def test_classes_beyond_the_short_list_are_refused_by_name(tmp_path):
    path = save(tmp_path / "own.pth", {"model": mae_state(), "config": pickle.PickleBuffer})
    with pytest.raises(CheckpointError, match="PickleBuffer"):
        inspect_checkpoint(path, MAE)


def test_data_of_a_training_is_no_code(tmp_path):
    extra = {
        "args": argparse.Namespace(lr=1e-3, output=tmp_path),
        "loss": np.float64(0.5),
        "best": np.zeros(2),
    }
    path = save(tmp_path / "training.pth", {"model": mae_state()} | extra)
    report = inspect_checkpoint(path, MAE)
    assert {name for name, why in report.left_out.items() if why == "state of the training"} == set(extra)


POSIX = f"c{Path.__module__}\nPosixPath\n".encode()
"""What a pickle calls a path here."""


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"),
        (POSIX, b"cpathlib._local\nPosixPath\n"),
        (POSIX, b"cpathlib\nPosixPath\n"),
        (POSIX, b"cpathlib\nWindowsPath\n"),
    ],
    ids=["numpy 1", "Python 3.13", "Python 3.12", "Windows"],
)
def test_data_pickled_by_other_versions_and_systems_is_data(tmp_path, new, old):
    """Only the name of the builder differs, which is put into the pickle by hand."""
    content = {"model": mae_state(), "best": np.zeros(2), "loss": np.float64(0.5), "out": tmp_path}
    written = save(tmp_path / "new.pth", content)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(tmp_path / "old.pth", "w") as target:
        for member in source.infolist():
            data = source.read(member)
            if member.filename.endswith("data.pkl"):
                assert new in data
                data = data.replace(new, old)
            target.writestr(member, data)
    assert inspect_checkpoint(tmp_path / "old.pth", MAE).method == "mae"


@pytest.mark.parametrize("spoil", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, spoil):
    state = mae_state()
    state["blocks.1.mlp.fc2.weight"][3, 4] = spoil
    with pytest.raises(CheckpointError, match=r"blocks\.1\.mlp\.fc2\.weight in nan\.pth has values"):
        read_checkpoint(save(tmp_path / "nan.pth", {"model": state}), MAE)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = save(tmp_path / "secret.pth", {"model": mae_state()})

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    # root reads everything, so the system's refusal is played
    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(WeightsUnavailableError, match="the system refuses"):
        inspect_checkpoint(path, MAE)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WeightsUnavailableError, match="there is none at"):
        inspect_checkpoint(tmp_path / "missing.pth")


def test_a_folder_without_weights(tmp_path):
    (tmp_path / "notes.txt").write_text("no weights here")
    with pytest.raises(CheckpointError, match="it has none"):
        inspect_checkpoint(tmp_path)


def test_a_folder_with_a_damaged_config(tmp_path):
    save_file(mae_state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"Expected JSON in .*config\.json"):
        inspect_checkpoint(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_metadata_of_a_distributed_folder_run_nothing(tmp_path):
    distributed.save({"model": mae_state()}, checkpoint_id=tmp_path, no_dist=True)
    target = tmp_path / "boom"
    (tmp_path / ".metadata").write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(CheckpointError, match=r"asks to run or build '\w+\.mkdir', which is refused"):
        read_checkpoint(tmp_path, MAE)
    assert not target.exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"a": 1})])
def test_damaged_metadata_of_a_distributed_folder(tmp_path, content):
    distributed.save({"model": mae_state()}, checkpoint_id=tmp_path, no_dist=True)
    (tmp_path / ".metadata").write_bytes(content)
    with pytest.raises(CheckpointError, match="Expected a list of shards"):
        read_checkpoint(tmp_path, MAE)


@pytest.mark.filterwarnings("ignore")
def test_a_shard_that_is_cut_or_runs_code(tmp_path):
    distributed.save({"model": mae_state()}, checkpoint_id=tmp_path, no_dist=True)
    shard = next(tmp_path.glob("*.distcp"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="Fetch it again"):
        read_checkpoint(tmp_path, MAE)
    shard.write_bytes(pickle.dumps(Bomb(tmp_path / "boom")) * 4000)
    with pytest.raises(CheckpointError, match="damaged or something else"):
        read_checkpoint(tmp_path, MAE)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"method": "dira"}, "which is a transformer; got 'dira'"),
        ({"num_heads": 5}, "divides the width 128; got 5"),
        ({"branch": "encoder"}, "Leave the branch out"),
    ],
)
def test_corrections_that_do_not_fit_are_refused(tmp_path, overrides, sentence):
    path = save(tmp_path / "mae.pth", {"model": mae_state()})
    with pytest.raises(InvalidOptionError, match=sentence):
        inspect_checkpoint(path, Overrides.of(overrides))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            {"method": "ijepa"},
            "You gave the method ijepa; the file speaks for mae: a decoder beside the encoder",
        ),
        ({"token_stage": "encoder.layer2"}, "You gave token_stage, which means nothing to a transformer"),
    ],
)
def test_corrections_that_may_be_mistaken_are_doubted(tmp_path, overrides, sentence):
    path = save(tmp_path / "mae.pth", {"model": mae_state(decoder=True)})
    assert any(sentence in doubt for doubt in inspect_checkpoint(path, Overrides.of(overrides)).ambiguous)


def test_heads_and_epsilon_mean_nothing_to_a_unet(tmp_path):
    path = write_encoder(tmp_path / "dira.safetensors", "dira")
    doubts = inspect_checkpoint(path, Overrides(num_heads=4, eps=1e-5)).ambiguous
    assert [doubt.split(",")[0] for doubt in doubts] == ["You gave num_heads", "You gave eps"]


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("patch_embed.proj.weight", (128, 4, 16, 16), "three channels, or one"),
        ("patch_embed.proj.weight", (128, 3, 16, 8), "square patches"),
        ("patch_embed.proj.weight", (128, 3, 2, 16, 16), "square patches"),
        ("pos_embed", (1, 12, 128), "square grid of tokens; the file has 12"),
    ],
)
def test_networks_for_other_images_are_refused(tmp_path, name, shape, sentence):
    content = {"model": mae_state() | {name: torch.zeros(shape)}}
    with pytest.raises(CheckpointError, match=sentence):
        inspect_checkpoint(save(tmp_path / "other.pth", content), MAE)


def test_what_was_loaded_before_stays(tmp_path):
    good = load_encoder(save(tmp_path / "good.pth", {"model": mae_state()}), device="cpu", num_heads=HEADS)
    image = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    before = good.encode(image).tokens
    bad = tmp_path / "bad.pth"
    bad.write_bytes((tmp_path / "good.pth").read_bytes()[:5000])
    with pytest.raises(CheckpointError):
        load_encoder(bad)
    (tmp_path / "good.pth").unlink()
    assert torch.equal(good.encode(image).tokens, before)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("no json", "Fetch it again"),
        ("[]", "Fetch it again"),
        (json.dumps({"method": "simclr"}), "says 'simclr'. Update napari-sslmaps"),
        (json.dumps({"method": "mae", "architecture": {"kind": "vit"}}), "patch is missing"),
        ("[" * 100_000 + "]" * 100_000, "Fetch it again"),
        (json.dumps({"method": ["mae"], "licence": 3}), "method, licence of them are something else"),
        (json.dumps({"normalisation": {"mean": 1}}), "normalisation of them are something else"),
    ],
)
def test_a_header_of_ours_that_makes_no_sense(tmp_path, header, sentence):
    path = tmp_path / "odd.safetensors"
    save_file(mae_state(), path, metadata={HEADER_KEY: header})
    with pytest.raises(CheckpointError, match=sentence):
        inspect_checkpoint(path)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("depth", 10**9, "says depth 1000000000 instead of 2"),
        ("depth", 1, "says depth 1 instead of 2"),
        ("dim", 10**12, "says dim 1000000000000 instead of 32"),
        ("patch", 0, "says patch 0 instead of 8"),
        ("patch", -8, "says patch -8 instead of 8"),
        ("grid", [10**9, 10**9], "says positions 1000000000000000000 instead of 17"),
        ("grid", "large", "grid should be"),
        ("eps", "small", "eps should be"),
        ("registers", True, "registers should be"),
        ("rope", True, "says rope True instead of False"),
    ],
)
def test_metadata_of_ours_that_the_tensors_contradict(tmp_path, field, value, sentence):
    path = rewritten(write_encoder(tmp_path / "own.safetensors"), field, value)
    for read in (inspect_checkpoint, read_checkpoint):
        with pytest.raises(CheckpointError, match=sentence):
            read(path)


@pytest.mark.parametrize(("field", "value"), [("heads", 0), ("heads", 3), ("eps", 0.0), ("eps", -1.0)])
def test_metadata_of_ours_that_no_network_can_have(tmp_path, field, value):
    path = rewritten(write_encoder(tmp_path / "own.safetensors"), field, value)
    with pytest.raises(InvalidOptionError, match="Expected a"):
        inspect_checkpoint(path)


@pytest.mark.parametrize("field", ["layers", "stage_channels", "decoder_channels"])
def test_metadata_of_a_unet_that_its_tensors_contradict(tmp_path, field):
    path = rewritten(write_encoder(tmp_path / "own.safetensors", "dira"), field, [10**9] * 4)
    with pytest.raises(CheckpointError, match=rf"says {field} \(1000000000, .* instead of"):
        inspect_checkpoint(path)


def rewritten(path, field, value):
    """Put another value into the architecture that a file's metadata describe."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()[HEADER_KEY])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    header["architecture"][field] = value
    save_file(tensors, path, metadata={HEADER_KEY: json.dumps(header)})
    return path


@pytest.mark.parametrize("number", [10**9, 10**17, 7])
def test_one_block_of_a_number_far_above_the_others(tmp_path, number):
    state = mae_state() | {f"blocks.{number}.norm1.weight": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"there are 3 of them, and blocks\.2 is missing"):
        inspect_checkpoint(save(tmp_path / "w.pth", {"model": state}), MAE)


def test_one_number_spread_over_a_tensor_larger_than_the_file(tmp_path):
    state = mae_state() | {"pos_embed": torch.zeros(1).expand(1, 10**6, 128)}
    with pytest.raises(CheckpointError, match=r"claim 0\.5.* GB, and it has 0\.00"):
        inspect_checkpoint(save(tmp_path / "w.pth", {"model": state}), MAE)


@pytest.mark.filterwarnings("ignore:(Sparse|Validating sparse)")
@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (torch.zeros(2, 2).to_sparse(), "stored as torch.sparse_coo"),
        (torch.zeros(2, 2, device="meta"), "on the device meta"),
    ],
)
def test_tensors_that_are_no_plain_numbers(tmp_path, odd, words):
    path = save(tmp_path / "w.pth", {"model": mae_state() | {"blocks.0.norm1.weight": odd}})
    with pytest.raises(CheckpointError, match=words):
        inspect_checkpoint(path, MAE)


def test_a_weight_file_that_unpacks_to_far_more_than_it_is(tmp_path):
    path = save(tmp_path / "w.pth", {"model": mae_state()})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data/zeros", bytes(50_000_000))
    with pytest.raises(CheckpointError, match=r"unpacks to 0\.05"):
        inspect_checkpoint(path, MAE)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsUnavailableError, match="is a named pipe"):
        inspect_checkpoint(tmp_path / name)


@pytest.mark.parametrize("places", [[], 3, {"cls_token": 3}, {}])
def test_an_index_that_names_no_shards(tmp_path, places):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(CheckpointError, match="names the shard of each tensor"):
        inspect_checkpoint(tmp_path)


def test_a_method_of_a_later_version_can_be_named_otherwise(tmp_path):
    path = tmp_path / "later.safetensors"
    save_file(mae_state(), path, metadata={HEADER_KEY: json.dumps({"method": "simclr"})})
    assert inspect_checkpoint(path, MAE).method == "mae"


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused(tmp_path, dtype):
    state = mae_state()
    state["blocks.0.mlp.fc1.weight"] = state["blocks.0.mlp.fc1.weight"].to(dtype)
    with pytest.raises(
        CheckpointError, match=r"blocks\.0\.mlp\.fc1\.weight in small\.pth is torch\..*quantised"
    ):
        read_checkpoint(save(tmp_path / "small.pth", {"model": state}), MAE)


def test_the_same_weight_with_and_without_a_wrapper_is_refused(tmp_path):
    state = mae_state()
    content = state | {f"module.{name}": value for name, value in state.items()}
    with pytest.raises(CheckpointError, match="Expected each weight once"):
        inspect_checkpoint(save(tmp_path / "twice.pth", content), MAE)


def test_a_pickle_that_contains_itself_many_times(tmp_path):
    content = {"model": mae_state()}
    for index in range(20):
        content[f"again {index}"] = content
    assert inspect_checkpoint(save(tmp_path / "circle.pth", content), MAE).method == "mae"


def test_an_old_file_whose_list_of_storages_was_damaged(tmp_path):
    path = save(tmp_path / "old.pth", {"model": mae_state()}, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    number = next(found for found in re.findall(rb"\d{12,16}", content) if content.count(found) > 1)
    last = content.rindex(number)
    path.write_bytes(content[:last] + b"1" * len(number) + content[last + len(number) :])
    with pytest.raises(CheckpointError, match="is damaged or something else"):
        read_checkpoint(path, MAE)
