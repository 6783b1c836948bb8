from pathlib import Path

import pytest

from napari_sslmaps.files import footprint, hash_path


def test_hashes_see_every_byte_and_every_name(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    (folder / "c").mkdir(parents=True)
    (folder / "c" / "0").write_bytes(b"one")
    (folder / "zarr.json").write_bytes(b"two")
    hashes = {hash_path(folder)}
    (folder / "c" / "0").write_bytes(b"onE")
    hashes.add(hash_path(folder))
    (folder / "c" / "0").rename(folder / "c" / "1")
    hashes.add(hash_path(folder))
    assert len(hashes) == 3
    assert hash_path(folder / "zarr.json") == (
        "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
    )


def test_a_footprint_is_size_and_latest_change(tmp_path: Path) -> None:
    import os

    for name, seconds in (("a", 5), ("b", 9), ("c", 7)):
        (tmp_path / name).write_bytes(b"12")
        os.utime(tmp_path / name, ns=(0, seconds))
    assert footprint(tmp_path) == (6, 9)
    assert footprint(tmp_path / "c") == (2, 7)
    with pytest.raises(FileNotFoundError):
        footprint(tmp_path / "d")
