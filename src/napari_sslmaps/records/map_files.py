"""Maps as OME-TIFF with the geometry that is needed to overlay them, and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sslmaps.core.frames import FrameMap
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.pretext_views import Panel, PretextView
from napari_sslmaps.core.results import Embedding, Provenance, TokenMap
from napari_sslmaps.errors import ExportError, UnsupportedImageError
from napari_sslmaps.files import written_whole
from napari_sslmaps.maps.attention import AttentionStack
from napari_sslmaps.maps.registry import map_type_of, stored_values
from napari_sslmaps.sources.tiff import DAMAGE, read_first

FORMAT = "napari-sslmaps/map"
SpacingYX = tuple[float, float] | None


@dataclass(frozen=True, eq=False, slots=True)
class StoredMap:
    """A map read back from a file.

    Parameters
    ----------
    values
        (rows, cols), (rows, cols, 3) or (heads or frames, rows, cols[, 3]) float32.
    kind
        A key of `MAP_TYPES`, ``attention heads``, or the name of a panel of a pretext view.
    grid
        Grid that the tokens lie on.
    provenance
        Everything that decided the numbers.
    details
        Options of the map, for example its anchors.
    """

    values: NDArray[np.float32]
    kind: str
    grid: TokenGrid
    provenance: Provenance
    details: Mapping[str, Any]


def write_map(path: Path, result: TokenMap, *, spacing_um_yx: SpacingYX = None) -> None:
    """Write a map as float32 OME-TIFF, one pixel per token.

    ``PhysicalSize`` is the token pitch and ``Position`` the centre of the first token, in micrometres
    where the spacing is known and in image pixels otherwise; the image description holds grid, options
    and provenance as JSON, which `read_map` reads.

    Parameters
    ----------
    path
        File to write.
    result
        Map of values (rows, cols) or (rows, cols, 3); of maps of labels their labels are written.
    spacing_um_yx
        Micrometres per pixel of level 0 of the image, if known.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    kind, values = map_type_of(result), stored_values(result)
    axes = "YXS" if values.ndim == 3 else "YX"
    tags = _Tags(kind.key, result.grid, result.provenance, kind.facts(result))
    _write(path, values, axes, tags, spacing_um_yx)


def write_frames(path: Path, result: FrameMap, *, spacing_um_yx: SpacingYX = None) -> None:
    """Write the maps of frames, (frames, rows, cols) or with three colours; as `write_map` does.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    first = result.maps[0]
    kind = map_type_of(first)
    values = np.stack([stored_values(one) for one in result.maps])
    details = {**kind.facts(first), "frames": list(result.frames)}
    tags = _Tags(kind.key, first.grid, first.provenance, details)
    _write(path, values, "TYXS" if values.ndim == 4 else "TYX", tags, spacing_um_yx)


def write_heads(path: Path, source: Embedding | AttentionStack, *, spacing_um_yx: SpacingYX = None) -> None:
    """Write the attention of every head, (heads, rows, cols), one channel each; as `write_map` does.

    Parameters
    ----------
    path
        File to write.
    source
        An embedding of a transformer, for its last block; or what `attend` returned.
    spacing_um_yx
        Micrometres per pixel of level 0 of the image, if known.

    Raises
    ------
    ExportError
        If the embedding has no attention or the file cannot be written.
    """
    if isinstance(source, AttentionStack):
        heads, about = source.heads, {"of": source.kind, "block": source.block, "anchor": source.anchor}
    elif source.attention is not None:
        heads, about = source.attention, {"of": source.attention_kind}
    else:
        raise ExportError(
            f"Expected attention heads to write; {source.provenance.encoder!r} has none, since a CNN "
            "has no attention. Write its activation map."
        )
    tags = _Tags("attention heads", source.grid, source.provenance, about)
    _write(path, heads, "CYX", tags, spacing_um_yx)


def write_panel(path: Path, view: PretextView, panel: Panel, *, spacing_um_yx: SpacingYX = None) -> None:
    """Write one panel of a pretext view, one pixel per value; as `write_map` does.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    axes = "YXS" if panel.values.ndim == 3 else "YX"
    details = {"of": panel.kind, "limits": panel.limits, "notes": view.notes}
    _write(
        path,
        panel.values,
        axes,
        _Tags(panel.name, view.placed(panel), view.provenance, details),
        spacing_um_yx,
    )


def read_map(path: Path) -> StoredMap:
    """Read what `write_map`, `write_heads` or `write_panel` wrote.

    Raises
    ------
    UnsupportedImageError
        If the file was not written by this package.
    """
    try:
        values, about = read_first(path)
        image = tifffile.xml2dict(about)["OME"]["Image"]
        tags = json.loads(image["Description"])
        grid = TokenGrid(**{key: _tupled(value) for key, value in tags["grid"].items()})
        provenance = Provenance.from_dict(tags["provenance"])
        kind, details = str(tags["map"]), dict(tags["details"])
    except (*DAMAGE, AttributeError, RecursionError) as error:
        raise UnsupportedImageError(
            f"Expected a map written by napari-sslmaps; {path.name} is not one, or is damaged ({error})."
        ) from error
    return StoredMap(np.asarray(values, np.float32), kind, grid, provenance, details)


@dataclass(frozen=True, slots=True)
class _Tags:
    kind: str
    grid: TokenGrid
    provenance: Provenance
    details: Mapping[str, Any]

    def to_json(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "schema": 1,
                "map": self.kind,
                "grid": asdict(self.grid),
                "details": self.details,
                "provenance": self.provenance.to_dict(),
            }
        )


def _write(path: Path, values: NDArray[Any], axes: str, tags: _Tags, spacing_um_yx: SpacingYX) -> None:
    unit, scale = ("pixel", (1.0, 1.0)) if spacing_um_yx is None else ("µm", spacing_um_yx)
    pitch = np.asarray(tags.grid.stride_yx) * scale
    first = tags.grid.token_to_pixel((0, 0)) * scale
    planes = 1 if axes.startswith("Y") else values.shape[0]
    metadata: dict[str, Any] = {
        "axes": axes,
        "Name": " · ".join(filter(None, (tags.kind, tags.provenance.encoder, tags.provenance.depth))),
        "Description": tags.to_json(),
        "PhysicalSizeY": float(pitch[0]),
        "PhysicalSizeX": float(pitch[1]),
        "PhysicalSizeYUnit": unit,
        "PhysicalSizeXUnit": unit,
        "Plane": {
            "PositionY": [float(first[0])] * planes,
            "PositionX": [float(first[1])] * planes,
            "PositionYUnit": [unit] * planes,
            "PositionXUnit": [unit] * planes,
        },
    }
    if axes == "CYX":
        metadata["Channel"] = {"Name": [f"head {head}" for head in range(planes)]}
    per_centimetre = None if spacing_um_yx is None else (1e4 / pitch[1], 1e4 / pitch[0])
    with written_whole(path) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(values, dtype=np.float32),
            ome=True,
            photometric="rgb" if axes.endswith("S") else "minisblack",
            compression="zlib",
            metadata=metadata,
            resolution=per_centimetre,
            resolutionunit=None if per_centimetre is None else "CENTIMETER",
        )


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
