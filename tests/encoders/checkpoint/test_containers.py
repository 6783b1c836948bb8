"""Every container that weights come in gives the same network, and little of it ever lies in memory twice."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from definitions import HEADS
from official import architecture, mae_state
from safetensors.torch import save_file
from torch.distributed import checkpoint as distributed
from torch.distributed.checkpoint import format_utils

from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint, read_checkpoint
from napari_sslmaps.encoders.families.vit_network import build_vit
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.errors import CheckpointError, WeightsUnavailableError

MAE = Overrides(method="mae", num_heads=HEADS)


@pytest.fixture
def weights():
    return mae_state(decoder=True)


def shard(folder, weights, *, suffix):
    """Write weights in three files and the index that says what lies where, as large models come."""
    names = sorted(weights)
    index = "model.safetensors.index.json" if suffix == "safetensors" else "pytorch_model.bin.index.json"
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    places = {}
    for number in range(3):
        part = {name: weights[name] for name in names[number::3]}
        file = f"{stem}-{number + 1:05}-of-00003.{suffix}"
        if suffix == "safetensors":
            save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return folder


def save_distributed(folder, content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distributed.save(content, checkpoint_id=folder, no_dist=True)
    return folder


def write(folder, container, weights):
    """Write weights in a container; return what a user may name of it."""
    folder.mkdir()
    if container in {"safetensors", "bin"}:
        shard(folder, weights, suffix=container)
        return [folder, next(folder.glob("*-00002-*")), next(folder.glob("*.index.json"))]
    if container == "distcp":
        content = {"model": {"teacher": {"backbone": weights}, "student": {"backbone": weights}}}
        content |= {"iteration": 7, "optimizer": {"state": {"exp_avg": torch.zeros(3)}}}
        save_distributed(folder, content)
        return [folder, next(folder.glob("*.distcp")), folder / ".metadata"]
    file = folder / container
    if container.endswith(".safetensors"):
        save_file(weights, file)
    else:
        torch.save({"model": weights}, file, _use_new_zipfile_serialization=container != "old.pth")
    return [folder, file]


@pytest.mark.parametrize(
    "container",
    [
        "a.pth",
        "a.pt",
        "a.bin",
        "a.ckpt",
        "a.pth.tar",
        "old.pth",
        "a.safetensors",
        "safetensors",
        "bin",
        "distcp",
    ],
)
def test_every_container_gives_the_same_network(tmp_path, weights, container):
    for path in write(tmp_path / "weights", container, weights):
        checkpoint = read_checkpoint(path, MAE)
        for name, tensor in checkpoint.network.state_dict().items():
            assert torch.equal(tensor, weights[name])
        assert all(not value.requires_grad for value in checkpoint.network.parameters())
        assert set(checkpoint.report.companions) == {"decoder", "mask token"}


def test_wrong_suffixes_do_not_matter(tmp_path, weights):
    torch.save({"model": weights}, tmp_path / "pickle.safetensors")
    save_file(weights, tmp_path / "safe.pth")
    for name in ("pickle.safetensors", "safe.pth"):
        assert inspect_checkpoint(tmp_path / name, MAE).method == "mae"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_other_precisions_become_float32_once(tmp_path, weights, dtype, suffix):
    stored = {name: tensor.to(dtype) for name, tensor in weights.items()}
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(stored, path)
    else:
        save_file(stored, path)
    network = read_checkpoint(path, MAE).network
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, stored[name].float())


def test_a_shard_that_is_missing_is_named(tmp_path, weights):
    folder = shard(tmp_path, weights, suffix="safetensors")
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(WeightsUnavailableError, match="model-00002-of-00003"):
        inspect_checkpoint(folder, MAE)


def test_a_shard_without_what_the_index_promises_is_refused(tmp_path, weights):
    folder = shard(tmp_path, weights, suffix="safetensors")
    save_file({"other": torch.zeros(1)}, folder / "model-00002-of-00003.safetensors")
    with pytest.raises(CheckpointError, match="are missing, the first"):
        inspect_checkpoint(folder, MAE)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": {}}'])
def test_a_damaged_index_is_named(tmp_path, weights, text):
    folder = shard(tmp_path, weights, suffix="safetensors")
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        inspect_checkpoint(folder, MAE)


def test_a_folder_of_several_files_asks_for_one(tmp_path, weights):
    for name in ("first.pth", "second.pth"):
        torch.save(weights, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"it has 2: first\.pth, second\.pth\. Name the one"):
        inspect_checkpoint(tmp_path, MAE)
    assert inspect_checkpoint(tmp_path / "second.pth", MAE).path.endswith("second.pth")


def test_a_distributed_folder_is_what_torchs_own_converter_makes_of_it(tmp_path, weights):
    content = {"model": {"teacher": {"backbone": weights}}, "iteration": 5}
    folder = save_distributed(tmp_path / "step", content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        format_utils.dcp_to_torch_save(folder, tmp_path / "converted.pth")
    converted = torch.load(tmp_path / "converted.pth", weights_only=True)["model"]["teacher"]["backbone"]
    network = read_checkpoint(folder, MAE).network
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, converted[name])


def test_the_branch_of_a_distributed_folder_can_be_chosen(tmp_path, weights):
    student = {name: tensor + 1 for name, tensor in weights.items()}
    content = {"model": {"teacher": {"backbone": weights}, "student": {"backbone": student}}}
    folder = save_distributed(tmp_path / "step", content)
    chosen = Overrides(method="mae", num_heads=HEADS, branch="encoder")
    network = read_checkpoint(folder, chosen).network
    assert torch.equal(network.norm.bias, student["norm.bias"])


def test_tensors_in_several_chunks_are_put_together(tmp_path, weights):
    """As FSDP writes them, rows of one tensor by several processes; here, by hand."""
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import (
        ChunkStorageMetadata,
        Metadata,
        MetadataIndex,
        TensorProperties,
        TensorStorageMetadata,
    )

    entries, places = {}, {}
    for rank in (0, 1):
        with (tmp_path / f"__{rank}_0.distcp").open("wb") as file:
            for name, tensor in weights.items():
                half = (len(tensor) + 1) // 2
                rows = tensor[:half] if rank == 0 else tensor[half:]
                offset = torch.Size([rank * half] + [0] * (tensor.ndim - 1))
                if len(rows) == 0:
                    continue
                start = file.tell()
                torch.save(rows.clone(), file)
                place = _StorageInfo(f"__{rank}_0.distcp", start, file.tell() - start)
                places[MetadataIndex(name, offset, rank)] = place
                entry = entries.setdefault(
                    name, TensorStorageMetadata(TensorProperties(tensor.dtype), tensor.shape, [])
                )
                entry.chunks.append(ChunkStorageMetadata(offset, rows.shape))
    import pickle

    (tmp_path / ".metadata").write_bytes(pickle.dumps(Metadata(entries, storage_data=places)))
    network = read_checkpoint(tmp_path, MAE).network
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, weights[name])
    (tmp_path / "__1_0.distcp").unlink()
    with pytest.raises(WeightsUnavailableError, match="__1_0"):
        read_checkpoint(tmp_path, MAE)


def test_no_file_lies_in_memory_twice(tmp_path, weights):
    """200 MB around a small encoder take nothing; an encoder of 100 MB takes its 100 MB once."""
    state = {index: {"exp_avg": torch.zeros(5_000_000)} for index in range(10)}
    large = tmp_path / "training.pth"
    torch.save({"model": weights, "optimizer": {"state": state, "param_groups": []}}, large)
    with torch.device("meta"):
        empty = build_vit(architecture(dim=1024, depth=2, heads=16, mlp_hidden=4096)).state_dict()
    wide = {name: torch.zeros(tensor.shape) for name, tensor in empty.items()}
    save_file(wide, tmp_path / "wide.safetensors")
    torch.save({"model": wide}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    paths = [tmp_path / "wide.safetensors", large, tmp_path / "wide.safetensors", tmp_path / "old.pth"]
    assert large.stat().st_size > 200e6
    script = Path(__file__).with_name("read_and_measure.py")
    run = subprocess.run([sys.executable, script, *paths], capture_output=True, text=True, check=True)
    risen = json.loads(run.stdout)
    size = paths[2].stat().st_size / 2**20
    assert risen["training.pth"] < 40
    assert risen["64 MB"] in range(60, 70), "what is measured is memory"
    assert risen["wide.safetensors"] < 1.5 * size
    assert risen["old.pth"] < 1.5 * size
    shutil.rmtree(tmp_path)
