"""Options of a user for opening a file."""

from dataclasses import dataclass
from typing import Any

from napari_sslmaps.serialise import strict
from napari_sslmaps.sources.channels import Channel


@strict
@dataclass(frozen=True, slots=True)
class OpenOptions:
    """Options of opening a file, as command line and records have them; `open_image` says what each means.

    Parameters
    ----------
    channel
        Numbers or names of channels; empty for those of a grey or RGB image.
    series
        Number or name of the image in a file that holds several; empty for the largest.
    um_per_px
        Micrometres per pixel of the finest level, (y, x), where the user knows better than the file.
    icc
        Whether a slide's colours are converted to sRGB by its ICC profile.
    """

    channel: tuple[Channel, ...] = ()
    series: str = ""
    um_per_px: tuple[float, float] | None = None
    icc: bool = True

    @property
    def keywords(self) -> dict[str, Any]:
        """Keywords of `open_image`."""
        return {
            "channel": self.channel or None,
            "series": self.series or None,
            "um_per_px": self.um_per_px,
            "icc": self.icc,
        }

    def to_flat(self) -> dict[str, Any]:
        """Return what is asked for, as records write it and keys are hashed from; empty if nothing is."""
        said = {"channel": self.channel, "series": self.series, "um_per_px": self.um_per_px}
        asked: dict[str, Any] = {name: value for name, value in said.items() if value}
        return asked if self.icc else {**asked, "icc": False}


AS_STORED = OpenOptions()
"""Nothing is asked for."""
