"""OME-Zarr where people keep it: of earlier versions, zipped, in plates and groups, behind a server."""

import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.storage import FsspecStore

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import AnnotationError, MissingExtraError, UnsupportedImageError
from napari_sslmaps.inputs.images import open_named, record_of, recorded_image
from napari_sslmaps.inputs.listing import list_items
from napari_sslmaps.sources import zarr_places
from napari_sslmaps.sources.masks import read_mask
from napari_sslmaps.sources.open import open_image

PIXELS = np.random.default_rng(5).integers(0, 200, (48, 64), dtype=np.uint8)


def write(path: Path, pixels: NDArray[Any] = PIXELS, axes: Any = ("y", "x"), **attributes: Any) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    chunks = tuple(min(side, 32) for side in pixels.shape)
    array = group.create_array("0", shape=pixels.shape, chunks=chunks, dtype=pixels.dtype)
    array[:] = pixels
    image: dict[str, Any] = {"datasets": [{"path": "0"}]}
    if axes is not None:
        image["axes"] = list(axes)
    group.attrs.update({"multiscales": [image], **attributes})
    return path


def group(path: Path, **attributes: Any) -> Path:
    zarr.open_group(path, mode="w", zarr_format=2).attrs.update(attributes)
    return path


def read(image: Any, **options: Any) -> NDArray[Any]:
    with open_image(image, **options) as source:
        return source.read(Region(0, 0, *source.levels[0].shape_yx))


@pytest.mark.parametrize(
    "axes", [None, list("tczyx"), [{"name": name} for name in "tczyx"]], ids=["0.1", "0.3", "0.4"]
)
def test_axes_of_every_version(axes: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", np.stack([PIXELS, 255 - PIXELS])[None, :, None], axes)
    np.testing.assert_array_equal(read(path, channel=1), 255 - PIXELS)


def zipped(folder: Path, path: Path, root: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for part in sorted(folder.rglob("*")):
            if part.is_file():
                file.write(part, f"{root}{part.relative_to(folder).as_posix()}")
    return path


@pytest.mark.parametrize("root", ["", "a.zarr/"], ids=["content", "folder"])
@pytest.mark.parametrize("name", ["a.zarr.zip", "a.ozx"])
def test_a_zip_file_is_an_image(name: str, root: str, tmp_path: Path) -> None:
    path = zipped(write(tmp_path / "a.zarr"), tmp_path / name, root)
    np.testing.assert_array_equal(read(path), PIXELS)
    with open_image(path) as source:
        assert source.name == "a"


def test_other_zip_files_get_a_sentence(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.txt", "nothing")
    with pytest.raises(UnsupportedImageError, match="ZIP archive"):
        open_image(tmp_path / "a.zip")


def plate(path: Path) -> Path:
    group(path, plate={"wells": [{"path": "A/1"}, {"path": "B/2"}]})
    for well in ("A/1", "B/2"):
        group(path / well, well={"images": [{"path": "0"}, {"path": "1"}]})
        for image in ("0", "1"):
            write(path / well / image)
    return path


def two(path: Path) -> Path:
    group(path)
    write(path / "left")
    write(path / "right", 255 - PIXELS)
    return path


@pytest.mark.parametrize(
    ("make", "said"), [(plate, "A/1/0, A/1/1, B/2/0, B/2/1"), (two, "left, right")], ids=["plate", "group"]
)
def test_several_images_are_listed_with_the_path_of_one(make: Any, said: str, tmp_path: Path) -> None:
    path = make(tmp_path / "several.zarr")
    first = said.split(", ", maxsplit=1)[0]
    with pytest.raises(UnsupportedImageError, match=rf"holds {said}\. .*several\.zarr/{first}\."):
        open_image(path)
    np.testing.assert_array_equal(read(path / first), PIXELS)


def test_an_image_inside_a_zip_file_is_given_by_its_path(tmp_path: Path) -> None:
    path = zipped(two(tmp_path / "a.zarr"), tmp_path / "a.zarr.zip")
    with pytest.raises(UnsupportedImageError, match=r"a\.zarr\.zip/left"):
        open_image(path)
    np.testing.assert_array_equal(read(path / "right"), 255 - PIXELS)


def test_of_what_bio_formats_converted_the_largest_is_read(tmp_path: Path) -> None:
    path = group(tmp_path / "slide.zarr", **{"bioformats2raw.layout": 3})
    write(path / "0", PIXELS[:8, :8])
    write(path / "1")
    np.testing.assert_array_equal(read(path), PIXELS)


def labelled(path: Path, *names: str) -> Path:
    write(path)
    group(path / "labels", labels=list(names))
    for number, name in enumerate(names):
        write(path / "labels" / name, (PIXELS > 100).astype(np.int32) + number)
    return path


def test_a_label_image_is_an_annotation(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.zarr", "nuclei")
    np.testing.assert_array_equal(read_mask(path / "labels" / "nuclei"), PIXELS > 100)
    np.testing.assert_array_equal(read_mask(path), PIXELS > 100)  # the only one
    in_zip = zipped(path, tmp_path / "a.zarr.zip", "a.zarr/")
    np.testing.assert_array_equal(read_mask(in_zip), PIXELS > 100)
    labelled(group(tmp_path / "several.zarr") / "b", "nuclei")
    np.testing.assert_array_equal(read_mask(tmp_path / "several.zarr" / "b"), PIXELS > 100)


def test_several_label_images_are_listed(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.zarr", "nuclei", "cells")
    with pytest.raises(AnnotationError, match=r"labels/nuclei, labels/cells\. Give the path of one"):
        read_mask(path)


class Server(SimpleHTTPRequestHandler):
    """Serves a folder; breaks off, stalls or refuses as often as it is told for paths that end in a word."""

    faults: ClassVar[dict[str, list[str]]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        for ending, left in self.faults.items():
            if self.path.endswith(ending) and left:
                self.fail(left.pop())
                return
        super().do_GET()

    def fail(self, how: str) -> None:
        if how == "busy":
            self.send_error(503)
        elif how == "forbidden":
            self.send_error(403)
        elif how == "slow":
            time.sleep(1.0)
            super().do_GET()
        else:  # cut
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        return


class Quiet(ThreadingHTTPServer):
    """Says nothing of clients that hang up."""

    def handle_error(self, *_: Any) -> None:
        return


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(zarr_places, "_PAUSE_S", 0.01)
    Server.faults, Server.asked = {}, []
    with Quiet(("127.0.0.1", 0), partial(Server, directory=str(tmp_path))) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_an_image_behind_a_server_is_read_by_its_address(server: str, tmp_path: Path) -> None:
    write(tmp_path / "a.zarr")
    np.testing.assert_array_equal(read(f"{server}/a.zarr"), PIXELS)
    np.testing.assert_array_equal(read(Path(f"{server}/a.zarr")), PIXELS)  # which has lost a slash
    with open_image(f"{server}/a.zarr") as source:
        assert source.name == "a"


def test_shards_are_read_from_a_server_that_answers_no_ranges(server: str, tmp_path: Path) -> None:
    """As Python's own server, which gives the whole file to whoever asks for a part of it."""
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("0", shape=PIXELS.shape, chunks=(8, 16), shards=(24, 32), dtype=PIXELS.dtype)[:] = (
        PIXELS
    )
    axes = [{"name": name, "type": "space"} for name in "yx"]
    image = {
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}],
    }
    group.attrs.update({"ome": {"version": "0.5", "multiscales": [image]}})
    with open_image(f"{server}/a.zarr") as source:  # a part of a shard is asked for by ranges
        np.testing.assert_array_equal(source.read(Region(5, 7, 10, 20)), PIXELS[5:15, 7:27])


def test_an_image_of_a_plate_behind_a_server(server: str, tmp_path: Path) -> None:
    plate(tmp_path / "p.zarr")
    with pytest.raises(UnsupportedImageError, match=rf"for example {server}/p\.zarr/A/1/0"):
        open_image(f"{server}/p.zarr")
    np.testing.assert_array_equal(read(f"{server}/p.zarr/B/2/1"), PIXELS)


@pytest.mark.parametrize("fault", ["cut", "busy"])
def test_a_connection_that_breaks_off_is_tried_again(fault: str, server: str, tmp_path: Path) -> None:
    write(tmp_path / "a.zarr")
    Server.faults = {"0/0.1": [fault, fault]}
    np.testing.assert_array_equal(read(f"{server}/a.zarr"), PIXELS)
    assert sum(path.endswith("0/0.1") for path in Server.asked) == 3


def test_a_slow_connection_is_waited_for(server: str, tmp_path: Path) -> None:
    write(tmp_path / "a.zarr")
    Server.faults = {"0/0.1": ["slow"]}
    np.testing.assert_array_equal(read(f"{server}/a.zarr"), PIXELS)


def test_a_connection_that_stalls_gets_a_sentence(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_places, "_READ_S", 0.2)
    write(tmp_path / "a.zarr")
    Server.faults = {"0/0.1": ["slow"] * 9}
    with (
        open_image(f"{server}/a.zarr") as source,
        pytest.raises(UnsupportedImageError, match="did not give it after several tries"),
    ):
        source.read(Region(0, 0, 48, 64))


def test_what_stays_broken_or_forbidden_is_no_empty_chunk(server: str, tmp_path: Path) -> None:
    write(tmp_path / "a.zarr")
    for fault in ("cut", "forbidden"):
        Server.faults = {"0/0.1": [fault] * 9}
        with (
            open_image(f"{server}/a.zarr") as source,
            pytest.raises(UnsupportedImageError, match="Check the address and the connection"),
        ):
            source.read(Region(0, 0, 48, 64))


def test_an_address_without_an_image_gets_a_sentence(server: str) -> None:
    with pytest.raises(
        UnsupportedImageError, match=r"Expected an OME-Zarr image at http.*a\.zarr; there is none"
    ):
        open_image(f"{server}/a.zarr")
    with pytest.raises(UnsupportedImageError, match="Check the address and the connection"):
        open_image("http://127.0.0.1:9/a.zarr")


def test_a_level_alone_behind_a_server_is_what_its_image_says(server: str, tmp_path: Path) -> None:
    colours = np.random.default_rng(5).integers(0, 200, (3, 48, 64), dtype=np.uint8)
    write(tmp_path / "a.zarr", colours, ("c", "y", "x"))
    np.testing.assert_array_equal(read(f"{server}/a.zarr/0"), np.moveaxis(colours, 0, -1))


@pytest.mark.parametrize("address", ["ftp://127.0.0.1:9/a.zarr", "gs://none/a.zarr"])
def test_an_address_that_cannot_be_asked_gets_a_sentence(address: str) -> None:
    with pytest.raises(UnsupportedImageError, match=r"Expected (an address that|.* to be readable)"):
        open_image(address)


def test_what_the_client_of_s3_says_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = pytest.importorskip("botocore.exceptions")

    async def refuse(*_: Any, **__: Any) -> None:
        raise s3.EndpointConnectionError(endpoint_url="https://none.s3.amazonaws.com")

    monkeypatch.setattr(FsspecStore, "get", refuse)
    with pytest.raises(UnsupportedImageError, match=r"s3://none/a\.zarr to be readable.*Check the address"):
        open_image("s3://none/a.zarr")


def test_an_address_of_this_machine_is_a_path(tmp_path: Path) -> None:
    path = write(tmp_path / "a b.zarr")
    np.testing.assert_array_equal(read(path.as_uri()), PIXELS)
    np.testing.assert_array_equal(read(Path(path.as_uri())), PIXELS)  # which has lost slashes


def test_an_address_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"napari-sslmaps\[remote\]"):
        open_image("https://example.org/a.zarr")


def test_an_address_goes_through_a_record_and_a_list(server: str, tmp_path: Path) -> None:
    write(tmp_path / "a.zarr")
    address = f"{server}/a.zarr"
    with open_named(address) as source:
        record = record_of(address, source)
    assert recorded_image("image", record, tmp_path) == address
    (item,) = list_items([address]).items
    assert (item.image, item.name) == (address, "a.zarr")
