"""Ctrl-C in a terminal ends every long command by saying so, whenever it is pressed."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from encoders_factory import write_encoder
from PIL import Image

from napari_sslmaps.batch.run import run_batch
from napari_sslmaps.batch.tasks import BatchOptions, choose_encoder
from napari_sslmaps.cli import console
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.search.index import build_index

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
_START = """
import signal, sys
from napari_sslmaps.cli.commands import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
print(flush=True)
main(sys.argv[1:])
"""
_SECONDS = 2.0
_LONG = {
    "pretrain": ("--recipe", "mae-histology", "--steps", "100000", "-o", "{out}"),
    "pretext": ("sample:histology", "-e", "mae-histology", "-o", "{out}"),
    "evaluate": ("sample:histology", "--controls", "all", "-o", "{out}"),
    "study": ("-o", "{out}", "--minutes", "10", "--device", "cpu", "-q"),
    "readers": ("new", "{images}", "-e", "{weights}", "--maps", "attention", "--reader", "a", "-o", "{out}"),
    "index": ("{store}",),
    "search": ("{indexed}", "--like", "image0.png@8,8"),
    "run": ("{image}", "-e", "{weights}", "-o", "{out}"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("interrupts")
    images = folder / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (256, 256, 3), np.uint8)).save(images / f"image{number}.png")
    weights = write_encoder(folder / "tiny.safetensors")
    options = BatchOptions(RunOptions(device="cpu", precision="float32"))
    run_batch([images], [choose_encoder(str(weights))], folder / "store", options=options)
    shutil.copytree(folder / "store", folder / "indexed")
    build_index(folder / "indexed")
    return {
        "images": images,
        "image": images / "image0.png",
        "weights": weights,
        "store": folder / "store",
        "indexed": folder / "indexed",
    }


@pytest.mark.parametrize("command", _LONG)
def test_ctrl_c_says_stopped(command: str, places: dict[str, Path], tmp_path: Path) -> None:
    named = {**places, "out": tmp_path / "out"}
    arguments = [part.format_map(named) for part in _LONG[command]]
    with subprocess.Popen(
        [sys.executable, "-c", _START, command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(_SECONDS)
            os.killpg(process.pid, signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert "Traceback" not in said, said
    if process.returncode == -signal.SIGINT:  # it was done, and Python on its way out
        assert said == ""
        return
    assert (process.returncode, said.endswith("Error: Stopped.\n")) in ((1, True), (0, False)), said


def test_ctrl_c_waits_until_a_module_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library in C++ that is interrupted while it is loaded ends the process."""
    lines = "import os, signal", "os.kill(os.getpid(), signal.SIGINT)", "whole = True"
    (tmp_path / "interrupted_module.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)

    def interrupted() -> None:
        importlib.import_module("interrupted_module")
        time.sleep(30)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), console.whole_imports():
            interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert sys.modules.pop("interrupted_module").whole
