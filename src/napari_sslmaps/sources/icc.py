"""Colours of a scanner → sRGB, by the ICC profile that a slide carries."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_STEPS = np.linspace(0, 255, 9).astype(np.uint8)


class ToSRGB:
    """Converts RGB of 8 bits to sRGB; several threads may do so at once.

    Parameters
    ----------
    profile
        An ICC profile of an RGB device, as Pillow holds it.
    """

    def __init__(self, profile: ImageCms.ImageCmsProfile) -> None:
        self.name = ImageCms.getProfileName(profile).strip()
        self._transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            renderingIntent=ImageCms.Intent(ImageCms.getDefaultIntent(profile)),
            flags=ImageCms.Flags.NOCACHE,
        )

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert (H, W, 3) pixels."""
        height, width = pixels.shape[:2]
        picture = Image.frombuffer(
            "RGB", (width, height), np.ascontiguousarray(pixels).tobytes(), "raw", "RGB", 0, 1
        )
        return np.array(ImageCms.applyTransform(picture, self._transform))

    @property
    def changes_nothing(self) -> bool:
        """Whether all colours stay within a grey value of what they are."""
        cube = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), -1).reshape(1, -1, 3)
        return int(np.abs(self(cube).astype(int) - cube).max()) <= 1


def to_srgb(profile: bytes | ImageCms.ImageCmsProfile | None) -> tuple[ToSRGB | None, tuple[str, ...]]:
    """Return what converts colours of this profile, and a sentence that says so.

    Parameters
    ----------
    profile
        Profile of the file; None where it has none.

    Returns
    -------
    converter
        Function that converts pixels; None where there is nothing to convert: no profile, one that is sRGB,
        or one that cannot be used.
    notes
        Sentences on what was done with the colours; empty where nothing was.
    """
    if profile is None:
        return None, ()
    try:
        read: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if isinstance(profile, bytes) else profile
        converter = ToSRGB(read)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        return None, (f"Its ICC profile cannot be used ({error}): colours are shown as stored.",)
    if converter.changes_nothing:
        return None, ()
    return converter, (f"Colours are converted to sRGB by the file's ICC profile, {converter.name}.",)
