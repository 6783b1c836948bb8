"""Run by a test in a process of its own: read weight files and print how far anonymous memory rose."""

import json
import sys
import threading
from pathlib import Path

from napari_sslmaps.encoders.checkpoint.read import read_checkpoint
from napari_sslmaps.encoders.overrides import Overrides


def anonymous_megabytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


def peak_of(action):
    """Highest rise, in MB, of anonymous memory during an action, sampled every millisecond."""
    before = anonymous_megabytes()
    peak, done = before, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, anonymous_megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    held = action()
    peak = max(peak, anonymous_megabytes())
    done.set()
    watcher.join()
    del held
    return peak - before


def reading(path):
    return lambda: read_checkpoint(path, Overrides(method="mae", num_heads=2))


if __name__ == "__main__":
    first, *others = map(Path, sys.argv[1:])
    known = peak_of(lambda: b"\1" * 2**26)
    peak_of(reading(first))  # what is loaded once and for all
    risen = {path.name: round(peak_of(reading(path))) for path in others}
    sys.stdout.write(json.dumps({"64 MB": round(known)} | risen))
