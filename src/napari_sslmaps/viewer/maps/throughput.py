"""Throughput of this machine: encoders, remembered or tried out; reading of images; free memory."""

import json
import logging
import platform
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tiling import DEFAULT_TILE, Tiling, plan_tiles
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.encoders.user_encoders import config_folder
from napari_sslmaps.files import read_regular, whole_file
from napari_sslmaps.pipeline.cost import Throughput, work_of
from napari_sslmaps.sources.scan import scan_region
from napari_sslmaps.viewer.canvas.image_layer import LayerSource
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders

logger = logging.getLogger(__name__)
_QUICK_S = 0.2
"""A tile that takes less is measured again in a batch, as runs compute it."""
_BATCH = 8


class ThroughputStore(Protocol):
    """Knows and measures how quickly encoders run."""

    def known(self, spec: EncoderSpec) -> Throughput | None:
        """Return what was measured before, at once."""
        ...

    def measure(self, spec: EncoderSpec) -> Throughput:
        """Try the encoder out, which may take seconds, and remember it."""
        ...

    def learn(self, spec: EncoderSpec, pace: Throughput) -> None:
        """Remember what a run took."""
        ...


class MeasuredPaces:
    """Paces of this machine, kept in a file of the user.

    Parameters
    ----------
    encoders
        Encoders that are loaded to be tried out.
    """

    def __init__(self, encoders: LoadedEncoders) -> None:
        self._encoders = encoders
        self._throughputs: dict[str, Throughput] | None = None

    def known(self, spec: EncoderSpec) -> Throughput | None:
        """Return the pace on this machine, if it was ever measured."""
        return self._all().get(_key(spec))

    def measure(self, spec: EncoderSpec) -> Throughput:
        """Encode a tile of noise, and a batch where one is quick.

        Raises
        ------
        SSLMapsError
            If the encoder cannot be loaded.
        """
        encoder, constraint = self._encoders.get(spec), spec.constraint
        multiple = max(1, constraint.size_multiple // constraint.token_stride)
        tile = plan_tiles(DEFAULT_TILE, DEFAULT_TILE, Tiling(DEFAULT_TILE), multiple)[0]
        rows, cols = (side * constraint.token_stride for side in tile.shape)
        pixels = np.random.default_rng(0).random((_BATCH, rows, cols, 3), np.float32)

        def seconds(count: int) -> float:
            start = perf_counter()
            encoder.encode(pixels[:count])
            return (perf_counter() - start) / count

        seconds(1)  # the first call also warms up
        taken = seconds(1)
        if taken < _QUICK_S:
            taken = min(seconds(_BATCH), seconds(_BATCH))
        pace = Throughput(taken / work_of(spec.architecture, [tile]), encoder.device)
        self.learn(spec, pace)
        return pace

    def learn(self, spec: EncoderSpec, pace: Throughput) -> None:
        """Remember a pace, also for the next start; where it cannot be written, until then."""
        throughputs = self._throughputs = {
            **self._all(),
            _key(spec): pace,
        }  # a new one: another thread may read
        try:
            described = {key: [item.seconds, item.device] for key, item in throughputs.items()}
            with whole_file(_path()) as file:
                file.write(json.dumps(described, indent=1).encode())
        except OSError as error:
            logger.info("The pace of %s was not written down: %s", spec.name, error)

    def _all(self) -> dict[str, Throughput]:
        if self._throughputs is None:
            self._throughputs = _read()
        return self._throughputs


def _path() -> Path:
    return config_folder() / "paces.json"


def _read() -> dict[str, Throughput]:
    """Return what was written down; nothing where that is damaged, as it is soon measured again."""
    with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        written: dict[str, Any] = json.loads(read_regular(_path(), _MOST_BYTES))
        return {key: Throughput(float(seconds), str(device)) for key, (seconds, device) in written.items()}
    return {}


def _key(spec: EncoderSpec) -> str:
    """One home folder may serve several machines."""
    return f"{platform.node()} {spec.name} {spec.sha256[:16]}"


_SIDE, _MOST_BYTES = 1024, 10**7


class ReadSpeed:
    """Remembers, of each image and level that is read lazily, what reading and looking at a pixel takes."""

    def __init__(self) -> None:
        self._throughputs: dict[tuple[str, int], float] = {}

    def known(self, source: LayerSource, level: int) -> float | None:
        """Return seconds per pixel; 0 for an image in memory, None for one that was not measured."""
        return self._throughputs.get((source.layer_id, level)) if source.lazy else 0.0

    def measure(self, source: LayerSource, region: Region) -> None:
        """Read a part in the middle of the region, as a run does before the first tile.

        Raises
        ------
        SSLMapsError
            If it cannot be read.
        """
        height, width = min(_SIDE, region.height), min(_SIDE, region.width)
        part = region.part((region.height - height) // 2, (region.width - width) // 2, height, width)
        start = perf_counter()
        scan_region(source, part)
        self._throughputs[source.layer_id, region.level] = (perf_counter() - start) / (height * width)
