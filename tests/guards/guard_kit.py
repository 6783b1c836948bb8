"""What the guards share: where their data lies, a command line that is run in place, versions held still."""

import importlib.metadata
import json
import lzma
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

DATA = Path(__file__).parent / "data"
FILES = DATA / "files"
MADE_IN = Path("/tmp/guard")  # noqa: S108  # a name in texts, and where make_guards.py works
TIME = 1_700_000_000
"""Last change of every image among the files, in seconds: a batch's key depends on it."""
TINY = {name: f"encoders/tiny-{name}.safetensors" for name in ("mae", "ijepa", "dinov3", "dira")}
SCHEMA_1 = ("--foreground", "all")
"""What was done where nothing was said, when the files were made."""
PLAIN = ("--precision", "float32", "--device", "cpu")
_TEXTS = {".json", ".toml", ".csv"}


def read_data(name: str) -> Any:
    """Read a snapshot."""
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def call(*arguments: object) -> Any:
    """Run a command in this process; what it raises comes through."""
    from napari_sslmaps.cli.commands import app

    return CliRunner().invoke(
        app, [str(part) for part in arguments], prog_name="napari-sslmaps", catch_exceptions=False
    )


def done(*arguments: object) -> str:
    """Run a command that must succeed, and return what it printed."""
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def hold_still(images: Path) -> None:
    """Give all images below a folder the time that keys were made with."""
    for path in images.glob("*.png"):
        os.utime(path, (TIME, TIME))


def copied(folder: Path) -> Path:
    """Copy all files to a folder, as if they had been made there."""
    shutil.copytree(FILES, folder, dirs_exist_ok=True)
    for path in folder.rglob("*"):
        if path.suffix in _TEXTS and path.is_file():
            content = path.read_bytes()
            moved = content.replace(os.fsencode(MADE_IN), os.fsencode(folder))
            if moved != content:
                path.write_bytes(moved)
    for path in [*folder.rglob("*.xz")]:
        path.with_suffix("").write_bytes(unpacked(path))
        path.unlink()
    hold_still(folder)
    return folder


def comparison_of(folder: Path) -> tuple[object, ...]:
    """The command whose finished images are among the files; no twins, which each processor draws anew."""
    return (
        "evaluate", folder / "image.png", folder / "other.png", "-e", folder / TINY["mae"], "-e",
        folder / TINY["dira"], "--masks", folder / "masks", "--classes", "epithelium,stroma", "--labels",
        folder / "labels.csv", "--scores", "maps,anchors,agreement,robustness,probes", "--controls",
        "constant,position,colour",
        "--anchor", "20,30", "--anchor-set", folder / "anchors.json", "--anchors", 8, "--perturbations",
        "blur,rotation", "--figures", 1, *SCHEMA_1, "--out", folder / "comparison", *PLAIN,
    )  # fmt: skip


def batch_of(folder: Path) -> tuple[object, ...]:
    """The command whose outputs are among the files."""
    return (
        "batch", folder / "image.png", "-e", folder / TINY["mae"], "-e", folder / TINY["dira"], "--out",
        folder / "batch", "--workers", 1, "--tile", 6, "--overlap", 2, "--head", 1, "--raw", *SCHEMA_1,
        *PLAIN,
    )  # fmt: skip


def pretext_of(folder: Path, out: Path) -> tuple[object, ...]:
    """The command whose record is among the files."""
    encoders = [part for name in TINY.values() for part in ("-e", folder / name)]
    return ("pretext", folder / "image.png", *encoders, "--out", out, "--ratio", 0.5, "--device", "cpu")


def squeeze(folder: Path) -> None:
    """Pack the checkpoints, half of which is air."""
    for path in [*folder.rglob("*.pt")]:
        path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9))
        path.unlink()


def unpacked(path: Path) -> bytes:
    """Return what was packed."""
    return lzma.decompress(path.read_bytes())


@contextmanager
def held_versions(versions: dict[str, str]) -> Iterator[None]:
    """Say that torch and this package are of the given versions, which are part of some keys."""
    import torch
    from torch.torch_version import TorchVersion

    found = importlib.metadata.distribution

    def distribution(name: str) -> Any:
        return SimpleNamespace(version=versions[name]) if name in versions else found(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "distribution", distribution)
        patch.setattr(torch, "__version__", TorchVersion(versions["torch.__version__"]))
        yield


def spec_of(name: str) -> Any:
    """Return what an encoder of a name is listed as."""
    from napari_sslmaps import list_encoders

    return next(spec for spec in list_encoders() if spec.name == name)


def versions() -> dict[str, str]:
    """Versions of what snapshots depend on."""
    import torch

    names = ("napari-sslmaps", "torch", "numpy", "typer", "rich")
    told = {name: importlib.metadata.version(name) for name in names}
    return {**told, "torch.__version__": str(torch.__version__), "python": platform.python_version()}


def attributes(folder: Path) -> dict[str, Any]:
    """Return what is said of a Zarr folder of ours."""
    told: dict[str, Any] = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    return dict(told["attributes"]["napari_sslmaps"])


def flat_keys(value: Any, within: str = "") -> list[str]:
    """Return the paths of all values of nested dicts and lists, each once; items of lists are ``[]``."""
    if isinstance(value, dict) and value:
        found = [key for name, item in value.items() for key in flat_keys(item, f"{within}.{name}")]
    elif isinstance(value, list) and value:
        found = [key for item in value for key in flat_keys(item, f"{within}[]")]
    else:
        found = [within.lstrip(".")]
    return sorted(set(found))
