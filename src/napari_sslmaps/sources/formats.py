"""Formats by the first bytes and the names of their files, in one table."""

import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.request import url2pathname

from napari_sslmaps.files import user_path

_FIRST_DICOM_ELEMENTS = (b"\x00\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00", b"\x18\x00")
_CLIPS = (b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"\x30\x26\xb2\x75", b"FLV\1")
_NO_CLIPS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"jxl ", b"jp2 ")
ZARR_MARKERS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""Names of the files that hold zarr's metadata."""
_URL = re.compile(r"(https?|s3|gs|gcs|abfs|az|ftp):/+[^/]", re.IGNORECASE)
SIGNATURE_BYTES = 352
"""What the first bytes of a file have to be for all that is asked of them here."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of image file.

    Parameters
    ----------
    title
        Name of the format in sentences.
    suffixes
        Ends of the names of its files, in lower case.
    napari
        Whether napari itself opens such files: then its reader is left alone with them.
    picture
        Whether a file is one picture of one level: it need not be opened to know that.
    """

    title: str
    suffixes: tuple[str, ...]
    napari: bool = False
    picture: bool = False


FORMATS = (
    Format("TIFF", (".tif", ".tiff"), napari=True),
    Format("LSM and STK", (".lsm", ".stk"), napari=True),
    Format("OME-TIFF", (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.tf8")),
    Format("BigTIFF", (".btf", ".tf8", ".tf2")),
    Format("QPTIFF", (".qptiff",)),
    Format("slides", (".svs", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".vmu", ".svslide", ".vsi")),
    Format("DICOM", (".dcm", ".dicom", ".ima")),
    Format("OME-Zarr", (".zarr", ".zarr.zip", ".ozx")),
    Format("CZI", (".czi",)),
    Format("NIfTI", (".nii", ".nii.gz")),
    Format("MHD", (".mhd", ".mha")),
    Format("NRRD", (".nrrd", ".nhdr")),
    Format("clips", (".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")),
    Format("PNG", (".png",), napari=True, picture=True),
    Format("JPEG", (".jpg", ".jpeg"), napari=True, picture=True),
    Format("BMP", (".bmp",), napari=True, picture=True),
    Format("GIF", (".gif",), napari=True, picture=True),
    Format("WebP", (".webp",), napari=True, picture=True),
    Format("JPEG 2000", (".jp2", ".j2k"), napari=True, picture=True),
    Format("TGA", (".tga",), napari=True, picture=True),
    Format("JPEG XL", (".jxl",), picture=True),
    Format("AVIF", (".avif",), picture=True),
    Format("PNM", (".pgm", ".ppm", ".pnm"), napari=True, picture=True),
    Format(".npy", (".npy",), napari=True),
)
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
PICTURES = tuple(suffix for kind in FORMATS if kind.picture for suffix in kind.suffixes)
IMAGE_SUFFIXES = tuple(suffix for kind in FORMATS for suffix in kind.suffixes)
NAPARI_PATTERNS = tuple(f"*{suffix}" for kind in FORMATS if not kind.napari for suffix in kind.suffixes)
"""Names of files that the plugin's reader claims."""


def begins_as_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes of a file are those of DICOM: its mark, or a first element without it."""
    return start[128:132] == b"DICM" or (start[:2] == b"\x08\x00" and start[2:4] in _FIRST_DICOM_ELEMENTS)


def holds_dicom(folder: Path) -> bool:
    """Whether one of the first files of a folder is DICOM."""
    files = [path for path in sorted(folder.iterdir())[:16] if path.is_file()]
    return any(path.suffix.lower() in DICOM_SUFFIXES or _begins_as_dicom(path) for path in files)


def _begins_as_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return begins_as_dicom(file.read(SIGNATURE_BYTES))


def begins_as_avif(start: bytes) -> bool:
    """Whether these are the first bytes of AVIF, one picture or several."""
    kinds = start[8 : int.from_bytes(start[:4], "big")]
    return start[4:8] == b"ftyp" and (b"avif" in kinds or b"avis" in kinds)


def begins_as_clip(start: bytes) -> bool:
    """Whether these are the first bytes of a video."""
    if start[4:8] == b"ftyp":
        return start[8:12].lower() not in _NO_CLIPS
    boxes = start[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip")
    return boxes or start.startswith(_CLIPS) or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")


def begins_as_volume(start: bytes, name: str) -> bool:
    """Whether a file of this name and these first bytes is NRRD, NIfTI, Analyze or MetaImage."""
    lower = name.lower()
    packed = start.startswith(b"\x1f\x8b") and lower.endswith((".nii.gz", ".nrrd.gz"))
    meta = lower.endswith((".mhd", ".mha")) or start.startswith(b"ObjectType = Image")
    analyze = lower.endswith(".hdr") and start[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c")
    nifti = start[344:347] in (b"n+1", b"ni1")
    return start.startswith(b"NRRD") or nifti or analyze or packed or meta


def is_url(image: object) -> bool:
    """Whether this is an address such as ``https://…`` or ``s3://…``, or a path that was made of one."""
    return isinstance(image, str | os.PathLike) and bool(_URL.match(str(image)))


def local_path(image: str | os.PathLike[str]) -> Path:
    """Return the path of a file, which a ``file://`` address may stand for."""
    text = os.fspath(image)
    if text.lower().startswith("file:/"):
        return Path(url2pathname("/" + text[len("file:") :].lstrip("/")))
    return user_path(text)


def url_of(image: object) -> str:
    """Return the address; a path that was made of one has lost a slash."""
    return re.sub(r"^([a-z][a-z0-9+.-]+):/+", r"\1://", str(image), flags=re.IGNORECASE)


def holds_zarr(path: Path) -> bool:
    """Whether a zip file has zarr in it."""
    try:
        with zipfile.ZipFile(path) as file:
            return any(PurePosixPath(name).name in ZARR_MARKERS for name in file.namelist())
    except (zipfile.BadZipFile, NotImplementedError, OSError):
        return False


def path_in_zip(path: Path) -> tuple[Path, str] | None:
    """Return the zip file that a path leads into and the way inside; None for any other path."""
    for above in path.parents:
        if above.is_file() and zipfile.is_zipfile(above):
            return above, path.relative_to(above).as_posix()
    return None
