"""Images as a user names them: paths and samples, opened and hashed once."""

from hashlib import sha256
from pathlib import Path
from typing import get_args

from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError
from napari_sslmaps.files import hash_path, user_path
from napari_sslmaps.pipeline.masks import FoundMask, MaskLike
from napari_sslmaps.records.places import Places
from napari_sslmaps.records.run import ImageRecord, MaskRecord
from napari_sslmaps.records.verify import check_unchanged
from napari_sslmaps.sources.channels import of_colours
from napari_sslmaps.sources.formats import is_url, local_path, url_of
from napari_sslmaps.sources.masks import read_mask
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.open_options import AS_STORED, OpenOptions
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.samples import SAMPLES, Sample


def wanted_tokens(mask: str) -> tuple[str, MaskRecord | None]:
    """Understand a mask: the name of what is to be found, or a label image.

    Returns
    -------
    tuple
        Values for ``RunOptions.mask`` and ``RunRequest.mask``; one of them is empty.

    Raises
    ------
    InvalidOptionError
        If it is neither.
    """
    if not mask or mask in get_args(FoundMask):
        return mask, None
    path = user_path(mask).absolute()
    if not path.is_file():
        raise InvalidOptionError(
            f"Expected a mask {', '.join(get_args(FoundMask))} or a label image; got {mask!r}, and there "
            "is no such file. Check the path."
        )
    return "", MaskRecord(str(path), hash_path(path))


SAMPLE_PREFIX = "sample:"


def find_sample(key: str) -> Sample:
    """Return a sample, or raise `UnsupportedImageError` naming them all."""
    if key not in SAMPLES:
        raise UnsupportedImageError(
            f"Expected a sample among {', '.join(SAMPLES)}; got {key!r}. Choose one of these."
        )
    return SAMPLES[key]


def _sample_key(image: str) -> str:
    return image.removeprefix(SAMPLE_PREFIX) if image.startswith(SAMPLE_PREFIX) else ""


def open_named(image: str, opening: OpenOptions = AS_STORED) -> ImageSource:
    """Open the image of a request.

    Parameters
    ----------
    image
        A path, or ``sample:…``.
    opening
        Options with which it is opened.

    Raises
    ------
    UnsupportedImageError
        If it cannot be read, or there is no such sample.
    InvalidOptionError
        If there is no such channel, or a sample is asked for one of several images.
    """
    key = _sample_key(image)
    if key:
        return _open_sample(find_sample(key), opening)
    where = url_of(image) if is_url(image) else local_path(image).absolute()
    return open_image(where, **opening.keywords)


def _open_sample(sample: Sample, opening: OpenOptions) -> ImageSource:
    if opening.series:
        raise InvalidOptionError(
            f"Expected series with a file that holds several images; the sample {sample.title} holds one. "
            "Leave it out."
        )
    return of_colours(sample.open(opening.um_per_px), opening.channel or None)


def record_of(image: str, source: ImageSource) -> ImageRecord:
    """Say which image this is, with the hash of its file, all of which is read for it.

    Parameters
    ----------
    image, source
        Image as `open_named` takes it, and what it opened.
    """
    shape, spacing = source.levels[0].shape_yx, source.spacing_um_yx
    if is_url(image):  # nobody reads a whole slide over the net for its hash
        address = url_of(image)
        return ImageRecord(address, sha256(address.encode()).hexdigest(), "", shape, spacing)
    key = _sample_key(image)
    path = find_sample(key).path if key else user_path(image).absolute()
    return ImageRecord(str(path), hash_path(path), key, shape, spacing)


def recorded_image(what: str, record: ImageRecord, places: Places) -> str:
    """Return what opens an image of a record, as `open_named` takes it; its file must not have changed.

    Parameters
    ----------
    what
        Name of the image in the sentence.
    record, places
        Image to open, and folders in which it may lie.

    Raises
    ------
    RecordError
        If the file is gone or has changed.
    """
    if is_url(record.path):
        return record.path
    path = find_sample(record.sample).path if record.sample else places.find(record.path, record.sha256)
    check_unchanged(what, path, record.sha256)
    return SAMPLE_PREFIX + record.sample if record.sample else str(path)


def mask_in(mask: MaskRecord) -> MaskLike:
    """Read which tokens are wanted.

    Raises
    ------
    SSLMapsError
        If the file cannot be read, or is another than the one whose hash is known.
    """
    inside = read_mask(Path(mask.path)) != 0
    if mask.sha256 and hash_path(Path(mask.path)) != mask.sha256:
        raise InvalidOptionError(
            f"Expected the mask {Path(mask.path).name} as it was when this began; it has changed since. Run "
            "it again."
        )
    return inside if mask.cell_yx is None else PlacedMask(inside, mask.cell_yx, mask.origin_yx)
