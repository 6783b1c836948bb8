"""Two real images that come with packages installed anyway, so that nothing is downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource

UNSURE = 255
"""Label of pixels that were left open in a sample's mask."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A real image to try things on.

    Parameters
    ----------
    key
        Name on the command line and of the opened image.
    title
        Name of the sample in menus.
    licence
        Licence as far as it is known, and where that is said.
    anchor_yx
        A pixel (row, column) worth clicking.
    anchor_on
        Thing that the anchor lies on.
    package, resource
        Package that holds the file, and the path in it.
    spacing_um_yx
        Micrometres per pixel, where known.
    classes
        Names of what is drawn in `mask_path`, from label 1.
    """

    key: str
    title: str
    licence: str
    anchor_yx: tuple[float, float]
    anchor_on: str
    package: str
    resource: str
    spacing_um_yx: tuple[float, float] | None = None
    classes: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file, inside the package that brings it.

        Raises
        ------
        UnsupportedImageError
            If that package no longer brings it.
        """
        path = Path(str(files(self.package))) / self.resource
        if not path.is_file():
            raise UnsupportedImageError(
                f"Expected the sample {self.title} in the package {self.package}; this version does "
                "not bring it. Open an image of your own instead."
            )
        return path

    @property
    def mask_path(self) -> Path:
        """Labels of the image's pixels; `UNSURE` ones say nothing.

        The authors of this package drew them by eye, with ``scripts/draw_sample_masks.py``, for trying out
        scores. They are no pathologists or cardiologists, and nobody has checked them.
        """
        return Path(str(files("napari_sslmaps.sources"))) / "sample_masks" / f"{self.key}.png"

    def open(self, um_per_px: tuple[float, float] | None = None) -> ImageSource:
        """Open the image, RGB; of the ultrasound clip the first frame.

        Parameters
        ----------
        um_per_px
            Micrometres per pixel, (y, x), instead of those that are known.

        Raises
        ------
        UnsupportedImageError
            If the file is missing or damaged.
        """
        with open_image(self.path) as source:
            pixels = source.read(Region(0, 0, *source.levels[0].shape_yx))
        return ArraySource(pixels, self.key, um_per_px or self.spacing_um_yx)


_HISTOLOGY = Sample(
    key="histology",
    title="Histology (IHC)",
    licence=(
        "Colonic glands, FHL2 with DAB and haematoxylin, acquired at the Center for Microscopy and "
        "Molecular Imaging (CMMI); bundled with scikit-image, whose documentation states: no known "
        "copyright restrictions."
    ),
    anchor_yx=(144.0, 400.0),
    anchor_on="glandular epithelium",
    package="skimage.data",
    resource="ihc.png",
    classes=("epithelium", "stroma"),
)
_ULTRASOUND = Sample(
    key="ultrasound",
    title="Ultrasound (B-mode)",
    licence=(
        "Apical four-chamber echocardiogram, first of 30 frames of examples_ybr_color.dcm, bundled "
        "with pydicom (MIT licence). The file itself carries no licence of its own; pydicom's note on "
        "its test files says that it believes there is no restriction on using them in this manner."
    ),
    anchor_yx=(98.0, 150.0),
    anchor_on="interventricular septum",
    package="pydicom.data",
    resource="test_files/examples_ybr_color.dcm",
    classes=("blood", "tissue"),
    # The header gives 0.05105 cm per pixel of the 640 × 480 original; pydicom halved the pixels
    # (data/test_files/README.txt: "rescaled Pixel Data") and kept the header.
    spacing_um_yx=(1020.994, 1020.994),
)
SAMPLES: Mapping[str, Sample] = {sample.key: sample for sample in (_HISTOLOGY, _ULTRASOUND)}
"""The samples by key."""
