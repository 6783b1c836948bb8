"""Files, folders, masks and labels → images, and sentences where they do not fit."""

from pathlib import Path

import pytest
from comparison_kit import write_images

from napari_sslmaps.compare.listing import SUBFOLDERS, ListingOptions, list_images
from napari_sslmaps.compare.request import MaskFile
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError


def test_masks_are_found_by_the_stem_of_their_image(tmp_path: Path) -> None:
    images, masks = write_images(tmp_path, 3)
    (masks / "1.png").rename(masks / "1_mask.png")
    found, notes = list_images([str(images)], ListingOptions(masks=masks, classes={1: "disc"}, ignore=9))
    assert notes == ()
    assert [image.name for image in found] == ["0.png", "1.png", "2.png"]
    assert [image.annotation.path.name for image in found] == ["0.png", "1_mask.png", "2.png"]
    assert found[0].annotation == MaskFile(masks / "0.png", {1: "disc"}, 9)


def test_masks_inside_the_folder_of_images_are_no_images(tmp_path: Path) -> None:
    images, masks = write_images(tmp_path, 2)
    masks.rename(images / "masks")
    found, _ = list_images([str(images)], ListingOptions(masks=images / "masks"))
    assert [image.name for image in found] == ["0.png", "1.png"]


def test_masks_of_sub_folders_belong_to_images_of_sub_folders(tmp_path: Path) -> None:
    for part in ("a", "b"):
        write_images(tmp_path / part)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        (tmp_path / part / "images").rename(tmp_path / "images" / part)
        (tmp_path / part / "masks").rename(tmp_path / "masks" / part)
    options = ListingOptions(masks=tmp_path / "masks", labels=SUBFOLDERS)
    found, _ = list_images([str(tmp_path / "images")], options)
    assert [image.label for image in found] == ["a", "b"]
    assert [image.annotation.path.parent.name for image in found] == ["a", "b"]
    with pytest.raises(InvalidOptionError, match="Expected one mask"):
        list_images([str(tmp_path / "images" / "a" / "0.png")], options)


def test_one_mask_is_not_taken_for_two_images_of_one_name(tmp_path: Path) -> None:
    write_images(tmp_path, 1)
    for part in ("a", "b"):
        (tmp_path / "images" / part).mkdir()
        (tmp_path / "images" / part / "0.png").write_bytes((tmp_path / "images" / "0.png").read_bytes())
    (tmp_path / "images" / "0.png").unlink()
    images, options = [str(tmp_path / "images")], ListingOptions(masks=tmp_path / "masks")
    with pytest.raises(InvalidOptionError, match=r"0\.png is that of a/0\.png and of b/0\.png"):
        list_images(images, options)
    sheet = tmp_path / "parts.csv"
    sheet.write_text("image,name,region\nimages/a/0.png,l,0 0 32 32\nimages/a/0.png,r,0 8 32 32\n")
    parts, _ = list_images([str(sheet)], options)
    assert {image.annotation.path for image in parts} == {tmp_path / "masks" / "0.png"}


def test_a_csv_names_masks_labels_and_regions(tmp_path: Path) -> None:
    write_images(tmp_path, 2)
    sheet = tmp_path / "all.csv"
    sheet.write_text(
        "image,mask,label,region,anchors\nimages/0.png,masks/0.png,ill,0 0 32 48,3 4\nimages/1.png,,well,,\n",
        encoding="utf-8",
    )
    common = ListingOptions(anchors=((1.0, 2.0),), region=Region(0, 0, 40, 40))
    (first, second), notes = list_images([str(sheet)], common)
    assert notes == ()
    assert (first.label, second.label) == ("ill", "well")
    assert first.annotation.path == tmp_path / "masks" / "0.png"
    assert second.annotation is None
    assert (first.region, second.region) == (Region(0, 0, 32, 48), Region(0, 0, 40, 40))
    assert (first.anchors, second.anchors) == (((3.0, 4.0),), ((1.0, 2.0),))
    sheet.write_text("image,colour\nimages/0.png,red\n", encoding="utf-8")
    assert "colour" in list_images([str(sheet)], ListingOptions())[1][0]


def test_labels_come_from_a_csv_by_name_or_stem(tmp_path: Path) -> None:
    images, _ = write_images(tmp_path, 3)
    sheet = tmp_path / "labels.csv"
    sheet.write_text("image,label\n0.png,ill\n1,well\n", encoding="utf-8")
    found, _ = list_images([str(images)], ListingOptions(labels=str(sheet)))
    assert [image.label for image in found] == ["ill", "well", ""]
    sheet.write_text("file,kind\n0.png,ill\n", encoding="utf-8")
    with pytest.raises(InvalidOptionError, match="columns image and label"):
        list_images([str(images)], ListingOptions(labels=str(sheet)))
    with pytest.raises(InvalidOptionError, match="cannot be read"):
        list_images([str(images)], ListingOptions(labels=str(tmp_path / "none.csv")))


def test_missing_masks_get_a_sentence(tmp_path: Path) -> None:
    images, masks = write_images(tmp_path, 2)
    with pytest.raises(InvalidOptionError, match="there is none at"):
        list_images([str(images)], ListingOptions(masks=tmp_path / "nowhere"))
    with pytest.raises(InvalidOptionError, match="folder of masks for 2 images"):
        list_images([str(images)], ListingOptions(masks=masks / "0.png"))
    (masks / "1.png").unlink()
    with pytest.raises(InvalidOptionError, match=r"1 of 2 have none, 1\.png"):
        list_images([str(images)], ListingOptions(masks=masks))
    found, _ = list_images([str(images / "0.png")], ListingOptions(masks=masks / "0.png"))
    assert found[0].annotation.path == masks / "0.png"
