"""Run by a test in a process of its own: read weight files and print how far anonymous memory rose."""

import json
import sys
import threading
from pathlib import Path

from napari_sslmaps.encoders.checkpoint import read_checkpoint
from napari_sslmaps.encoders.overrides import Overrides


def anonymous_megabytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


def peak_of_reading(path):
    """Highest rise, in MB, of anonymous memory while a file is read, sampled as fast as it goes."""
    before = anonymous_megabytes()
    peak, done = before, threading.Event()

    def watch():
        nonlocal peak
        while not done.is_set():
            peak = max(peak, anonymous_megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    checkpoint = read_checkpoint(path, Overrides(method="mae", num_heads=2))
    peak = max(peak, anonymous_megabytes())
    done.set()
    watcher.join()
    del checkpoint
    return peak - before


if __name__ == "__main__":
    first, *others = map(Path, sys.argv[1:])
    peak_of_reading(first)  # what is loaded once and for all
    sys.stdout.write(json.dumps({path.name: round(peak_of_reading(path)) for path in others}))
