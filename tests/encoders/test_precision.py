"""What ``auto`` takes: a rule of device, processor and network, the same in every process."""

import time

import pytest
import torch
from encoders_factory import write_encoder

from napari_sslmaps.encoders import encoder as running
from napari_sslmaps.encoders.registry import load_encoder


@pytest.fixture
def flags(monkeypatch):
    def have(*names):
        monkeypatch.setattr(running, "_processor_flags", lambda: frozenset(names))

    return have


def test_no_clock_decides(tmp_path, flags, monkeypatch):
    flags("avx512_bf16")
    monkeypatch.setattr(running, "_WIDE", 1)
    path = write_encoder(tmp_path / "tiny.safetensors")
    expected = load_encoder(path, device="cpu").precision
    clock = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock) ** 2))
    assert {load_encoder(path, device="cpu").precision for _ in range(3)} == {expected} == {"bfloat16"}


def test_small_networks_and_plain_processors_keep_single_precision(tmp_path, flags, monkeypatch):
    path = write_encoder(tmp_path / "tiny.safetensors")
    flags("amx_bf16")
    assert load_encoder(path, device="cpu").precision == "float32"
    monkeypatch.setattr(running, "_WIDE", 1)
    flags("avx2", "avx512f")
    assert load_encoder(path, device="cpu").precision == "float32"


def test_tokens_that_would_change_keep_single_precision(tmp_path, flags, monkeypatch):
    flags("amx_bf16")
    monkeypatch.setattr(running, "_WIDE", 1)
    monkeypatch.setattr(running, "_SAME", 2.0)
    path = write_encoder(tmp_path / "tiny.safetensors")
    assert load_encoder(path, device="cpu").precision == "float32"


@pytest.mark.parametrize(
    ("capability", "half"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), None)]
)
def test_gpus_take_what_they_are_built_for(capability, half, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert running.half_of("cuda:0") == half
    assert running.half_of("mps") is None
