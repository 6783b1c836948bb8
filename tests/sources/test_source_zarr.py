from pathlib import Path

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
