"""Slides that OpenSlide reads: MRXS, SCN, Philips, NDPI, VMS, Ventana, DICOM and more."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import MissingExtraError, UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.base import Contents, ImageLayout, SourceBase, decoding, spacing_um
from napari_sslmaps.sources.icc import to_srgb
from napari_sslmaps.sources.protocol import ImageSource, Level

SLIDE_SUFFIXES = (".mrxs", ".vms", ".vmu", ".svslide", ".bif", ".czi")
"""Slides that only OpenSlide reads; others are recognised by their content alone."""
_OURS = ("aperio", "generic-tiff", "dicom")
"""What `TiffSource` and `dicom` take: the same pixels two to three times as fast, all depths and channels."""
_WHITE = "FFFFFF"


def vendor_of(path: Path) -> str | None:
    """Name the scanner whose slide this is, by its content, where OpenSlide is the one to read it."""
    try:
        import openslide
    except (ImportError, OSError):  # the package, or the library that it wraps
        return None
    try:
        vendor: str | None = openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:  # it begins as a slide does, and goes on otherwise
        return None
    return None if vendor in _OURS else vendor


class OpenSlideSource(SourceBase):
    """A slide through OpenSlide; several threads read at once.

    What was not scanned has the slide's background colour, else white; where the scanner says which part of
    its stage it looked at, the rest is left out. OpenSlide takes positions in whole pixels of level 0: on a
    coarser level whose downsampling is no whole number, pixels are moved by less than one and interpolated.

    Parameters
    ----------
    path
        The file; of DICOM any file of the series, the other levels lie beside it.
    icc
        Whether to convert colours to sRGB by the ICC profile, where the slide has one.
    name
        Short name for titles; the stem of the file if omitted.

    Raises
    ------
    MissingExtraError
        If OpenSlide does not run here.
    UnsupportedImageError
        If it is no slide, or is damaged.
    """

    reading = "through OpenSlide"

    def __init__(self, path: Path, *, icc: bool = True, name: str = "") -> None:
        openslide = _openslide(path)
        self._file_name, self._damage = path.name, (openslide.OpenSlideError, OSError, ValueError)
        self._slide: Any = _opened(openslide, path)
        facts = self._slide.properties
        self._background = np.frombuffer(
            bytes.fromhex(facts.get("openslide.background-color", _WHITE)), np.uint8
        )
        self._corner_yx = int(facts.get("openslide.bounds-y", 0)), int(facts.get("openslide.bounds-x", 0))
        self._to_srgb, notes = to_srgb(self._slide.color_profile if icc else None)
        beside = ", ".join(self._slide.associated_images)
        left_out = (f"{path.name} holds more pictures, to be chosen by series: {beside}.",) if beside else ()
        layout = ImageLayout(
            levels=_levels(self._slide),
            channels=3,
            dtype=np.dtype(np.uint8),
            spacing_um_yx=spacing_um(facts.get("openslide.mpp-y"), facts.get("openslide.mpp-x"), 1.0),
            notes=(*left_out, *notes),
            contents=self._contents(0),
        )
        super().__init__(name or path.stem, layout)

    def of_series(self, series: int | str | None) -> ImageSource:
        """Return the slide itself, number 0, or what `beside` gives."""
        return self if series in (None, 0, "0") else self.beside(str(series))

    def beside(self, name: str) -> ImageSource:
        """Return a picture that lies beside the slide, by name or number; closes the slide.

        Raises
        ------
        UnsupportedImageError
            If it has no such picture.
        """
        with self, decoding(self._file_name, "a slide that OpenSlide reads", *self._damage):
            pictures = self._slide.associated_images
            numbered = {str(number): called for number, called in enumerate(pictures, start=1)}
            name = numbered.get(name, name)
            if name in pictures:
                contents = self._contents(1 + list(pictures).index(name))
                pixels = np.array(pictures[name].convert("RGB"))
                picture = ArraySource(pixels, f"{self.name} {name}")
                picture.offer(contents)
                return picture
            raise UnsupportedImageError(
                f"Expected one of {', '.join(pictures) or 'no others'} as series of {self._file_name}; got "
                f"{name!r}. Leave it out for the slide itself."
            )

    def _contents(self, shown: int) -> Contents:
        every = ("slide", *self._slide.associated_images)
        told = tuple(f"{number} {name}" for number, name in enumerate(every))
        return Contents(told, shown) if len(told) > 1 else Contents()

    def _decode(self, region: Region) -> NDArray[Any]:
        down_y, down_x = self.levels[region.level].downsample_yx
        top, left = self._corner_yx
        corner = left + round(region.x * down_x), top + round(region.y * down_y)
        with decoding(self._file_name, "a slide that OpenSlide reads", *self._damage):
            read = self._slide.read_region(corner, region.level, (region.width, region.height))
        pixels = np.asarray(read)
        colours, opacity = pixels[..., :3], pixels[..., 3:]
        if opacity.min() < 255:
            share = opacity / 255.0
            colours = np.rint(colours * share + self._background * (1 - share)).astype(np.uint8)
        return np.ascontiguousarray(colours) if self._to_srgb is None else self._to_srgb(colours)

    def _release(self) -> None:
        self._slide.close()


def _levels(slide: Any) -> tuple[Level, ...]:
    """Levels of what was scanned."""
    facts = slide.properties
    wide, tall = slide.dimensions
    height = int(facts.get("openslide.bounds-height", tall))
    width = int(facts.get("openslide.bounds-width", wide))
    cropped = (height, width) != (tall, wide)
    return tuple(
        Level(
            (max(1, int(height / factor)), max(1, int(width / factor))) if cropped else stored[::-1],
            (factor, factor),
        )
        for stored, factor in zip(slide.level_dimensions, slide.level_downsamples, strict=True)
    )


def _opened(openslide: Any, path: Path) -> Any:
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        beside = path.with_suffix("")
        lost = f" The folder {beside.name} that belongs beside it is missing." if not beside.is_dir() else ""
        raise UnsupportedImageError(
            f"Expected a slide that OpenSlide reads; {path.name} is none ({path.suffix[1:].upper()}).{lost} "
            "Copy it with all that belongs to it, or export it as OME-TIFF, for example from QuPath."
        ) from error
    except (openslide.OpenSlideError, OSError, ValueError) as error:
        raise UnsupportedImageError(
            f"Expected a slide that OpenSlide reads; it does not read {path.name} ({str(error)[:160]}). If "
            "others of this scanner open, copy this one again; else convert it to OME-TIFF, for example with "
            f"bioformats2raw {path.name} slide.zarr, which opens here, or QuPath."
        ) from error


def _openslide(path: Path) -> Any:
    try:
        import openslide
    except (ImportError, OSError) as error:  # the package, or the library that it wraps
        raise MissingExtraError(
            f"Expected OpenSlide to read {path.name}; it does not run here ({error}). Install it: python -m "
            "pip install openslide-python openslide-bin, or convert the slide to a pyramidal TIFF."
        ) from error
    return openslide
