"""How quickly an image is read, and how much memory is free: what a forecast asks besides encoders."""

from time import perf_counter

import psutil  # type: ignore[import-untyped]  # it has no types

from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.scan import scan_region
from napari_sslmaps.viewer.image import LayerSource

_SIDE = 1024


class Readers:
    """Remembers, of each image and level that is read lazily, what reading and looking at a pixel takes."""

    def __init__(self) -> None:
        self._paces: dict[tuple[str, int], float] = {}

    def known(self, source: LayerSource, level: int) -> float | None:
        """Return seconds per pixel; 0 for an image in memory, None for one that was not measured."""
        return self._paces.get((source.layer_id, level)) if source.lazy else 0.0

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
        self._paces[source.layer_id, region.level] = (perf_counter() - start) / (height * width)


def free_memory() -> int:
    """Return the bytes of memory that a process can have without others being swapped out."""
    return int(psutil.virtual_memory().available)
