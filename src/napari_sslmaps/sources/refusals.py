"""Files that are no image which opens here, by their first bytes: what each is, and the way out."""

import re
from pathlib import Path

from napari_sslmaps.errors import UnsupportedImageError

_START = rb"(?:\xef\xbb\xbf)?\s*"
_PAGE = re.compile(_START + rb"(<!doctype html|<html|<head|<\?xml[^>]*>\s*<!doctype html)", re.IGNORECASE)
_ANSWER = re.compile(
    _START + rb"(<\?xml[^>]*>\s*<error\b|\{\s*\"(message|errors?|code|status|detail)\"\s*:)", re.IGNORECASE
)
_ISYNTAX = re.compile(_START + rb"(<\?xml[^>]*>\s*)?<DataObject ObjectType=\"DPUfsImport\"")
_XML = re.compile(_START + rb"<(\?xml|OME)\b")
_TO_ZARR = "Convert it: bioformats2raw {name} image.zarr (Bio-Formats), and open image.zarr."
_TO_TIFF = (
    "Convert it to TIFF or PNG, for example with Fiji (File > Save As) or ImageMagick: magick {name} new.png."
)
_TO_NIFTI = (
    "Convert it: nibabel.Nifti1Image.from_image(nibabel.load('{name}')).to_filename('new.nii.gz'), and open "
    "that."
)
_FORMATS: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"version https://git-lfs",
        "the pointer that Git LFS leaves in place of a file",
        "Fetch the file: git lfs pull.",
    ),
    (0, b"\xda\xce\xbe\x0a", "a Nikon ND2", _TO_ZARR),
    (0, b"\x70\0\0\0", "a Leica LIF", _TO_ZARR),
    (0, b"\x0a\xbe\xce\xda", "a Nikon ND2", _TO_ZARR),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file",
        "Open the array in it: h5py.File('{name}')[…][:], and pass that.",
    ),
    (
        0,
        b"SIMPLE  =",
        "a FITS file",
        "Open the array in it: astropy.io.fits.getdata('{name}'), and pass that.",
    ),
    (4, b"ftypheic", "an HEIC photo", _TO_TIFF),
    (4, b"ftypmif1", "an HEIF photo", _TO_TIFF),
    (0, b"8BPS", "a Photoshop file", _TO_TIFF),
    (0, b"%PDF", "a PDF", "Save the image in it as TIFF or PNG."),
    (0, b"v/1\x01", "an OpenEXR picture", _TO_TIFF),
    (0, b"\xd0\xcf\x11\xe0", "an Olympus OIB, a Zeiss ZVI or a document of Office", _TO_ZARR),
    (0, b"\x0a\x05\x01", "a PCX picture", _TO_TIFF),
    (0, b"\x01\xda", "an SGI picture", _TO_TIFF),
    (0, b"\0\0\1\0", "an icon", _TO_TIFF),
    (0, b"II\xbc\x01", "a JPEG XR picture", _TO_TIFF),
    (0, b"DDS ", "a DDS texture", _TO_TIFF),
    (0, b"qoif", "a QOI picture", _TO_TIFF),
    (0, b"gimp xcf", "a GIMP file", _TO_TIFF),
    (0, b"#?RADIANCE", "a Radiance picture", _TO_TIFF),
    (
        0,
        b"MATLAB 5.0 MAT",
        "a MATLAB file",
        "Open the array in it: scipy.io.loadmat('{name}')[…], and pass that.",
    ),
    (4, b"n+2\0", "NIfTI-2", _TO_NIFTI),
    (4, b"ni2\0", "NIfTI-2", _TO_NIFTI),
    (0, b"PK\3\4", "a ZIP archive", "Unpack it, and open the image in it."),
    (0, b"\x1f\x8b", "compressed by gzip", "Unpack it: gunzip {name}."),
    (0, b"7z\xbc\xaf'\x1c", "a 7-Zip archive", "Unpack it, and open the image in it."),
    (0, b"Rar!", "a RAR archive", "Unpack it, and open the image in it."),
    (0, b"\xfd7zXZ", "compressed by xz", "Unpack it: xz -d {name}."),
)


def check_known(start: bytes, name: str) -> None:
    """Refuse what is recognised as something else than an image that opens here.

    Parameters
    ----------
    start
        First bytes of the file, at least 64 where it has them.
    name
        Name of the file.

    Raises
    ------
    UnsupportedImageError
        If it is; the sentence names the format, and what to do.
    """
    if _PAGE.match(start):
        raise UnsupportedImageError(
            f"Expected an image; {name} is a web page, as a download gives that needs a login. Open it in a "
            "browser to see what it says, and download the image again."
        )
    if _ANSWER.match(start):
        told = " ".join(start.decode("utf-8", "replace").split())
        raise UnsupportedImageError(
            f"Expected an image; {name} is what a server answered instead ({told[:120]}). Download it again."
        )
    if name.lower().endswith((".ome", ".ome.xml")) and _XML.match(start):
        raise UnsupportedImageError(
            f"Expected an image; {name} describes an OME-TIFF whose pixels lie in files beside it. Open one "
            "of those: all that it describes is shown."
        )
    if _ISYNTAX.search(start):
        raise UnsupportedImageError(
            f"Expected an image that opens here; {name} is a Philips iSyntax. Export it as TIFF where it was "
            f"scanned, or convert it: isyntax-to-tiff {name} new.tiff (libisyntax)."
        )
    for offset, magic, kind, way_out in _FORMATS:
        if start[offset:].startswith(magic):
            raise UnsupportedImageError(
                f"Expected an image that opens here; {name} is {kind}. {way_out.format(name=name)}"
            )


def check_complete_vsi(path: Path) -> None:
    """Refuse an Olympus VSI: it holds an overview alone, and the slide lies in files beside it.

    Raises
    ------
    UnsupportedImageError
        If it is one; the sentence names those files.
    """
    beside = path.with_name(f"_{path.stem}_")
    pixels = sorted(beside.glob("**/*.ets")) if beside.is_dir() else []
    if path.suffix.lower() != ".vsi" and not pixels:
        return
    where = (
        ", ".join(str(file.relative_to(path.parent)) for file in pixels[:3]) or f"{beside.name}/stack1/*.ets"
    )
    raise UnsupportedImageError(
        f"Expected an image with its pixels in it; {path.name} is an Olympus VSI, whose slide lies in "
        f"{where}. Convert it with that folder beside it: bioformats2raw {path.name} slide.zarr, and open "
        "slide.zarr, or export it as OME-TIFF from QuPath. The overview in it opens with series 0."
    )


def check_beside(missing: Path, path: Path) -> None:
    """Refuse one of two files that belong together, if the other is not there.

    Parameters
    ----------
    missing
        The other file, which is looked for.
    path
        The one that is there.

    Raises
    ------
    UnsupportedImageError
        If it is alone.
    """
    if not missing.is_file():
        raise UnsupportedImageError(
            f"Expected {missing.name} beside {path.name}, as one is the header of the other's pixels; there "
            "is none. Put both into one folder."
        )
