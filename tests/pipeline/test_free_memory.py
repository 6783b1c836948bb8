"""A large region where little memory is free: kept smaller, and said so."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from encoders_factory import TINY_VIT, write_encoder

from napari_sslmaps.pipeline.free_memory import free_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are read from /proc")
_EMBED = """
import logging, resource, sys
import numpy as np
from pathlib import Path
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import DeviceMemoryError
from napari_sslmaps.pipeline.embedding import embed
logging.basicConfig(format="%(message)s")
encoder = load_encoder(sys.argv[1], device="cpu", precision="float32")
pixels = np.random.default_rng(0).integers(0, 255, (2000, 2000), np.uint8)
embed(pixels[:64, :64], encoder)
lines = Path("/proc/self/status").read_text().splitlines()
size = 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmSize:")))
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]), size + int(sys.argv[2])))
try:
    print(type(embed(pixels, encoder, tiling=Tiling(tile=16, overlap=2)).tokens).__name__)
except DeviceMemoryError as error:
    print(f"DeviceMemoryError: {error}")
"""


def embedded_in(folder: Path, spare: int) -> subprocess.CompletedProcess[str]:
    """Embed 250 × 250 tokens of 768 values, 192 MB, with an address space that has so many bytes left."""
    wide = replace(TINY_VIT, dim=768, mlp_hidden=128)
    weights = write_encoder(folder / "tiny.safetensors", architecture=wide)
    command = [sys.executable, "-c", _EMBED, str(weights), str(spare)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)


def test_tokens_are_kept_in_half_where_little_address_space_is_left(tmp_path: Path) -> None:
    ended = embedded_in(tmp_path, 336_000_000)
    assert ended.stdout == "HalfTokens\n"
    assert "the tokens are kept in half precision, in memory." in ended.stderr


def write(folder: Path, name: str, content: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    write(proc, "meminfo", "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    write(proc, "self/status", "VmSize: 1000 kB\n")
    return proc, groups


def test_the_machine_alone_says_what_is_free(machine: tuple[Path, Path]) -> None:
    assert free_memory(*machine) == 8_192_000_000


def test_a_group_of_version_2_and_those_around_it_count(machine: tuple[Path, Path]) -> None:
    proc, groups = machine
    write(proc, "self/cgroup", "0::/box/inner\n")
    write(groups, "box/inner/memory.max", "max\n")
    write(groups, "box/inner/memory.current", "5\n")
    write(groups, "box/memory.max", "500000000\n")
    write(groups, "box/memory.current", "300000000\n")
    write(groups, "box/memory.stat", "anon 1\ninactive_file 100000000\n")
    assert free_memory(proc, groups) == 300_000_000


def test_a_group_of_version_1_counts_and_one_without_a_limit_does_not(machine: tuple[Path, Path]) -> None:
    proc, groups = machine
    write(proc, "self/cgroup", "4:memory:/box\n3:cpu:/\n0::/\n")
    write(groups, "memory/memory.limit_in_bytes", str(2**63 - 4096))
    write(groups, "memory/memory.usage_in_bytes", "7")
    write(groups, "memory/box/memory.limit_in_bytes", "400000000")
    write(groups, "memory/box/memory.usage_in_bytes", "100000000")
    assert free_memory(proc, groups) == 300_000_000


def test_a_system_that_does_not_tell_has_no_limit(tmp_path: Path) -> None:
    assert free_memory(tmp_path / "none", tmp_path / "none") == sys.maxsize
