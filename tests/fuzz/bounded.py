"""Files of strangers, each read in a process of its own whose time and memory are measured and bounded."""

import multiprocessing
import resource
import time
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from napari_sslmaps.errors import SSLMapsError

SECONDS, BYTES = 5.0, 500_000_000
_LIMIT_S, _LIMIT_BYTES = 20.0, 3_000_000_000
_PRELOADED = [
    *("bounded", "napari_sslmaps.pipeline.embedding", "napari_sslmaps.encoders.checkpoint.read"),
    *("napari_sslmaps.encoders.families.vit_network", "napari_sslmaps.encoders.registry"),
    *("napari_sslmaps.sources.tiff", "napari_sslmaps.sources.zarr", "napari_sslmaps.sources.dicom"),
    *("napari_sslmaps.sources.picture", "napari_sslmaps.records.run", "napari_sslmaps.records.anchors"),
]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_PRELOADED)


@dataclass(frozen=True)
class Outcome:
    """How reading a file ended.

    Parameters
    ----------
    end
        ``read``, ``refused`` in a sentence of ours, ``killed`` after a while, or ``died`` of something else.
    words
        What was said.
    seconds, peak_bytes
        What it took, beyond what the package takes when it is loaded.
    """

    end: str
    words: str
    seconds: float
    peak_bytes: int

    @property
    def fine(self) -> bool:
        """Whether it ended as it has to."""
        within = self.seconds <= SECONDS and self.peak_bytes <= BYTES
        return self.end in ("read", "refused") and within


def attempt(kind: str, path: Path, encoder: Path | None = None) -> Outcome:
    """Read a file in a process of its own.

    Parameters
    ----------
    kind
        Key of `READERS`.
    path
        The file.
    encoder
        Weight file of a small encoder, for images.
    """
    ours, theirs = _context.Pipe()
    start = time.monotonic()
    process = _context.Process(target=_read, args=(kind, path, encoder, theirs))
    process.start()
    theirs.close()
    try:
        if ours.poll(_LIMIT_S):
            return Outcome(*ours.recv())
        return Outcome("killed", "", time.monotonic() - start, 0)
    except EOFError:
        process.join()
        return Outcome("died", f"exit code {process.exitcode}", time.monotonic() - start, 0)
    finally:
        process.kill()
        process.join()


def _read(kind: str, path: Path, encoder: Path | None, pipe: Connection) -> None:
    warnings.simplefilter("ignore")
    if kind == "image":
        _small_encoder(encoder)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    limit = _status("VmSize") + _LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    start = time.monotonic()
    try:
        READERS[kind](path)
        end, words = "read", ""
    except SSLMapsError as error:
        end, words = "refused", str(error)
    pipe.send((end, words, time.monotonic() - start, max(0, _status("VmHWM") - before)))


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1000 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


_loaded: dict[str, Any] = {}


def _small_encoder(path: Path | None) -> None:
    from napari_sslmaps.encoders.registry import load_encoder

    _loaded["encoder"] = load_encoder(path, device="cpu", precision="float32")


def _image(path: Path) -> None:
    from napari_sslmaps.pipeline.embedding import embed

    embed(path, _loaded["encoder"])


def _mask(path: Path) -> None:
    from napari_sslmaps.sources.masks import read_mask

    read_mask(path)


def _map(path: Path) -> None:
    from napari_sslmaps.records.map_files import read_map

    read_map(path)


def _weights(path: Path) -> None:
    from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint, read_checkpoint

    inspect_checkpoint(path)
    read_checkpoint(path)


def _run_record(path: Path) -> None:
    from napari_sslmaps.records.run import RunRecord

    RunRecord.read(path)


def _anchors(path: Path) -> None:
    from napari_sslmaps.records.anchors import load_anchors

    load_anchors(path)


READERS = {
    "image": _image,
    "mask": _mask,
    "map": _map,
    "weights": _weights,
    "run": _run_record,
    "anchors": _anchors,
}
