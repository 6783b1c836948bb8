"""An installation without the extra ``lab``: what needs it says what to type, and the rest works."""

import subprocess
import sys

import pytest

WITHOUT = (
    "import sys; sys.modules['lightning_fabric'] = None\n"
    "from napari_sslmaps.cli import main; main(sys.argv[1:])"
)


def without_fabric(*arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", ["pretrain", "study"])
def test_what_trains_says_what_to_type(command, tmp_path):
    done = without_fabric(command, "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr == (
        "Error: Expected lightning_fabric, which pretrain and study need; lightning_fabric cannot be found. "
        'Install with: pip install "napari-sslmaps[lab]".\n'
    )
    assert not (tmp_path / "out").exists()


def test_simulators_and_the_list_of_recipes_work(tmp_path):
    out = str(tmp_path / "out")
    simulated = without_fabric("simulate", "ultrasound", "--count", "1", "--size", "32", "--out", out)
    assert simulated.returncode == 0, simulated.stderr
    listed = without_fabric("pretrain", "--list-recipes")
    assert "mae-histology" in listed.stdout
