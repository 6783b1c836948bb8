"""Embed with a cache again and again, each time in a child process; some are killed at a chosen instant.

An instant is counted in calls that Python makes, so that every step of writing is met: between opening and
writing a file, before and after it is moved, in the middle of a folder. Reads one command per line of stdin
and answers each with a line: the number of calls of an undisturbed run, ``killed`` or ``done``.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import zarr.codecs  # noqa: F401  # its import alone makes more calls than embedding does

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.pipeline.embedding import embed


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    return child


def wait(child: int) -> str:
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return "killed"
    return "done" if os.WEXITSTATUS(status) == 0 else "failed"


def main(image: str, weights: str, folder: str) -> None:
    torch.set_num_threads(1)  # no thread of a parent is there in its child
    encoder = load_encoder(weights, device="cpu", precision="float32")
    embed(image, encoder, region=(0, 0, 64, 64))  # what is imported on the way is imported here

    def work(place: str = folder, call: int = -1) -> int:
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        embed(image, encoder, tiling=Tiling(8, 2), cache=Cache(Path(place), 10**9))
        sys.setprofile(None)
        return calls

    for line in sys.stdin:
        match line.split():
            case ["count"]:
                wait(in_child(lambda: say(work(f"{folder}-counted"))))
            case ["kill", call]:
                say(wait(in_child(lambda call=call: work(call=int(call)) and None)))
            case ["both"]:
                say(*{wait(child) for child in [in_child(work), in_child(work)]})


if __name__ == "__main__":
    main(*sys.argv[1:])
