"""What was seen in a region of a file, so that the file need not be read to know it again."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from napari_sslmaps.cache.files import whole_file
from napari_sslmaps.cache.key import digest_of
from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.scan import RegionScan

Parts = Sequence[Region] | None
"""The only parts of a region that are scanned; None for all of it."""


def recall_scan(folder: Path, file: FileIdentity, region: Region, parts: Parts = None) -> RegionScan | None:
    """Return what was seen in a region of a file, or None if that is not known or its record is damaged."""
    try:
        record = json.loads(_path(folder, file, region, parts).read_bytes())
        values = record["scan"]
        if record["check"] != digest_of(values):
            return None
        return RegionScan(**{**values, "window": tuple(values["window"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_scan(
    folder: Path, file: FileIdentity, region: Region, scan: RegionScan, parts: Parts = None
) -> None:
    """Write down what was seen in a region of a file.

    Raises
    ------
    OSError
        If that cannot be written.
    """
    values = asdict(scan)
    record = {"scan": values, "check": digest_of(values)}
    with whole_file(_path(folder, file, region, parts)) as out:
        out.write(json.dumps(record).encode())


def _path(folder: Path, file: FileIdentity, region: Region, parts: Parts) -> Path:
    limited = {} if parts is None else {"parts": [part.to_dict() for part in parts]}
    return folder / f"{digest_of({**asdict(file), **region.to_dict(), **limited})}.json"
