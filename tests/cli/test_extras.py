"""An installation without the extras: what needs one says what to type, and the rest works."""

import subprocess
import sys
from pathlib import Path

import pytest

from napari_sslmaps.extras import EXTRAS

COMMANDS = {
    "batch": ("batch", "IMAGE", "-e", "mae-demo", "--out", "OUT"),
    "search": ("index", "OUT"),
    "readers": ("readers", "report", "OUT"),
    "lab": ("pretrain", "--out", "OUT"),
}


def without(extra: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where the packages of an extra, and what comes with them, cannot be imported."""
    gone = [*EXTRAS[extra].needed, *(["dask"] if extra == "batch" else [])]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({gone}))\n"
        "from napari_sslmaps.cli import main; main(sys.argv[1:])"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("extra", COMMANDS)
def test_what_needs_an_extra_says_what_to_type(extra: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    typed = [{"OUT": str(out), "IMAGE": "sample:histology"}.get(word, word) for word in COMMANDS[extra]]
    done = without(extra, *typed)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: Expected {' and '.join(EXTRAS[extra].needed)}, which ")
    assert f'pip install "napari-sslmaps[{extra}]"' in done.stderr
    assert f'pip install -e ".[{extra}]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


def test_simulators_and_the_list_of_recipes_work(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    simulated = without("lab", "simulate", "ultrasound", "--count", "1", "--size", "32", "--out", out)
    assert simulated.returncode == 0, simulated.stderr
    listed = without("lab", "pretrain", "--list-recipes")
    assert "mae-histology" in listed.stdout
