"""Clips, volumes and CZI against the libraries that wrote them, and the one table of formats."""

import gzip
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml
from numpy.typing import NDArray
from pylibCZIrw import czi

import napari_sslmaps
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import ChannelsError, MissingExtraError, UnsupportedImageError
from napari_sslmaps.inputs.listing import list_items
from napari_sslmaps.sources.formats import IMAGE_SUFFIXES, NAPARI_PATTERNS
from napari_sslmaps.sources.open import open_image

RNG = np.random.default_rng(2)


def frames_of(image: Any, **options: Any) -> NDArray[Any]:
    with open_image(image, **options) as source:
        shape = source.levels[0].shape_yx
        return np.stack([source.read(Region(0, 0, *shape, 0, frame)) for frame in range(source.frames)])


def clip(path: Path, frames: NDArray[np.uint8], codec: str, pixels: str) -> Path:
    """Write frames without loss."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=20)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        for frame in frames:
            made = av.VideoFrame.from_ndarray(frame, format="gray" if frame.ndim == 2 else "rgb24")
            file.mux(stream.encode(made.reformat(format=pixels)))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.avi", "ffv1", "bgr0"), ("a.mkv", "ffv1", "bgr0"), ("a.mov", "png", "rgb24")],
)
def test_a_clip_has_its_frames_in_any_order(name: str, codec: str, pixels: str, tmp_path: Path) -> None:
    frames = RNG.integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)
    path = clip(tmp_path / name, frames, codec, pixels)
    np.testing.assert_array_equal(frames_of(path), frames)
    with open_image(path) as source:
        for frame in (7, 0, 3, 8):
            np.testing.assert_array_equal(
                source.read(Region(3, 5, 8, 9, 0, frame)), frames[frame, 3:11, 5:14]
            )


def test_a_clip_without_colours_is_grey(tmp_path: Path) -> None:
    frames = RNG.integers(0, 256, (4, 32, 48), dtype=np.uint8)
    np.testing.assert_array_equal(frames_of(clip(tmp_path / "a.mkv", frames, "ffv1", "gray")), frames)


def test_an_mp4_as_cameras_write_it(tmp_path: Path) -> None:
    """With frames that are made of later ones, and the loss of its compression."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    frames = np.stack([np.tile(np.roll(ramp, 8 * number)[None, :, None], (64, 1, 3)) for number in range(30)])
    found = frames_of(clip(tmp_path / "a.mp4", frames, "mpeg4", "yuv420p"))
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).mean(axis=(1, 2, 3)).max() < 12


def test_a_clip_that_is_sought_beyond_a_frame_is_decoded_from_its_start(tmp_path: Path) -> None:
    """An MPEG program stream with one key frame: seeking leads past its frames."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    path = clip(
        tmp_path / "a.mpg",
        np.stack([np.tile(np.roll(ramp, 5 * number)[None, :, None], (64, 1, 3)) for number in range(11)]),
        "mpeg2video",
        "yuv420p",
    )
    with av.open(str(path)) as file:
        decoded = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with open_image(path) as source:
        assert source.frames == len(decoded)
        for number in (10, 2, 0, 7, 4):
            np.testing.assert_array_equal(source.read(Region(0, 0, 64, 64, frame=number)), decoded[number])


def test_a_broken_clip_gets_a_sentence(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.avi", RNG.integers(0, 256, (4, 32, 48, 3), dtype=np.uint8), "ffv1", "bgr0")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UnsupportedImageError, match=r"readable clip; a\.avi cannot be decoded"):
        open_image(path)


def volume(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    image = sitk.GetImageFromArray(pixels, **options)
    image.SetSpacing([0.25, 0.5, 2.0][: image.GetDimension()])
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nii", "v.mhd", "v.mha", "v.nrrd"])
def test_slices_of_a_volume_are_frames(name: str, tmp_path: Path) -> None:
    pixels = RNG.integers(-900, 900, (5, 24, 32)).astype(np.int16)
    path = volume(tmp_path / name, pixels)
    np.testing.assert_array_equal(frames_of(path), pixels)
    with open_image(path) as source:
        assert source.spacing_um_yx == pytest.approx((500, 250))
        assert source.name == "v"


def test_a_volume_that_does_not_say_its_spacing_has_none(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.mhd", RNG.random((3, 8, 8)).astype(np.float32))
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "Spacing" not in line) + "\n")
    with open_image(path) as source:
        assert source.spacing_um_yx is None


def test_a_plane_of_colours_in_a_volume_format(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(frames_of(volume(tmp_path / "v.nrrd", pixels, isVector=True))[0], pixels)


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nii"])
def test_a_nifti_that_ends_early_is_refused(name: str, tmp_path: Path) -> None:
    """ITK shows zeros in place of what is missing."""
    path = volume(tmp_path / name, RNG.integers(-900, 900, (5, 24, 32)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(
        UnsupportedImageError, match=rf"{name} cannot be decoded \(.*end(s .*early|ed before)"
    ):
        open_image(path)


def test_a_nifti_of_several_members_of_gzip_opens(tmp_path: Path) -> None:
    """As bgzip writes it: the last size in it is none of the whole."""
    pixels = RNG.integers(-900, 900, (5, 24, 32)).astype(np.int16)
    content = volume(tmp_path / "v.nii", pixels).read_bytes()
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]))
    np.testing.assert_array_equal(frames_of(tmp_path / "v.nii.gz"), pixels)


@pytest.mark.parametrize("magic", [b"ni1\0", bytes(4)], ids=["NIfTI", "Analyze"])
def test_a_pair_of_header_and_pixels_opens_by_either(magic: bytes, tmp_path: Path) -> None:
    pixels = RNG.integers(-900, 900, (5, 24, 32)).astype(np.int16)
    volume(tmp_path / "v.hdr", pixels)
    header = (tmp_path / "v.hdr").read_bytes()
    (tmp_path / "v.hdr").write_bytes(header[:344] + magic + header[348:])
    for name in ("v.hdr", "v.img"):
        np.testing.assert_array_equal(frames_of(tmp_path / name), pixels)
    stored = (tmp_path / "v.img").read_bytes()
    (tmp_path / "v.img").write_bytes(stored[:-100])
    with pytest.raises(UnsupportedImageError, match="ends 100 bytes early"):
        open_image(tmp_path / "v.hdr")


@pytest.mark.parametrize(
    ("header", "pixels"),
    [
        ("v.mhd", "v.raw"),
        ("v.mhd", "my scan.raw"),
        ("v.nhdr", "v.raw"),
        ("v.hdr", "v.img"),
        ("v.img", "v.hdr"),
    ],
)
def test_one_of_two_files_without_the_other_says_which_is_missing(
    header: str, pixels: str, tmp_path: Path
) -> None:
    written = volume(tmp_path / header, np.zeros((3, 8, 8), np.int16))
    other = "v.raw" if pixels == "my scan.raw" else pixels
    (tmp_path / other).unlink()
    if other != pixels:
        written.write_text(written.read_text().replace(other, pixels))
    with pytest.raises(UnsupportedImageError, match=rf"{pixels} beside {header}.* there is none") as refusal:
        open_image(written)
    assert "damaged" not in str(refusal.value)


def test_pixels_in_a_file_whose_name_has_spaces(tmp_path: Path) -> None:
    pixels = RNG.integers(-900, 900, (3, 24, 32)).astype(np.int16)
    path = volume(tmp_path / "v.mhd", pixels)
    (tmp_path / "v.raw").rename(tmp_path / "my scan.raw")
    path.write_text(path.read_text().replace("v.raw", "my scan.raw"))
    np.testing.assert_array_equal(frames_of(path), pixels)


def test_parts_of_a_vector_are_no_colours(tmp_path: Path) -> None:
    field = RNG.random((24, 32, 3)).astype(np.float32)
    path = volume(tmp_path / "v.nrrd", field, isVector=True)
    with pytest.raises(ChannelsError, match="0, 1, 2"):
        open_image(path)
    np.testing.assert_array_equal(frames_of(path, channel=2)[0], field[..., 2])
    with pytest.raises(ChannelsError, match="0, 1"):  # an opacity that is none
        open_image(volume(tmp_path / "v.mha", field[..., :2], isVector=True))


@pytest.mark.parametrize("field", ["type", "sizes", "labels", "space directions"])
def test_an_nrrd_whose_field_ends_the_process_is_refused(tmp_path: Path, field: str) -> None:
    fields = {"type": "uchar", "dimension": "2", "sizes": "4 4", "encoding": "raw", field: "[" * 3000}
    header = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in fields.items())
    path = tmp_path / "v.nrrd"
    path.write_bytes(header.encode() + b"\n" + bytes(16))
    with pytest.raises(UnsupportedImageError, match=r"a line of its header has 3,0\d\d characters"):
        open_image(path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_long_comments_and_pixels_of_an_nrrd_are_no_field(tmp_path: Path, end: str) -> None:
    lines = [
        "NRRD0004",
        "# " + "a" * 3000,
        "type: uchar",
        "dimension: 2",
        "sizes: 64 64",
        "encoding: raw",
        "k:=" + "b" * 3000,
    ]
    path = tmp_path / "v.nrrd"
    path.write_bytes(end.join([*lines, "", ""]).encode() + bytes([7]) * 4096)
    assert (frames_of(path)[0] == 7).all()


def test_an_nrrd_in_micrometres(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.nrrd", RNG.random((3, 8, 8)).astype(np.float32))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\nencoding", b'\nspace units: "um" "um" "um"\nencoding', 1))
    with open_image(path) as source:
        assert source.spacing_um_yx == pytest.approx((0.5, 0.25))


def zeiss(path: Path, planes: NDArray[Any]) -> Path:
    """Write (channels, slices, rows, columns[, 3])."""
    with czi.create_czi(str(path)) as file:
        for channel, stack in enumerate(planes):
            for number, plane in enumerate(stack):
                stored = plane[..., ::-1] if plane.ndim == 3 else plane
                file.write(np.ascontiguousarray(stored), plane={"C": channel, "Z": number})
        file.write_metadata(
            "made",
            channel_names=dict(enumerate(("DAPI", "GFP")[: len(planes)])),
            scale_x=0.25e-6,
            scale_y=0.5e-6,
        )
    return path


def test_a_czi_has_channels_and_slices(tmp_path: Path) -> None:
    planes = RNG.integers(0, 60_000, (2, 3, 40, 56)).astype(np.uint16)
    path = zeiss(tmp_path / "a.czi", planes)
    with pytest.raises(ChannelsError, match="0 DAPI, 1 GFP"):
        open_image(path)
    np.testing.assert_array_equal(frames_of(path, channel="GFP"), planes[1])
    with open_image(path, channel=0) as source:
        assert source.spacing_um_yx == pytest.approx((0.5, 0.25))
        np.testing.assert_array_equal(source.read(Region(3, 4, 9, 8, 0, 2)), planes[0, 2, 3:12, 4:12])


def test_a_czi_in_colours(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (1, 1, 40, 56, 3), dtype=np.uint8)
    np.testing.assert_array_equal(frames_of(zeiss(tmp_path / "a.czi", pixels))[0], pixels[0, 0])


@pytest.mark.parametrize(
    ("name", "start"), [("a.mp4", b"\0\0\0\x18ftypisom"), ("a.nrrd", b"NRRD0004"), ("a.mhd", b"NDims = 3")]
)
def test_formats_of_the_extra_name_it(
    name: str, start: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(start)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"napari-sslmaps\[formats\]"):
        open_image(tmp_path / name)


def test_a_folder_says_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("a.czi", "b.btf", "c.NII.GZ", "notes.txt", "more.txt", "x.raw", ".hidden"):
        (tmp_path / name).write_bytes(b"some")
    listing = list_items([tmp_path])
    assert [item.name for item in listing.items] == ["a.czi", "b.btf", "c.NII.GZ"]
    assert listing.notes == (
        f"Left out of {tmp_path.name}: 3 files are no images by name (2 .txt, 1 .raw), more.txt among them.",
    )


def test_the_reader_claims_what_napari_cannot_read_and_every_name_is_in_one_table() -> None:
    manifest = Path(napari_sslmaps.__file__).parent / "napari.yaml"
    (reader,) = yaml.safe_load(manifest.read_text())["contributions"]["readers"]
    assert sorted(reader["filename_patterns"]) == sorted(NAPARI_PATTERNS)
    assert not {"*.png", "*.jpg", "*.tif", "*.tiff", "*.npy"} & set(NAPARI_PATTERNS)
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES)


def test_an_npy_stack_of_colour_images_is_one_for_training_too(tmp_path: Path) -> None:
    from napari_sslmaps.lab.training.datasets.files import scan_files
    from napari_sslmaps.lab.training.recipes import DataRecipe

    pixels = RNG.integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    np.testing.assert_array_equal(frames_of(tmp_path / "a.npy"), pixels)
    assert len(scan_files(tmp_path, DataRecipe(field=32))) == 5
    np.save(tmp_path / "a.npy", pixels[..., 0])
    np.testing.assert_array_equal(frames_of(tmp_path / "a.npy"), pixels[..., 0])
