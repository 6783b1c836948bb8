from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.open import open_image


def test_a_plain_array_is_an_image(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(20, 30), chunks=(8, 8), dtype="uint16")
    array[:] = np.arange(600).reshape(20, 30)
    with open_image(tmp_path / "a.zarr") as source:
        assert source.read(Region(3, 4, 1, 1)).item() == 94
        assert source.name == "a"


def test_a_group_without_multiscales_gets_a_sentence(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "g.zarr", mode="w")
    with pytest.raises(UnsupportedImageError, match=r"g\.zarr has no multiscales"):
        open_image(tmp_path / "g.zarr")


@pytest.mark.parametrize("content", ["{", '{"zarr_format": 9}', '{"zarr_format": 3, "node_type": "array"}'])
def test_damaged_metadata_gets_a_sentence(content: str, tmp_path: Path) -> None:
    folder = tmp_path / "d.zarr"
    folder.mkdir()
    (folder / "zarr.json").write_text(content)
    with pytest.raises(UnsupportedImageError, match=r"d\.zarr cannot be decoded"):
        open_image(folder)


def test_a_damaged_chunk_gets_a_sentence(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "c.zarr", shape=(20, 30), chunks=(20, 30), dtype="uint16")
    array[:] = 1
    chunk = next(path for path in (tmp_path / "c.zarr" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(b"broken")
    with (
        open_image(tmp_path / "c.zarr") as source,
        pytest.raises(UnsupportedImageError, match=r"c\.zarr cannot be decoded"),
    ):
        source.read(Region(0, 0, 20, 30))


COLOURS = np.random.default_rng(3).integers(0, 256, (3, 20, 30), dtype=np.uint8)


def read(path: Path, **options: Any) -> Any:
    with open_image(path, **options) as source:
        return source.read(Region(0, 0, *source.levels[0].shape_yx))


def test_a_level_alone_is_what_its_image_says(tmp_path: Path) -> None:
    """Its axes, channels and micrometres, not an array of three frames."""
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    datasets = []
    for number, step in enumerate((1, 2)):
        part = COLOURS[:, ::step, ::step]
        group.create_array(str(number), shape=part.shape, dtype="u1")[:] = part
        scale = {"type": "scale", "scale": [1, 0.5 * step, 0.25 * step]}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    axes = [{"name": "c"}, *({"name": name, "unit": "micrometer"} for name in "yx")]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    path = tmp_path / "a.zarr" / "1"
    np.testing.assert_array_equal(read(path), np.moveaxis(COLOURS[:, ::2, ::2], 0, -1))
    np.testing.assert_array_equal(read(path, channel=2), COLOURS[2, ::2, ::2])
    with open_image(path) as source:
        assert source.spacing_um_yx == (1.0, 0.5)
        assert source.name == "1"


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_axes_that_an_array_names_are_believed(zarr_format: Literal[2, 3], tmp_path: Path) -> None:
    names = ("channel", "x", "y")
    options: dict[str, Any] = {"dimension_names": names} if zarr_format == 3 else {}
    stored = COLOURS.swapaxes(1, 2)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=stored.shape, dtype="u1", zarr_format=zarr_format, **options
    )
    array[:] = stored
    if zarr_format == 2:  # as xarray has it
        array.attrs["_ARRAY_DIMENSIONS"] = list(names)
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), np.moveaxis(COLOURS, 0, -1))


def test_an_array_of_many_axes_is_read_as_ome_has_them(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(1, 1, 2, 20, 30), dtype="u1")
    array[0, 0] = COLOURS[:2]
    with open_image(tmp_path / "a.zarr") as source:
        assert source.frames == 2
        np.testing.assert_array_equal(source.read(Region(0, 0, 20, 30, frame=1)), COLOURS[1])
    zarr.create_array(tmp_path / "b.zarr", shape=(1,) * 6, dtype="u1")
    with pytest.raises(UnsupportedImageError, match=r"array of 2 to 5 axes; b\.zarr has 6"):
        open_image(tmp_path / "b.zarr")
