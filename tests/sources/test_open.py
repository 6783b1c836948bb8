"""Files that are not what they seem, damaged, or of no known kind."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from case_kit import picture
from PIL import Image
from pydicom import examples
from slide_kit import write_bare
from tiff_cases import tiff_ome_files

from napari_sslmaps.cli.commands import main
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import UnsupportedImageError, WeightsUnavailableError
from napari_sslmaps.sources.open import find_images, open_image


def read_whole(path: Path) -> None:
    with open_image(path) as source:
        source.read(Region(0, 0, *source.levels[0].shape_yx, frame=source.frames - 1))


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.tif"
    Image.fromarray(picture((20, 30, 3))).save(path, format="PNG")
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, 20, 30)), picture((20, 30, 3)))


def test_a_dicom_file_with_a_tiff_preamble_is_dicom() -> None:
    path = Path(examples.get_path("rgb_color"))
    assert path.read_bytes().startswith(b"II*\0")
    with open_image(path) as source:
        assert source.levels[0].shape_yx == (240, 320)


def _tiff(path: Path) -> None:
    tifffile.imwrite(path, picture((200, 300, 3)), tile=(64, 64), compression="zlib")


def _raw_tiff(path: Path) -> None:
    tifffile.imwrite(path, picture((200, 300, 3)))


def _png(path: Path) -> None:
    Image.fromarray(picture((200, 300, 3))).save(path, format="PNG")


def _jpeg(path: Path) -> None:
    Image.fromarray(picture((200, 300, 3))).save(path, format="JPEG")


def _dicom(path: Path) -> None:
    path.write_bytes(Path(examples.get_path("ybr_color")).read_bytes())


def _numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, picture((200, 300)))


@pytest.mark.parametrize("write", [_tiff, _raw_tiff, _png, _jpeg, _dicom, _numpy])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_files_get_a_sentence(write: object, share: float, tmp_path: Path) -> None:
    path = tmp_path / "cut.img"
    write(path)  # type: ignore[operator]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UnsupportedImageError, match=r"cut\.img (cannot be|starts with|has none)") as caught:
        read_whole(path)
    assert str(caught.value).startswith("Expected")


def test_a_corrupt_tile_is_reported_and_the_rest_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "tile.tif"
    _tiff(path)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[3]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, 64, 64)), picture((200, 300, 3))[:64, :64])
        with pytest.raises(UnsupportedImageError, match="damaged or truncated: copy or export it again"):
            source.read(Region(0, 192, 64, 64))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"hello, this is a text file", "which is none of them"),
        (b"II*\0" + b"\xff" * 60, "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n" + b"junk" * 20, "cannot be decoded"),
        (b"\xff\xd8\xff" + b"junk" * 20, "cannot be decoded"),
        (b"BM" + b"junk" * 20, "cannot be decoded"),
        (b"GIF89a" + b"junk" * 20, "cannot be decoded"),
        (b"\x93NUMPY" + b"junk" * 20, "cannot be read"),
        (bytes(128) + b"DICM" + b"junk" * 20, "(cannot be decoded|has none)"),
    ],
)
def test_files_of_no_use_get_a_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "file.dat"
    path.write_bytes(content)
    with pytest.raises(UnsupportedImageError, match=sentence):
        read_whole(path)


def test_a_missing_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match=r"there is none at .*absent\.tif\. Check the path"):
        open_image(tmp_path / "absent.tif")


def test_a_folder_that_is_no_image_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match="a folder with neither"):
        open_image(str(tmp_path))


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnsupportedImageError, match="Expected a NumPy array of numbers"):
        open_image(tmp_path / "objects.npy")


def test_fluorescence_channels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "five.ome.tif"
    tifffile.imwrite(path, picture((5, 20, 30)), metadata={"axes": "CYX"})
    with pytest.raises(UnsupportedImageError, match=r"grey or RGB pixels in five\.ome\.tif; got C = 5"):
        open_image(path)


def test_frames_run_along_several_axes_the_last_one_fastest(tmp_path: Path) -> None:
    pixels = picture((2, 3, 20, 30))
    tifffile.imwrite(tmp_path / "tz.ome.tif", pixels, metadata={"axes": "TZYX"})
    stained = picture((2, 4, 3, 20, 30))
    tifffile.imwrite(tmp_path / "tcz.ome.tif", stained, metadata={"axes": "TCZYX"})
    for name, expected, channel in (("tz.ome.tif", pixels, None), ("tcz.ome.tif", stained[:, 2], 2)):
        with open_image(tmp_path / name, channel=channel) as source:
            assert source.frames == 6
            assert source.notes == ("Its 6 frames run along T = 2 × Z = 3, Z fastest.",)
            for frame in range(6):
                read = source.read(Region(4, 5, 10, 20, 0, frame))
                np.testing.assert_array_equal(read, expected[frame // 3, frame % 3, 4:14, 5:25])


def test_a_huge_level_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    path = write_bare(tmp_path / "huge.tif", 125_000, 160_000, strips=1000)
    assert path.stat().st_size > 60e9
    with path.open("r+b") as file:
        file.seek(4096 + (124_000 * 160_000 + 150_000) * 3)
        file.write(bytes(range(30)))
    with open_image(path) as source:
        pixels = source.read(Region(124_000, 150_000, 2, 10))
    np.testing.assert_array_equal(pixels[0].ravel(), np.arange(30))
    assert not pixels[1].any()


def test_a_huge_level_compressed_in_one_piece_gets_a_sentence(tmp_path: Path) -> None:
    path = write_bare(tmp_path / "piece.tif", 125_000, 160_000, strips=1, compression=8)
    with (
        open_image(path) as source,
        pytest.raises(UnsupportedImageError, match=r"125000 × 160000 px in one piece, 60 GB\. Convert"),
    ):
        source.read(Region(0, 0, 10, 10))


def test_an_empty_level_gets_a_sentence(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    for name, side in (("0", 8), ("1", 0)):
        group.create_array(name, shape=(side, side), chunks=(8, 8), dtype="uint8")
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]}
    with pytest.raises(UnsupportedImageError, match=r"levels of at least one pixel.*got 8 × 8, 0 × 0 px"):
        open_image(tmp_path / "a.zarr")


def test_levels_in_the_wrong_order_get_a_sentence() -> None:
    with pytest.raises(UnsupportedImageError, match="from the finest to the coarsest"):
        open_image([np.zeros((4, 4)), np.zeros((8, 8))])


def test_a_level_that_is_named_but_missing_gets_a_sentence(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("0", shape=(8, 8), chunks=(8, 8), dtype="uint8")
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]}
    with pytest.raises(UnsupportedImageError, match=r"a\.zarr cannot be decoded"):
        open_image(tmp_path / "a.zarr")


def test_a_plane_whose_file_is_missing_gets_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiff_ome_files(tmp_path).source.close()
    (tmp_path / "1.ome.tif").unlink()
    with caplog.at_level("CRITICAL", "tifffile"), open_image(tmp_path / "0.ome.tif") as source:
        assert source.read(Region(0, 0, 9, 9)).shape == (9, 9)
        with pytest.raises(UnsupportedImageError, match=r"plane 2 is missing; another file may hold it"):
            source.read(Region(0, 0, 9, 9, frame=1))


@contextmanager
def without_overriding() -> Iterator[None]:
    """Heed permissions as root, too: Linux lets a thread lay down what overrides them, for a while."""
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    before = sets[0]
    sets[0] = before & ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    if os.name == "nt":
        pytest.skip("permissions are another thing there")
    folder = tmp_path / "locked"
    folder.mkdir(0o000)
    with without_overriding():
        with pytest.raises(PermissionError):
            list(folder.iterdir())
        yield folder
    folder.chmod(0o700)


def test_what_may_not_be_read_gets_a_sentence(locked: Path) -> None:
    for path in (locked / "a.png", locked):
        with pytest.raises(UnsupportedImageError, match=r"locked.* cannot be opened \(Permission denied\)"):
            open_image(path)
    with pytest.raises(UnsupportedImageError, match=r"Expected folders that can be read; .*locked"):
        list(find_images(locked.parent))
    for path in (locked / "w.pth", locked):
        with pytest.raises(WeightsUnavailableError, match=r"the system refuses .*locked"):
            load_encoder(path)


def test_any_refusal_is_a_sentence_at_the_command_line(
    locked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(locked))
    with pytest.raises(SystemExit) as end:
        main(["cache", "list"])
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith(f"Error: Expected to be allowed to open {locked}")


def test_no_link_leads_twice_to_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("a.png", "deep/b.png", "deep/er/c.png"):
        (tmp_path / name).write_bytes(b"")
    for name in ("back", "deep/back", "deep/er/back", "deep/er/again"):
        (tmp_path / name).symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "z").symlink_to(tmp_path / "deep" / "er")
    assert [path.name for path in find_images(tmp_path)] == ["a.png", "b.png", "c.png"]


def test_a_linked_folder_is_searched(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"")
    (tmp_path / "images" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert list(find_images(tmp_path / "images")) == [tmp_path / "images" / "link" / "a.png"]


def test_a_thousand_folders_in_each_other_are_searched(tmp_path: Path) -> None:
    folders = [tmp_path]
    for _ in range(1200):
        folders.append(folders[-1] / "a")
        folders[-1].mkdir()
    image = folders[-1] / "b.png"
    image.write_bytes(b"")
    assert list(find_images(tmp_path)) == [image]
    image.unlink()
    for folder in reversed(folders[1:]):
        folder.rmdir()
