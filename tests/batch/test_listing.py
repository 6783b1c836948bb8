"""Images, folders and CSV files → items."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import ExifTags, Image

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.figures.run_figure import save_figure
from napari_sslmaps.inputs.listing import BatchItem, list_items
from napari_sslmaps.maps.token_length import token_length_map
from napari_sslmaps.records.json import write_object
from napari_sslmaps.records.map_files import write_map
from napari_sslmaps.sources.open import find_images


def sheet(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_is_searched_and_names_tell_the_way(images):
    (images / ".hidden.png").touch()
    (images / "notes.txt").touch()
    (images / "slide.zarr" / "0").mkdir(parents=True)
    (images / "slide.zarr" / "zarr.json").touch()
    items = list_items([images]).items
    assert [item.name for item in items] == ["a.png", "b.png", "more/a.png", "more/c.png", "slide.zarr"]
    assert [Path(item.image) for item in items] == [images / item.name for item in items]


def test_what_another_batch_has_stored_is_no_input(images):
    for name, about in (("seen.zarr", "napari_sslmaps"), ("cells.zarr", "other")):
        stored = images / "store" / name
        stored.mkdir(parents=True)
        (stored / "zarr.json").write_text(json.dumps({"attributes": {"ome": {}, about: {}}}))
    found = list_items([images])
    names = [item.name for item in found.items]
    assert "store/cells.zarr" in names
    assert "store/seen.zarr" not in names
    assert "1 .zarr" in found.notes[0]


def test_figures_maps_and_copies_that_this_package_wrote_are_no_input(images):
    out = images / "results"
    for suffix in ("png", "tif", "jpg"):
        save_figure(Figure(), out / f"figure.{suffix}")
    grid = TokenGrid.covering(Region(0, 0, 32, 40), 8)
    tokens = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    write_map(out / "mae" / "token_length.tif", token_length_map(Embedding(tokens, grid, Provenance())))
    animation = Image.Exif()
    animation[ExifTags.Base.Software] = "napari-sslmaps"
    frame = Image.new("RGB", (300, 200))
    frame.save(out / "frames.webp", save_all=True, append_images=[frame], exif=animation)
    write_object(out / "run.json", {"format": "napari-sslmaps/run"})
    for mine in (out / "mine.png", out / "sources" / "copy.png", images / "sources" / "mine.png"):
        mine.parent.mkdir(exist_ok=True)
        Image.new("L", (9, 9)).save(mine)
    found = list_items([images])
    names = {item.name for item in found.items}
    assert {"results/mine.png", "sources/mine.png"} == {name for name in names if "mine" in name}
    assert not any(name.startswith("results/") for name in names - {"results/mine.png"})
    assert (
        "1 file is no image by its name (1 .json), run.json among them; 6 files were written"
        in found.notes[0]
    )
    everything = {path.name for path in find_images(images, results=True)}
    assert {"figure.png", "token_length.tif", "frames.webp", "copy.png"} <= everything
    single = list_items([out / "figure.png"]).items
    assert [item.name for item in single] == ["figure.png"]


def test_what_lies_in_the_folder_of_outputs_is_no_input(images):
    assert [item.name for item in list_items([images], out=images / "more").items] == ["a.png", "b.png"]


def test_single_images_are_called_after_their_files(images):
    items = list_items([images / "b.png", str(images / "more" / "c.png")]).items
    assert [item.name for item in items] == ["b.png", "c.png"]


def test_two_images_of_one_name_are_refused(images):
    with pytest.raises(InvalidOptionError, match=r"(?s)a\.png.*more.*columns image and name"):
        list_items([images / "a.png", images / "more" / "a.png"])


def test_a_sheet_says_anchors_regions_levels_and_names(tmp_path):
    path = sheet(
        tmp_path,
        "\ufeffimage,name,anchors,negative,region,level,frame,grade\n"
        'a.svs,first,"120,340; 8.5,9",1 2,0 0 256 512,2,3,II\n'
        "\n"
        "/data/b.tif,,,,,,,I\n",
    )
    listing = list_items([path])
    assert listing.items == (
        BatchItem(
            image=str(tmp_path / "a.svs"),
            name="first",
            anchors=((120.0, 340.0), (8.5, 9.0)),
            negative=((1.0, 2.0),),
            region=(0, 0, 256, 512),
            level=2,
            frame=3,
        ),
        BatchItem(image="/data/b.tif", name="b.tif"),
    )
    assert listing.notes == ("Columns of list.csv that mean nothing here: grade.",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "column called image"),
        ("path,anchors\na.png,1 2\n", "column called image"),
        ("image,anchors\na.png,120,340\n", "line 2 .* quote"),
        ("image,anchors\na.png,120\n", "line 2"),
        ("image,anchors\na.png,here\n", "line 2"),
        ("image,region\na.png,0 0 0 5\n", "line 2 .* at least one pixel"),
        ("image,region\na.png,0 0 5\n", "line 2"),
        ("image,level\na.png,-1\n", "line 2 .* negative"),
        ("image,level\n,1\n", "line 2 .* empty"),
        ("level,image\n1\n", "line 2 .* empty"),
        ("image,name\na.png,../outside\n", "no file name"),
        ("image,name\na.png,/outside\n", "no file name"),
        ("image,name\na.png,a:b\n", "no file name"),
        ('image\n"a.png\n', "cannot be read"),
        ("image\n", "at least one image"),
    ],
)
def test_a_sheet_that_does_not_fit_is_refused_by_line(tmp_path, text, said):
    with pytest.raises(InvalidOptionError, match=said):
        list_items([sheet(tmp_path, text)])


def test_a_missing_sheet_and_an_empty_folder_are_said(tmp_path):
    with pytest.raises(InvalidOptionError, match="cannot be read"):
        list_items([tmp_path / "none.csv"])
    with pytest.raises(InvalidOptionError, match="at least one image"):
        list_items([tmp_path])


def test_a_sheet_may_name_addresses(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("image,name\nhttps://example.org/a.zarr,\ns3://bucket/b.zarr,mine\n")
    listing = list_items([tmp_path / "images.csv"])
    assert [(item.image, item.name) for item in listing.items] == [
        ("https://example.org/a.zarr", "a.zarr"),
        ("s3://bucket/b.zarr", "mine"),
    ]


def test_frames_are_items_and_slices_of_a_series_one_stack(tmp_path: Path) -> None:
    import numpy as np
    from dicom_kit import write_dicom

    np.save(tmp_path / "clip.npy", np.zeros((6, 16, 20), np.uint8))
    np.save(tmp_path / "still.npy", np.zeros((16, 20), np.uint8))
    series = tmp_path / "ct"
    series.mkdir()
    for number in range(3):
        write_dicom(series / f"{number}.dcm", np.zeros((16, 20), np.uint8), InstanceNumber=number + 1)
    given = [tmp_path / "clip.npy", tmp_path / "still.npy", series]
    items = list_items(given, frames="::2").items
    assert [item.frames for item in items] == [(0, 2, 4), (), (0, 2)]
    assert [one.name for item in items for one in item.outputs] == [
        *("clip.npy/frame-0000", "clip.npy/frame-0002", "clip.npy/frame-0004"),
        *("still.npy", "ct/frame-0000", "ct/frame-0002"),
    ]
    (stack,) = list_items([series], frames="all").items
    assert [item.frame for item in stack.outputs] == [0, 1, 2]
    assert len(list_items([series]).items) == 3
    (series / "broken.dcm").write_bytes(b"no image")
    assert [item.name for item in list_items([series / "broken.dcm"], frames="all").items] == ["broken.dcm"]


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    sheet = tmp_path / "list.csv"
    sheet.write_text("image,image\na.png,b.png\n")
    with pytest.raises(InvalidOptionError, match=r"each column once in list\.csv; image is there"):
        list_items([sheet])


@pytest.mark.parametrize("place", ["nan 3", "3 inf"])
def test_a_place_that_is_nowhere_is_refused_with_its_line(tmp_path, place):
    sheet = tmp_path / "list.csv"
    sheet.write_text(f"image,anchors\na.png,1 2\nb.png,{place}\n")
    with pytest.raises(
        InvalidOptionError, match=rf"line 3 of list\.csv does not fit \('{place}' is no place"
    ):
        list_items([sheet])
