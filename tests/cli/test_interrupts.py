"""Ctrl-C in a terminal, and a polite kill, end every long command by saying so, whenever they come."""

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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
_SECONDS, _PATIENCE = 2.0, 120.0
_LONG = {
    "pretrain": ("--recipe", "mae-histology", "--steps", "100000", "-o", "{out}"),
    "pretext": ("sample:histology", "-e", "mae-histology", "-o", "{out}"),
    "evaluate": ("sample:histology", "--controls", "all", "-o", "{out}"),
    "study": ("-o", "{out}", "--minutes", "10", "--device", "cpu", "-q"),
    "readers": ("new", "{images}", "-e", "{weights}", "--maps", "attention", "--reader", "a", "-o", "{out}"),
    "index": ("{store}",),
    "search": ("{indexed}", "--like", "image0.png@8,8"),
    "run": ("{image}", "-e", "{weights}", "-o", "{out}"),
    "batch": ("{many}", "-e", "{weights}", "-o", "{out}", "--device", "cpu"),
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
    (folder / "many.csv").write_text("image,name\n" + "".join(f"images/image0.png,{n}\n" for n in range(500)))
    shutil.copytree(folder / "store", folder / "indexed")
    build_index(folder / "indexed")
    return {
        "images": images,
        "many": folder / "many.csv",
        "image": images / "image0.png",
        "weights": weights,
        "store": folder / "store",
        "indexed": folder / "indexed",
    }


@pytest.mark.parametrize("command", _LONG)
def test_ctrl_c_says_stopped(command: str, places: dict[str, Path], tmp_path: Path) -> None:
    """As it reaches all processes of a terminal."""
    returned, said = _ended(command, places, tmp_path, lambda pid: os.killpg(pid, signal.SIGINT))
    assert "Traceback" not in said, said
    # The last two: it was done, having said what it says, and Python perhaps on its way out.
    stopped = (returned, said.endswith("Error: Stopped.\n"))
    assert stopped in ((1, True), (0, False), (-signal.SIGINT, False)), said


@pytest.mark.parametrize(("command", "begun"), [("batch", "*/*.zarr"), ("pretrain", "*")])
def test_kill_says_stopped(command: str, begun: str, places: dict[str, Path], tmp_path: Path) -> None:
    """As a queue or a service sends it, to the process that it started."""

    def end(pid: int) -> None:
        last = time.monotonic() + _PATIENCE
        while time.monotonic() < last and not any((tmp_path / "out").glob(begun)):
            time.sleep(0.1)
        os.kill(pid, signal.SIGTERM)

    returned, said = _ended(command, places, tmp_path, end)
    assert (returned, said.splitlines()[-1]) == (1, "Error: Stopped."), said
    assert f"{tmp_path / 'out'}" in said
    assert len(said.splitlines()) == 2, said
    assert not list((tmp_path / "out").rglob(".*"))


def _ended(
    command: str, places: dict[str, Path], tmp_path: Path, end: Callable[[int], None]
) -> tuple[int, str]:
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
            end(process.pid)
            said = process.communicate(timeout=_PATIENCE)[1]
        finally:
            process.kill()
    return process.returncode, said


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.3])
def test_ctrl_c_says_stopped_while_the_command_line_is_imported(seconds: float) -> None:
    start = _START.replace("cli.commands", "cli")
    with subprocess.Popen(
        [sys.executable, "-c", start, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=_PATIENCE)[1]
    assert (process.returncode, said) == (1, "Error: Stopped.\n")


def test_every_way_to_end_politely_is_taken_for_ctrl_c() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before = signal.getsignal(number)
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        try:
            with pytest.raises(KeyboardInterrupt), console.interruptible():
                signal.raise_signal(number)
            assert not callable(signal.getsignal(number)) or number == signal.SIGINT
        finally:
            signal.signal(number, before)


def test_an_error_that_takes_the_place_of_ctrl_c_is_taken_for_it() -> None:
    """As of torch: "could not determine the shape of object type 'torch.storage.UntypedStorage'"."""

    class Rows:
        def __getattr__(self, name: str) -> object:
            signal.raise_signal(signal.SIGINT)
            raise AttributeError(name)

    def replaced() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            _ = Rows().shape
        raise ValueError("could not determine the shape of object type 'Rows'")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as stopped, console.interruptible():
            replaced()
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(stopped.value.__cause__, ValueError)


def test_an_error_alone_is_no_stop() -> None:
    with pytest.raises(ValueError, match="no stop"), console.interruptible():
        raise ValueError("no stop")


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As ``nohup`` has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with console.interruptible():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


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
        with pytest.raises(KeyboardInterrupt), console.interruptible():
            interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert sys.modules.pop("interrupted_module").whole


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is held to on Linux alone")
def test_next_to_no_memory_is_said_before_anything_is_imported() -> None:
    """OpenBLAS would ask for it without end."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (200_000_000,) * 2)\n"
    ended = subprocess.run(
        [sys.executable, "-c", limited + _START.replace("cli.commands", "cli"), "doctor"],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: Too little memory is free")


_LOST = """
import os, signal, sys, time, weakref
from napari_sslmaps.cli import console
signal.signal(signal.SIGINT, signal.default_int_handler)

class Thing: pass

def interrupted(_):
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000): pass

with console.interruptible():
    thing = Thing()
    watched = weakref.ref(thing, interrupted)
    try:
        del thing
        time.sleep(20)
    except KeyboardInterrupt:
        print("stopped")
"""


def test_ctrl_c_where_nothing_can_be_raised_comes_again() -> None:
    command = [sys.executable, "-c", _LOST]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")
