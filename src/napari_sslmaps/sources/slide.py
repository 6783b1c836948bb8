"""Slides that OpenSlide reads and others do not: MRXS, DICOM, Ventana, Zeiss and more; an extra."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import MissingExtraError
from napari_sslmaps.sources.base import ImageLayout, SourceBase, decoding, spacing_um
from napari_sslmaps.sources.protocol import Level

SLIDE_SUFFIXES = (".mrxs", ".vms", ".vmu", ".svslide", ".bif", ".czi")
"""Files that are slides whatever they begin with: an .mrxs begins as the JPEG of its label."""
_WHITE = "FFFFFF"


class OpenSlideSource(SourceBase):
    """A slide through OpenSlide; several threads read at once.

    What was not scanned has the slide's background colour, else white. OpenSlide takes positions in whole
    pixels of level 0: on a coarser level whose downsampling is no whole number, pixels are moved by less than
    one and interpolated.

    Parameters
    ----------
    path
        The file; of DICOM any file of the series, the other levels lie beside it.

    Raises
    ------
    MissingExtraError
        If OpenSlide is not installed.
    UnsupportedImageError
        If it is no slide, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        openslide = _openslide(path)
        self._file_name, self._damage = path.name, (openslide.OpenSlideError, OSError, ValueError)
        with decoding(path.name, "a slide that OpenSlide reads", *self._damage):
            self._slide: Any = openslide.OpenSlide(path)
        facts = self._slide.properties
        self._background = np.frombuffer(
            bytes.fromhex(facts.get("openslide.background-color", _WHITE)), np.uint8
        )
        layout = ImageLayout(
            levels=tuple(
                Level((height, width), (factor, factor))
                for (width, height), factor in zip(
                    self._slide.level_dimensions, self._slide.level_downsamples, strict=True
                )
            ),
            channels=3,
            dtype=np.dtype(np.uint8),
            spacing_um_yx=spacing_um(facts.get("openslide.mpp-y"), facts.get("openslide.mpp-x"), 1.0),
        )
        super().__init__(path.stem, layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        down_y, down_x = self.levels[region.level].downsample_yx
        corner = round(region.x * down_x), round(region.y * down_y)
        with decoding(self._file_name, "a slide that OpenSlide reads", *self._damage):
            read = self._slide.read_region(corner, region.level, (region.width, region.height))
        pixels = np.asarray(read)
        colours, opacity = pixels[..., :3], pixels[..., 3:]
        if opacity.min() == 255:
            return np.ascontiguousarray(colours)
        share = opacity / 255.0
        mixed: NDArray[Any] = np.rint(colours * share + self._background * (1 - share)).astype(np.uint8)
        return mixed

    def _release(self) -> None:
        self._slide.close()


def _openslide(path: Path) -> Any:
    try:
        import openslide
    except (ImportError, OSError) as error:  # the package, or the library that it wraps
        raise MissingExtraError(
            f"Expected OpenSlide to read {path.name}; it is not installed. Install the extra: "
            "pip install 'napari-sslmaps[openslide]', or convert the slide to a pyramidal TIFF."
        ) from error
    return openslide
