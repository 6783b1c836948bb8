"""Small files that lie: valid ones in which a number is another."""

import gzip
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs.blosc
import numcodecs.zstd
import numpy as np
import pydicom
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image
from pydicom import examples
from pydicom.encaps import encapsulate
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

HUGE = 10**9


def grey() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (64, 96), dtype=np.uint8)


def tiff(path: Path, tags: dict[str, int], **options: Any) -> Path:
    tifffile.imwrite(path, grey(), **options)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in tags.items():
            file.pages[0].tags[name].overwrite(value, dtype="I")
    return path


def tiff_of_one_strip(folder: Path) -> Path:
    return tiff(folder / "a.tif", {"ImageWidth": 2**32 - 1, "ImageLength": 2**32 - 1})


def tiff_of_one_tile_row(folder: Path) -> Path:
    large = {"ImageWidth": 400_000, "ImageLength": 400_000}
    return tiff(folder / "a.tif", large, tile=(32, 32), compression="zlib")


def tiff_of_a_large_tile(folder: Path) -> Path:
    large = {"TileWidth": 30_000, "TileLength": 30_000}
    return tiff(folder / "a.tif", large, tile=(32, 32), compression="zlib")


def tiff_of_plain_strips(folder: Path) -> Path:
    large = {"ImageWidth": 400_000, "ImageLength": 400_000, "RowsPerStrip": 400_000}
    return tiff(folder / "a.tif", large)


def tiff_of_long_words(folder: Path) -> Path:
    path = tiff(folder / "a.tif", {})
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, first)
    entries = [first + 2 + 12 * number for number in range(count)]
    words = next(at for at in entries if struct.unpack_from("<H", content, at)[0] == 270)
    struct.pack_into("<I", content, words + 4, 2_000_000_000)
    path.write_bytes(content)
    os.truncate(path, 2_000_100_000)
    return path


def tiff_of_a_tile_that_is_larger(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", np.stack([grey()] * 3, -1), compression="jpeg2000", tile=(64, 96))
    content = bytearray((folder / "a.tif").read_bytes())
    size = content.index(b"\xff\x4f\xff\x51") + 8
    struct.pack_into(">II", content, size, 100_000, 100_000)
    struct.pack_into(">II", content, size + 16, 100_000, 100_000)
    (folder / "a.tif").write_bytes(content)
    return folder / "a.tif"


def tiff_without_tiles(folder: Path) -> Path:
    return tiff(folder / "a.tif", {"TileWidth": 0}, tile=(32, 32))


def tiff_of_a_strip_that_inflates_to_much(folder: Path) -> Path:
    large = {"ImageWidth": 30_000, "ImageLength": 30_000, "RowsPerStrip": 30_000}
    path = tiff(folder / "a.tif", large, compression="zlib")
    strip = b"\x78\x9c" + deflated_gigabyte()
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["StripOffsets"].overwrite(path.stat().st_size)
        file.pages[0].tags["StripByteCounts"].overwrite(len(strip), dtype="I")
    with path.open("ab") as file:
        file.write(strip)
    return path


def chain_of_pages(folder: Path, pages: int, more: tuple[int, int, int, int] | None = None) -> Path:
    """Write pages that share their pixels and get one row less in turn."""
    start, out = 8 + 64 * 96, bytearray()
    for page in range(pages):
        rows = 64 - page % 40
        entries = [
            *((256, 4, 1, 96), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)),
            *((273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, 1, 96 * rows)),
            *((more,) if more else ()),
        ]
        following = start + len(out) + 2 + 12 * len(entries) + 4 if page < pages - 1 else 0
        out += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        out += struct.pack("<I", following)
    path = folder / "a.tif"
    path.write_bytes(struct.pack("<2sHI", b"II", 42, start) + grey().tobytes() + out + bytes(10**6))
    return path


def tiff_of_many_pages(folder: Path) -> Path:
    return chain_of_pages(folder, 50_000)


def tiff_of_many_levels(folder: Path) -> Path:
    return chain_of_pages(folder, 1, (330, 4, 250_000, 6400))


_OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" Type="uint8" DimensionOrder="XYZCT" SizeX="96" SizeY="64" SizeZ="1" SizeC="1" '
    'SizeT="{times}"><Channel ID="Channel:0:0"/><TiffData FirstT="0" IFD="0"><UUID '
    'FileName="a.ome.tif">urn:uuid:1</UUID></TiffData><TiffData FirstT="1" IFD="0"><UUID '
    'FileName="{other}">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>'
)


def ome_of_many_planes(folder: Path) -> Path:
    about = _OME.format(times=2 * HUGE, other="a.ome.tif")
    tifffile.imwrite(folder / "a.ome.tif", grey(), description=about, metadata=None)
    return folder / "a.ome.tif"


def ome_that_names_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    tifffile.imwrite(
        folder / "a.ome.tif", grey(), description=_OME.format(times=2, other="pipe"), metadata=None
    )
    return folder / "a.ome.tif"


def ome_of_words_that_are_searched_for_days(folder: Path) -> Path:
    about = _OME.partition("<Image")[0] + 300_000 * "<BinaryOnly " + "</OME>"
    tifffile.imwrite(folder / "a.ome.tif", grey(), description=about, metadata=None)
    return folder / "a.ome.tif"


def ome_of_many_images(folder: Path) -> Path:
    start, _, rest = _OME.format(times=900_000, other="a.ome.tif").partition("<Image")
    image = "<Image" + rest.removesuffix("</OME>")
    tifffile.imwrite(folder / "a.ome.tif", grey(), description=f"{start}{300 * image}</OME>", metadata=None)
    return folder / "a.ome.tif"


def zarr_of_many_levels(folder: Path) -> Path:
    zarr_array(folder / "a.zarr/0", 128, 64)
    image = {"version": "0.4", "axes": ["y", "x"], "datasets": 100_000 * [{"path": "0"}]}
    about = {"zarr_format": 3, "node_type": "group", "attributes": {"multiscales": [image]}}
    (folder / "a.zarr/zarr.json").write_text(json.dumps(about))
    return folder / "a.zarr"


def zarr_array(path: Path, side: int, chunk: int) -> Path:
    array = zarr.create_array(path, shape=(side, side), chunks=(chunk, chunk), dtype="u1")
    if chunk < HUGE // 1000:
        array[:64, :96] = grey()
    return path


def zarr_of_one_chunk(folder: Path) -> Path:
    return zarr_array(folder / "a.zarr", 10**5, 10**7)


def zarr_of_many_chunks(folder: Path) -> Path:
    return zarr_array(folder / "a.zarr", 10**7, 256)


def zarr_longer_than_anything(folder: Path) -> Path:
    array = zarr.create_array(folder / "a.zarr", shape=(10**15, 64), chunks=(64, 64), dtype="u1")
    array[:64] = grey()[:, :64]
    return folder / "a.zarr"


def zarr_with(folder: Path, **fields: Any) -> Path:
    path = zarr_array(folder / "a.zarr", 128, 64)
    about = json.loads((path / "zarr.json").read_text()) | fields
    (path / "zarr.json").write_text(json.dumps(about))
    return path


def zarr_of_long_shards(folder: Path) -> Path:
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}]
    inside = {"chunk_shape": [1, 1], "codecs": plain, "index_codecs": plain, "index_location": "end"}
    grid = {"name": "regular", "configuration": {"chunk_shape": [65_536, 65_536]}}
    path = zarr_with(
        folder,
        shape=[65_536, 65_536],
        chunk_grid=grid,
        codecs=[{"name": "sharding_indexed", "configuration": inside}],
    )
    (path / "c/0/0").write_bytes(b"\xff" * 100_000)
    return path


def zarr_of_no_chunk(folder: Path) -> Path:
    return zarr_with(folder, chunk_grid={"name": "regular", "configuration": {"chunk_shape": [0, 0]}})


def zarr_of_negative_size(folder: Path) -> Path:
    return zarr_with(folder, shape=[-128, 128])


def zarr_of_a_list(folder: Path) -> Path:
    (zarr_with(folder) / "zarr.json").write_text("[1]")
    return folder / "a.zarr"


def zarr_of_deep_metadata(folder: Path) -> Path:
    (zarr_with(folder) / "zarr.json").write_text("[" * 200_000)
    return folder / "a.zarr"


def zarr_with_a_pipe(folder: Path) -> Path:
    path = zarr_array(folder / "a.zarr", 128, 64)
    (path / "c/0/0").unlink()
    os.mkfifo(path / "c/0/0")
    return path


def zarr_of_a_pipe(folder: Path) -> Path:
    (folder / "a.zarr").mkdir()
    os.mkfifo(folder / "a.zarr/zarr.json")
    return folder / "a.zarr"


def zipped_zarr_of_much_metadata(folder: Path) -> Path:
    with (
        zipfile.ZipFile(folder / "a.zarr.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("zarr.json", "w") as member,
    ):
        for _ in range(60):
            member.write(b" " * 10**7)
    return folder / "a.zarr.zip"


def packed_zarr(folder: Path, codec: BytesBytesCodec, content: bytes) -> Path:
    array = zarr.create_array(
        folder / "a.zarr", shape=(64, 96), chunks=(64, 96), dtype="u1", compressors=[codec]
    )
    array[:] = grey()
    (folder / "a.zarr/c/0/0").write_bytes(content)
    return folder / "a.zarr"


def deflated_gigabyte() -> bytes:
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    return 100 * (packing.compress(bytes(10**7)) + packing.flush(zlib.Z_FULL_FLUSH))


def zarr_that_gunzips_to_much(folder: Path) -> Path:
    return packed_zarr(folder, GzipCodec(), b"\x1f\x8b\x08" + bytes(6) + b"\xff" + deflated_gigabyte())


def zarr_of_zstandard_that_unpacks_to_much(folder: Path) -> Path:
    return packed_zarr(folder, ZstdCodec(), 3 * numcodecs.zstd.compress(bytes(10**9), 1))


def zarr_of_blosc_that_unpacks_to_much(folder: Path) -> Path:
    return packed_zarr(
        folder, BloscCodec(cname="zstd"), numcodecs.blosc.compress(bytes(10**9), b"zstd", 1, 1)
    )


def zarr_of_a_long_chunk(folder: Path) -> Path:
    path = zarr_array(folder / "a.zarr", 128, 64)
    os.truncate(path / "c/0/0", 10**10)
    return path


def zarr_of_long_metadata(folder: Path) -> Path:
    path = zarr_array(folder / "a.zarr", 128, 64)
    os.truncate(path / "zarr.json", 10**10)
    return path


def npy(folder: Path, shape: str) -> Path:
    path = folder / "a.npy"
    np.save(path, grey())
    content = path.read_bytes()
    end = content.index(b"\n")
    header = content[10:end].replace(b"(64, 96)", shape.encode()).rstrip()[: end - 10].ljust(end - 10)
    path.write_bytes(content[:10] + header + content[end:])
    return path


def npy_longer_than_its_file(folder: Path) -> Path:
    return npy(folder, "(640000000, 96)")


def npy_of_holes(folder: Path) -> Path:
    path = npy(folder, "(400000, 9999)")
    os.truncate(path, 4 * 10**9)
    return path


def npy_of_negative_size(folder: Path) -> Path:
    return npy(folder, "(-64, 96)")


def npy_of_an_expression(folder: Path) -> Path:
    return npy(folder, "(9**9**9, 9)")


def npy_of_deep_brackets(folder: Path) -> Path:
    header = b"(" * 5000
    (folder / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))
    return folder / "a.npy"


def dicom(folder: Path, example: str, **elements: int) -> Path:
    dataset = pydicom.dcmread(examples.get_path(example))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(folder / "a.dcm", enforce_file_format=False)
    return folder / "a.dcm"


def packed_dicom(folder: Path, syntax: str, frame: bytes) -> Path:
    dataset = pydicom.dcmread(examples.get_path("rgb_color"))
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 64, 96, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(folder / "a.dcm", enforce_file_format=True)
    return folder / "a.dcm"


def dicom_of_a_jpeg_that_is_larger(folder: Path) -> Path:
    content = jpeg_larger_than_its_file(folder).read_bytes()
    return packed_dicom(folder, pydicom.uid.JPEGBaseline8Bit, content + bytes(len(content) % 2))


def dicom_of_runs_that_are_longer(folder: Path) -> Path:
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    return packed_dicom(folder, pydicom.uid.RLELossless, header + b"\x81\0" * 5_000_000)


def dicom_that_unpacks_to_much(folder: Path) -> Path:
    dataset = pydicom.dcmread(examples.get_path("rgb_color"))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(folder / "whole.dcm", enforce_file_format=True)
    content = (folder / "whole.dcm").read_bytes()
    end = 144 + int.from_bytes(content[140:144], "little")
    meta = bytearray(content[:end].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"))
    at = meta.index(b"\x02\x00\x10\x00UI")
    struct.pack_into("<H", meta, at + 6, 22)
    struct.pack_into("<I", meta, 140, len(meta) - 144)
    packing = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packing.compress(content[end:])
    packed += packing.compress(struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 10**9))
    for _ in range(100):
        packed += packing.compress(bytes(10**7))
    (folder / "a.dcm").write_bytes(bytes(meta) + packed + packing.flush())
    return folder / "a.dcm"


def dicom_of_many_frames(folder: Path) -> Path:
    return dicom(folder, "rgb_color", NumberOfFrames=2 * HUGE)


def packed_dicom_of_many_frames(folder: Path) -> Path:
    return dicom(folder, "ybr_color", NumberOfFrames=2 * HUGE)


def dicom_of_negative_frames(folder: Path) -> Path:
    return dicom(folder, "rgb_color", NumberOfFrames=-5)


def dicom_of_large_frames(folder: Path) -> Path:
    return dicom(folder, "rgb_color", Rows=65_535, Columns=65_535)


def dicom_without_rows(folder: Path) -> Path:
    return dicom(folder, "rgb_color", Rows=0)


def dicom_of_odd_bits(folder: Path) -> Path:
    return dicom(folder, "rgb_color", BitsAllocated=65_528)


def png(folder: Path, width: int, height: int) -> Path:
    Image.fromarray(grey()).save(folder / "a.png")
    content = bytearray((folder / "a.png").read_bytes())
    struct.pack_into(">II", content, 16, width, height)
    struct.pack_into(">I", content, 29, zlib.crc32(bytes(content[12:29])))
    (folder / "a.png").write_bytes(content)
    return folder / "a.png"


def png_larger_than_anything(folder: Path) -> Path:
    return png(folder, 2**31 - 1, 2**31 - 1)


def png_larger_than_its_file(folder: Path) -> Path:
    return png(folder, 13_000, 13_000)


def png_of_deep_colours_that_are_all_alike(folder: Path) -> Path:
    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12_000, 12_000, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", b"\x78\x9c" + deflated_gigabyte())
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    return folder / "a.png"


def jpeg_larger_than_its_file(folder: Path) -> Path:
    Image.fromarray(grey()[:8, :8]).save(folder / "a.jpg")
    content = bytearray((folder / "a.jpg").read_bytes())
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, 13_000, 13_000)
    (folder / "a.jpg").write_bytes(content)
    return folder / "a.jpg"


def pgm_of_a_long_comment(folder: Path) -> Path:
    (folder / "a.pgm").write_bytes(b"P5\n#" + b"a" * 50_000_000 + b"\n96 64 255\n" + grey().tobytes())
    return folder / "a.pgm"


def nifti(folder: Path) -> bytes:
    import SimpleITK as itk  # noqa: N813  # as its documentation has it

    itk.WriteImage(itk.GetImageFromArray(np.stack([grey()] * 3)), str(folder / "whole.nii"))
    content = bytearray((folder / "whole.nii").read_bytes())
    struct.pack_into("<3h", content, 42, 1200, 1200, 1200)
    return bytes(content)


def nifti_larger_than_its_file(folder: Path) -> Path:
    (folder / "a.nii").write_bytes(nifti(folder))
    return folder / "a.nii"


def packed_nifti_larger_than_its_file(folder: Path) -> Path:
    (folder / "a.nii.gz").write_bytes(gzip.compress(nifti(folder)))
    return folder / "a.nii.gz"


def nrrd_larger_than_its_file(folder: Path) -> Path:
    header = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1200 1200 1200\nencoding: raw\n\n"
    (folder / "a.nrrd").write_bytes(header.encode() + grey().tobytes())
    return folder / "a.nrrd"


def packed_nrrd_far_behind_its_header(folder: Path) -> Path:
    header = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 96 64\nencoding: gzip\nbyte skip: 900000000\n\n"
    (folder / "a.nrrd").write_bytes(
        header.encode() + b"\x1f\x8b\x08" + bytes(6) + b"\xff" + deflated_gigabyte()
    )
    return folder / "a.nrrd"


def volume_of_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    about = (
        "ObjectType = Image\nNDims = 2\nDimSize = 96 64\nElementType = MET_UCHAR\nElementDataFile = pipe\n"
    )
    (folder / "a.mhd").write_text(about)
    return folder / "a.mhd"


def dicom_of_a_box_without_length(folder: Path) -> Path:
    return packed_dicom(folder, "1.2.840.10008.1.2.4.90", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64))


def png_of_more_pictures_than_bytes(folder: Path) -> Path:
    Image.fromarray(grey()).save(folder / "a.png")
    content, about = (folder / "a.png").read_bytes(), struct.pack(">4sII", b"acTL", 2**31 - 1, 0)
    chunk_of_it = struct.pack(">I", 8) + about + struct.pack(">I", zlib.crc32(about))
    (folder / "a.png").write_bytes(content[:33] + chunk_of_it + content[33:])
    return folder / "a.png"


def volume_of_a_device(folder: Path) -> Path:
    header = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 96 64\nencoding: raw\ndata file: /dev/zero\n"
    (folder / "a.nhdr").write_text(header)
    return folder / "a.nhdr"


def volume_of_a_file_elsewhere(folder: Path) -> Path:
    (folder / "secret").write_bytes(grey().tobytes())
    (folder / "inside").mkdir()
    header = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 96 64\nencoding: raw\ndata file: ../secret\n"
    (folder / "inside" / "a.nhdr").write_text(header)
    return folder / "inside" / "a.nhdr"


def slices_of_a_volume_elsewhere(folder: Path) -> Path:
    header = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 96 64 2\nencoding: raw\ndata file: "
    (folder / "a.nhdr").write_text(f"{header}{folder.parent}/%d.raw 1 2 1\n")
    return folder / "a.nhdr"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.png")
    return folder / "a.png"


def device(_: Path) -> Path:
    return Path("/dev/zero")


IMAGES: list[Callable[[Path], Path]] = [
    *(tiff_of_one_strip, tiff_of_one_tile_row, tiff_of_a_large_tile, tiff_of_plain_strips),
    *(tiff_of_long_words, tiff_of_a_tile_that_is_larger, zarr_of_long_shards, dicom_that_unpacks_to_much),
    *(tiff_without_tiles, ome_of_many_planes, ome_that_names_a_pipe),
    *(zarr_of_one_chunk, zarr_of_many_chunks, zarr_longer_than_anything, zarr_of_no_chunk),
    *(zarr_of_negative_size, zarr_of_a_list, zarr_of_deep_metadata, zarr_with_a_pipe, zarr_of_a_pipe),
    *(zipped_zarr_of_much_metadata, npy_longer_than_its_file, npy_of_negative_size, npy_of_an_expression),
    *(npy_of_deep_brackets, dicom_of_many_frames, packed_dicom_of_many_frames, dicom_of_negative_frames),
    *(dicom_of_large_frames, dicom_without_rows, dicom_of_odd_bits, png_larger_than_anything),
    *(png_larger_than_its_file, nifti_larger_than_its_file, packed_nifti_larger_than_its_file),
    *(zarr_that_gunzips_to_much, zarr_of_zstandard_that_unpacks_to_much, zarr_of_blosc_that_unpacks_to_much),
    *(zarr_of_a_long_chunk, zarr_of_long_metadata, tiff_of_a_strip_that_inflates_to_much),
    *(tiff_of_many_pages, tiff_of_many_levels, png_of_deep_colours_that_are_all_alike),
    *(dicom_of_a_jpeg_that_is_larger, dicom_of_runs_that_are_longer),
    *(jpeg_larger_than_its_file, pgm_of_a_long_comment, packed_nrrd_far_behind_its_header, npy_of_holes),
    *(ome_of_words_that_are_searched_for_days, ome_of_many_images, zarr_of_many_levels),
    *(dicom_of_a_box_without_length, png_of_more_pictures_than_bytes),
    *(volume_of_a_file_elsewhere, slices_of_a_volume_elsewhere),
    *(nrrd_larger_than_its_file, volume_of_a_pipe, volume_of_a_device, pipe, device),
]
MASKS = [make for make in IMAGES if make.__name__.startswith(("tiff_", "ome_", "npy_", "png_"))]
