"""Checks of what works on this machine, and for each fault the fix."""

import os
import platform
import shutil
import sys
import warnings
from base64 import urlsafe_b64encode
from ctypes.util import find_library
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.encoders.catalog import EMBEDDED, recorded_sha256, weights_path
from napari_sslmaps.encoders.published.local import published_specs
from napari_sslmaps.encoders.registry import get_spec
from napari_sslmaps.encoders.user_encoders import UserEncodersWarning, config_folder, remembered
from napari_sslmaps.errors import InvalidOptionError, SSLMapsError
from napari_sslmaps.files import is_address
from napari_sslmaps.pipeline.free_memory import address_space_left

Status = Literal["ok", "note", "fault"]
BINDINGS = ("PyQt6", "PySide6")
_PYTHON = ((3, 11), (3, 13))
_READERS = {
    "tifffile": "TIFF, OME-TIFF, SVS",
    "zarr": "OME-Zarr and tiled TIFF",
    "imagecodecs": "compressed TIFF",
    "imageio": "PNG, JPEG, BMP",
    "pydicom": "DICOM",
}
_DICOM_DECODERS = {
    "JPEG": "JPEGBaseline8BitDecoder",
    "lossless JPEG": "JPEGLosslessDecoder",
    "JPEG-LS": "JPEGLSLosslessDecoder",
    "JPEG 2000": "JPEG2000LosslessDecoder",
    "RLE": "RLELosslessDecoder",
}
_LEAST_SPACE = 3_500_000_000
"""Bytes of addresses with which torch's build for CUDA loads, and the reading libraries beside it."""
_APT = "apt-get install -y libgl1 libegl1 libxkbcommon-x11-0 libxcb-cursor0 libdbus-1-3"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of this machine.

    Parameters
    ----------
    name, status, detail
        Thing that was checked, whether it works (``note`` for what may well be missing), and what was found.
    fix
        Remedy, as a sentence; empty if nothing is to be done.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return a JSON-ready description."""
        return asdict(self)


def examine() -> list[Check]:
    """Look at everything; imports torch and Qt.

    Returns
    -------
    list of Check
        Checks in the order in which they are printed; of too little address space alone, since what loads
        libraries with less fails in words of theirs.
    """
    space = check_address_space()
    if space.status == "fault":
        return [check_python(), space]
    return [
        check_python(),
        check_qt(),
        check_display(),
        check_opengl(),
        *check_torch(),
        *(check_reader(name) for name in _READERS),
        check_dicom_decoders(),
        check_openslide(),
        *(check_weights(name) for name in EMBEDDED),
        check_cache(),
        check_folder("configuration", config_folder()),
        check_hub(),
        *check_user_encoders(),
    ]


def check_python(running: tuple[int, int] = (sys.version_info[0], sys.version_info[1])) -> Check:
    """Whether this Python is one that the package supports."""
    detail = f"{platform.python_version()} on {platform.platform(terse=True)}"
    if _PYTHON[0] <= running <= _PYTHON[1]:
        return Check("Python", "ok", detail)
    low, high = (".".join(map(str, edge)) for edge in _PYTHON)
    return Check("Python", "fault", detail, f"make an environment with Python {low} to {high}")


def check_address_space(left: int | None = None) -> Check:
    """Whether a limit of this shell, queue or container leaves torch and the others the addresses to load."""
    left = address_space_left() if left is None else left
    if left >= _LEAST_SPACE:
        return Check("address space", "ok", "enough")
    fix = "raise the limit of this shell, queue or container (ulimit -v); 8 GB are enough to begin"
    return Check("address space", "fault", f"{left / 1e9:.1f} GB are left, too little to load torch", fix)


def check_qt() -> Check:
    """Whether a Qt binding is installed and loads."""
    found = [name for name in BINDINGS if find_spec(name) is not None]
    if not found:
        return Check("Qt", "fault", "no Qt binding", 'pip install "napari-sslmaps[pyqt6]"')
    try:
        import_module(f"{found[0]}.QtWidgets")
    except ImportError as error:
        return Check("Qt", "fault", f"{found[0]} does not load ({error})", _APT)
    return Check("Qt", "ok", f"{found[0]} {version(found[0])}")


def missing_for_windows() -> str:
    """Say what is missing for opening a window; empty if nothing is."""
    if not any(find_spec(name) is not None for name in BINDINGS):
        return "no Qt binding is installed"
    unix = sys.platform not in ("win32", "darwin")
    if unix and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return ""


def check_display() -> Check:
    """Whether there is a display to open a window on."""
    missing = missing_for_windows()
    if not missing:
        return Check("display", "ok", os.environ.get("DISPLAY") or sys.platform)
    return Check("display", "note", f"{missing}; the command line works without", "xvfb-run, or a desktop")


def check_opengl() -> Check:
    """Whether OpenGL's library is there; its absence matters only where there is a display."""
    if sys.platform in ("win32", "darwin") or find_library("GL"):
        return Check("OpenGL", "ok", find_library("GL") or "part of the system")
    return Check("OpenGL", "note" if missing_for_windows() else "fault", "libGL is missing", _APT)


def check_torch() -> list[Check]:
    """Whether torch loads, and which devices it sees."""
    try:
        torch: Any = import_module("torch")
    except (ImportError, OSError) as error:
        return [Check("torch", "fault", f"does not load ({error})", "pip install --force-reinstall torch")]
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    here = [Check("torch", "ok", f"{torch.__version__}, {build}")]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        text = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in names)
        return [*here, Check("GPU", "ok", text)]
    if torch.backends.mps.is_available():
        return [*here, Check("GPU", "ok", "Apple Metal (MPS)")]
    if shutil.which("nvidia-smi") is None:
        return [*here, Check("GPU", "note", "none; everything runs on the CPU")]
    fix = "install the CUDA build of torch that pytorch.org names for your driver"
    return [*here, Check("GPU", "fault", "an NVIDIA driver is here, but torch cannot use it", fix)]


def check_reader(name: str) -> Check:
    """Whether a reading library loads."""
    try:
        import_module(name)
    except ImportError as error:
        return Check(name, "fault", f"does not load ({error})", f"pip install --force-reinstall {name}")
    return Check(name, "ok", f"{version(name)} ({_READERS[name]})")


def check_dicom_decoders() -> Check:
    """Whether compressed DICOM frames can be decoded."""
    decoders: Any = import_module("pydicom.pixels.decoders")
    missing = [title for title, name in _DICOM_DECODERS.items() if not getattr(decoders, name).is_available]
    if missing:
        fix = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        return Check("DICOM decoders", "fault", f"none for {', '.join(missing)}", fix)
    return Check("DICOM decoders", "ok", ", ".join(_DICOM_DECODERS))


def check_openslide() -> Check:
    """Whether OpenSlide and the library that it wraps are there."""
    try:
        import_module("openslide")
    except (ImportError, OSError) as error:
        fix = "pip install --force-reinstall openslide-python openslide-bin"
        return Check("openslide", "fault", f"slides of most scanners need it: {error}", fix)
    return Check("openslide", "ok", f"{version('openslide-python')}, slides of most scanners")


def check_weights(name: str) -> Check:
    """Whether an embedded encoder is there and whole; its hash is compared where the wheel recorded one."""
    fix = "pip install --force-reinstall --no-deps napari-sslmaps"
    try:
        spec, path = get_spec(name), weights_path(name)
    except (SSLMapsError, KeyError, ValueError) as error:
        return Check(name, "fault", str(error), fix)
    digest = sha256(path.read_bytes())
    recorded = _recorded_hash(path)
    if recorded and recorded != urlsafe_b64encode(digest.digest()).rstrip(b"=").decode():
        return Check(name, "fault", f"{path} is not the file that was installed", fix)
    card = recorded_sha256(name)
    if card not in ("", digest.hexdigest()):
        return Check(name, "fault", f"{path} is not the file that its card describes", fix)
    state = "as published" if card else "as installed" if recorded else "present"
    detail = f"{spec.architecture.summary}, {state}, sha256 {digest.hexdigest()[:12]}…"
    return Check(name, "ok", detail)


def check_hub() -> Check:
    """Whether published encoders can be downloaded to where they are kept, and which are there."""
    from huggingface_hub import constants

    found = check_folder("downloads", Path(constants.HF_HUB_CACHE))
    if found.status != "ok":
        return replace(found, fix=f"{found.fix}, or name another folder in HF_HOME")
    here = [spec.name for spec in published_specs() if spec.path is not None]
    return replace(found, detail=f"{found.detail}; {', '.join(here) or 'no published encoder'} downloaded")


def check_user_encoders() -> list[Check]:
    """Whether the list of the user's encoders can be read, and whether each is as it was when added."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserEncodersWarning)
        specs = remembered()
    troubles = [Check("your encoders", "fault", str(warning.message)) for warning in caught]
    forget = "or forget it: napari-sslmaps encoders forget"
    return troubles + [
        Check(spec.name, "note", spec.trouble, f"{forget} {spec.name}")
        if spec.trouble
        else Check(spec.name, "ok", f"yours, {spec.architecture.summary}, sha256 {spec.sha256[:12]}…")
        for spec in specs
    ]


def check_cache() -> Check:
    """Whether embeddings can be kept in the folder of the cache, wherever the environment says it is."""
    try:
        return check_folder("cache", Cache().root)
    except InvalidOptionError as error:
        return Check("cache", "fault", str(error), "correct or unset the variable")


def check_folder(name: str, folder: Path) -> Check:
    """Whether a folder can be written to, and is on a disk with some space."""
    if is_address(folder):
        return Check(name, "fault", f"{folder} is written like an address", "name a folder on this machine")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        fix = f"make {folder} writable"
        return Check(name, "fault", f"{folder}: {error.strerror}", fix)
    free = shutil.disk_usage(folder).free / 1e9
    if free < _LITTLE_GB:
        return Check(name, "note", f"{folder}, {free * 1000:.0f} MB free", "free some space there")
    return Check(name, "ok", f"{folder}, {free:.0f} GB free")


_LITTLE_GB = 1.0


def _recorded_hash(path: Path) -> str:
    try:
        installed = distribution("napari-sslmaps").files or []
    except PackageNotFoundError:
        return ""
    for entry in installed:
        if entry.name == path.name and entry.hash is not None:
            return entry.hash.value
    return ""
