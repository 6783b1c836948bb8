from pathlib import Path

import numpy as np
import pytest
import tifffile
from figures_kit import ANCHOR, embedding

from napari_sslmaps.errors import ExportError, UnsupportedImageError
from napari_sslmaps.maps.attention import AttentionStack, activation_map, attention_map
from napari_sslmaps.maps.difference import difference_map
from napari_sslmaps.maps.groups import AnchorGroup, group_map
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.maps.similarity import similarity_map
from napari_sslmaps.records.map_files import read_map, write_heads, write_map


def test_every_kind_comes_back_whole(tmp_path: Path) -> None:
    made = embedding()
    maps = {
        "attention": attention_map(made, 1),
        "activation": activation_map(embedding(cnn=True)),
        "pca": pca_map(made),
        "similarity": similarity_map(made, [ANCHOR], negative=[(70, 80)], centred=True),
    }
    for kind, result in maps.items():
        path = tmp_path / f"{kind}.tif"
        write_map(path, result)
        back = read_map(path)
        assert (back.kind, back.grid, back.provenance) == (kind, made.grid, result.provenance)
        assert back.values.dtype == np.float32
        np.testing.assert_array_equal(back.values, result.values)
        np.testing.assert_array_equal(tifffile.imread(path), result.values)
    details = read_map(tmp_path / "similarity.tif").details
    assert details["anchors"] == [list(ANCHOR)]
    assert (details["centred"], details["negative"]) == (True, [[70, 80]])


def test_groups_are_written_as_labels_and_differences_with_both_sides(tmp_path: Path) -> None:
    made = embedding()
    groups = [AnchorGroup("a", "#ff0000", [ANCHOR]), AnchorGroup("b", anchors=[(70, 80)])]
    found = group_map(made, groups, centred=True)
    write_map(tmp_path / "groups.tif", found)
    back = read_map(tmp_path / "groups.tif")
    np.testing.assert_array_equal(back.values, found.labels)
    assert back.kind == "groups"
    assert [group["name"] for group in back.details["groups"]] == ["a", "b"]
    apart = difference_map(attention_map(made, 0), attention_map(made, 1))
    write_map(tmp_path / "difference.tif", apart)
    back = read_map(tmp_path / "difference.tif")
    np.testing.assert_array_equal(back.values, apart.values)
    assert (back.kind, back.details["scale"]) == ("difference", "ranks")
    assert back.details["against"]["encoder"] == made.provenance.encoder


def test_heads_of_another_block_say_which(tmp_path: Path) -> None:
    made = embedding()
    stack = AttentionStack(
        made.attention, "anchor", 2, 4, made.prefix_attention, made.grid, made.provenance, ANCHOR
    )
    write_heads(tmp_path / "heads.tif", stack)
    details = read_map(tmp_path / "heads.tif").details
    assert (details["of"], details["block"], details["anchor"]) == ("anchor", 2, list(ANCHOR))
    write_map(tmp_path / "map.tif", attention_map(stack))
    details = read_map(tmp_path / "map.tif").details
    assert (details["of"], details["block"], details["anchor"]) == ("anchor", 2, list(ANCHOR))


def test_nan_stays_nan(tmp_path: Path) -> None:
    made = embedding()
    made.attention[:, 0, 0] = np.nan  # type: ignore[index]
    write_map(tmp_path / "a.tif", attention_map(made))
    assert np.isnan(read_map(tmp_path / "a.tif").values[0, 0])


def test_heads_are_channels(tmp_path: Path) -> None:
    made = embedding()
    write_heads(tmp_path / "heads.tif", made)
    np.testing.assert_array_equal(read_map(tmp_path / "heads.tif").values, made.attention)
    with tifffile.TiffFile(tmp_path / "heads.tif") as file:
        assert file.series[0].axes == "CYX"
        assert '"head 1"' in str(file.ome_metadata)


def test_a_cnn_has_no_heads_to_write(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a CNN has no attention"):
        write_heads(tmp_path / "heads.tif", embedding(cnn=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spacing", "unit", "pitch", "first"),
    [
        # 8 px per token; the first token's centre is at pixel 40 + 3.5, 16 + 3.5
        (None, "pixel", (8.0, 8.0), (43.5, 19.5)),
        ((0.5, 0.25), "µm", (4.0, 2.0), (21.75, 4.875)),
    ],
)
def test_other_readers_find_pitch_and_position(
    spacing: tuple[float, float] | None,
    unit: str,
    pitch: tuple[float, float],
    first: tuple[float, float],
    tmp_path: Path,
) -> None:
    write_map(tmp_path / "a.tif", attention_map(embedding()), spacing_um_yx=spacing)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        tags = file.pages.first.tags
        assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]) == pitch
        assert pixels["PhysicalSizeYUnit"] == pixels["PhysicalSizeXUnit"] == unit
        plane = pixels["Plane"]
        assert (plane["PositionY"], plane["PositionX"], plane["PositionXUnit"]) == (*first, unit)
        if spacing is not None:
            per_centimetre = tags["XResolution"].value[0] / tags["XResolution"].value[1]
            assert per_centimetre == pytest.approx(1e4 / pitch[1])


@pytest.mark.parametrize("content", ["plain", "junk", "absent"])
def test_other_files_get_a_sentence(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.tif"
    if content == "plain":
        tifffile.imwrite(path, np.zeros((4, 4)))
    elif content == "junk":
        path.write_bytes(b"junk")
    with pytest.raises(UnsupportedImageError, match=r"written by napari-sslmaps; other\.tif is not one"):
        read_map(path)
