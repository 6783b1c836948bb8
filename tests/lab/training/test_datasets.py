import hashlib
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import examples

from napari_sslmaps.errors import ExportError, InvalidOptionError, UnsupportedImageError
from napari_sslmaps.lab.simulators import SIMULATORS, get_simulator
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.lab.training.datasets import open_fields
from napari_sslmaps.lab.training.datasets.bank import build_bank
from napari_sslmaps.lab.training.datasets.cut_bank import cut_bank
from napari_sslmaps.lab.training.datasets.cutting import choose_place, cut_field
from napari_sslmaps.lab.training.datasets.files import scan_files
from napari_sslmaps.lab.training.datasets.loading import EpochOrder, Keys, Shards, read_ahead
from napari_sslmaps.lab.training.datasets.protocol import ArrayFields
from napari_sslmaps.lab.training.datasets.tissue import find_tissue, thumbnail
from napari_sslmaps.lab.training.recipes import DataRecipe
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.open import open_image

from .conftest import tiny_recipe

_DATA = DataRecipe(field=64)


def noise(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def drawn(source, index=0, seed=0):
    return source.read(index, np.random.default_rng(seed))


# The bank


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_bank_holds_the_simulator_s_fields(name, tmp_path):
    data = DataRecipe(source=f"simulated:{name}", field=48, count=3, seed=5)
    told = []
    bank = build_bank(tmp_path / "bank.npy", data, lambda *progress: told.append(progress))
    expected, _ = get_simulator(name).draw(field_seed(5, 2), 48)
    assert np.array_equal(bank[2], expected)
    assert told == [(3, 3)]
    assert np.array_equal(open_fields(data, tmp_path / "bank.npy").read(2, None), expected)


def test_a_bank_that_was_interrupted_is_made_on(tmp_path):
    data = DataRecipe(field=48, count=4)
    whole = np.array(build_bank(tmp_path / "whole.npy", data))
    partial = np.lib.format.open_memmap(
        tmp_path / "bank.partial.npy", mode="w+", dtype=np.uint8, shape=whole.shape
    )
    partial[:2] = whole[:2]
    partial[1, 20:] = 0  # torn
    del partial
    assert np.array_equal(build_bank(tmp_path / "bank.npy", data), whole)
    assert not (tmp_path / "bank.partial.npy").exists()


@pytest.mark.parametrize("other", [{"seed": 1}, {"count": 2}, {"source": "simulated:ultrasound"}])
def test_a_bank_of_other_fields_is_refused(other, tmp_path):
    build_bank(tmp_path / "bank.npy", DataRecipe(field=48, count=1))
    with pytest.raises(InvalidOptionError, match="it holds others"):
        build_bank(tmp_path / "bank.npy", replace(DataRecipe(field=48, count=1), **other))


# The order


@settings(max_examples=30)
@given(st.integers(1, 200), st.integers(0, 9), st.integers(0, 5))
def test_an_epoch_shows_every_field_once_in_an_order_of_its_own(count, seed, epoch):
    order = EpochOrder(count, seed)
    size = len(order.trained)
    seen = [order.index(epoch * size + place) for place in range(size)]
    assert sorted(seen) == order.trained.tolist()
    assert [EpochOrder(count, seed).index(epoch * size + place) for place in range(size)] == seen
    if count >= 20:
        assert not set(seen) & set(order.watched.tolist())


def test_epochs_and_seeds_differ():
    tasks = {
        tuple(EpochOrder(50, seed).index(epoch * 48 + k) for k in range(48))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(tasks) == 4


# Files


@pytest.fixture
def folder(tmp_path):
    """Six readable images of all kinds, three that are none, one that is damaged."""
    (tmp_path / "deeper" / ".hidden").mkdir(parents=True)
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "a.png")
    Image.fromarray(noise(100, 80, seed=1)).save(tmp_path / "deeper" / "grey.jpg")
    tifffile.imwrite(tmp_path / "deep.tif", noise(70, 90, seed=2, dtype=np.uint16))
    tifffile.imwrite(tmp_path / "stack.tif", noise(3, 64, 64, seed=3), photometric="minisblack")
    tifffile.imwrite(tmp_path / "float.tif", np.random.default_rng(0).normal(5, 2, (64, 64)).astype("f4"))
    np.save(tmp_path / "array.npy", noise(40, 64, 3, seed=4))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "deeper" / ".hidden" / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "README").write_text("no DICOM, for all that it has no suffix")
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    return tmp_path


def test_a_folder_is_searched_for_images_of_all_kinds(folder):
    fields = scan_files(folder, _DATA)
    names = [entry.path.name for entry in fields.entries]
    assert names == ["a.png", "array.npy", "deep.tif", "grey.jpg", "float.tif", "stack.tif", "torn.png"]
    assert len(fields) == 9
    for index in range(len(fields) - 1):
        field = drawn(fields, index)
        assert field.shape == (64, 64, 3)
        assert field.dtype == np.uint8
        assert field.std() > 10


def test_an_image_of_a_field_s_size_is_the_field(folder):
    assert np.array_equal(drawn(scan_files(folder / "a.png", _DATA)), noise(64, 64, 3))


def test_every_frame_is_reached(folder):
    fields = scan_files(folder / "stack.tif", _DATA)
    for frame in range(3):
        assert np.array_equal(drawn(fields, frame)[..., 0], noise(3, 64, 64, seed=3)[frame])


def test_deep_pixels_are_windowed_as_maps_window_them(folder):
    pixels = noise(70, 90, seed=2, dtype=np.uint16)
    low, high = np.percentile(pixels, (0.1, 99.9))
    field = drawn(scan_files(folder / "deep.tif", _DATA))
    unit = np.clip((pixels.astype(float) - low) / (high - low), 0, 1) * 255
    windows = np.lib.stride_tricks.sliding_window_view(unit, (64, 64))
    assert np.abs(windows - field[..., 0]).max(axis=(2, 3)).min() <= 0.51
    assert np.array_equal(field[..., 0], field[..., 2])


def test_what_is_missing_of_a_small_image_is_reflected(folder):
    field = drawn(scan_files(folder / "array.npy", _DATA))
    assert np.array_equal(field[40:], field[38:14:-1])


def test_a_dicom_clip_gives_all_its_frames():
    path = examples.get_path("ybr_color")
    fields = scan_files(path, _DATA)
    with open_image(path) as source:
        assert len(fields) == source.frames > 1
    assert not np.array_equal(drawn(fields, 0), drawn(fields, len(fields) - 1))


def test_fitting_shows_an_image_whole(tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 200).astype(np.uint8)[:, None], 300, axis=1)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    field = drawn(scan_files(tmp_path, replace(_DATA, fit=True)))
    assert field[0].max() <= 3
    assert field[-1].min() >= 252


def test_resolution_is_matched_where_it_is_told():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    source = ArraySource(ramp, spacing_um_yx=(0.25, 0.25))
    slopes = []
    for um_per_px in (None, 0.25, 0.5, 0.75):
        data = DataRecipe(field=64, um_per_px=um_per_px)
        place = choose_place(source, data, None, np.random.default_rng(0))
        field = cut_field(source, place, 0, (0.0, 255.0)).astype(float)
        slopes.append(np.diff(field[32, 4:-4, 0]).mean())
    assert slopes == pytest.approx([1, 1, 2, 3], rel=0.05)


def test_fingerprints_tell_folders_apart(folder):
    first = scan_files(folder, _DATA).fingerprint
    assert scan_files(folder, _DATA).fingerprint == first
    Image.fromarray(noise(64, 64, 3)).save(folder / "more.png")
    assert scan_files(folder, _DATA).fingerprint != first


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("empty", r"Expected images \(.tif .*\) at .*; found none"), ("absent", "Expected a folder or file")],
)
def test_nothing_to_train_on_is_a_sentence(name, sentence, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnsupportedImageError, match=sentence):
        scan_files(tmp_path / name, _DATA)


def test_a_folder_of_damaged_files_is_a_sentence(tmp_path):
    for name in ("a.tif", "b.dcm"):
        (tmp_path / name).write_bytes(b"II*\0 nothing more")
    with pytest.raises(UnsupportedImageError, match=r"2 could not be read. The first: .*a.tif"):
        scan_files(tmp_path, _DATA)


# Scale


def covered(data, side=400):
    """How much of a ramp the fields of some data cover, in its pixels."""
    source = ArraySource(np.repeat(np.linspace(0, 255, side)[:, None], side, axis=1).astype(np.float32))
    found = []
    for seed in range(200):
        place = choose_place(source, data, None, np.random.default_rng(seed))
        assert place.pixels_yx == (64, 64)
        found.append(place.size_yx[0])
        field = cut_field(source, place, 0, (0.0, 255.0)).astype(float)
        assert np.ptp(field[:, 0]) == pytest.approx(255 * place.size_yx[0] / side, abs=6)
    return np.array(found)


def test_the_scale_is_drawn_evenly_in_its_logarithm():
    sizes = np.log(covered(replace(_DATA, scale=(0.5, 4.0))) / 64)
    assert sizes.min() == pytest.approx(np.log(0.5), abs=0.1)
    assert sizes.max() == pytest.approx(np.log(4), abs=0.1)
    assert sizes.mean() == pytest.approx(np.log(2) / 2, abs=0.15)


def test_no_field_covers_more_than_its_image():
    assert covered(replace(_DATA, scale=(1.0, 50.0))).max() <= 400
    assert covered(replace(_DATA, scale=(1.0, 2.0), fit=True)).min() == 400


@pytest.mark.parametrize("values", [{"scale": (2.0, 1.0)}, {"scale": (0.0, 1.0)}, {"mixed_share": 1.0}])
def test_a_scale_and_a_share_have_bounds(values):
    with pytest.raises(InvalidOptionError, match="a scale from low to high, both above 0, and a mixed_share"):
        replace(_DATA, **values)


# Fields that are cut once


@pytest.fixture
def banks(tmp_path_factory):
    """A folder beside the images, for banks would be found among them."""
    return tmp_path_factory.mktemp("banks")


def banked(folder, **values):
    """Data of a folder whose fields are cut once."""
    return DataRecipe(**{"source": str(folder), "field": 32, "count": 40, "banked": True, **values})


def test_fields_are_cut_once_in_proportion_to_the_side_of_an_image(tmp_path, banks):
    for name, side, level in (("a", 64, 50), ("b", 128, 150), ("c", 64, 250)):
        Image.fromarray(np.full((side, side, 3), level, np.uint8)).save(tmp_path / f"{name}.png")
    fields = open_fields(banked(tmp_path, scale=(0.5, 2.0)), banks / "bank.npy")
    levels = [int(drawn(fields, row)[5, 5, 0]) for row in range(len(fields))]
    assert [levels.count(level) for level in (50, 150, 250)] == [10, 20, 10]
    assert fields.name == f"{tmp_path.name}, 40 fields of 32 px, cut once with seed 2025"


def test_a_bank_is_opened_again_and_refused_for_other_images_or_settings(folder, banks):
    bank = banks / "bank.npy"
    first = open_fields(banked(folder), bank)
    assert "torn.png" in first.skipped[0]
    told = []
    again = open_fields(banked(folder, mixed_share=0.5), bank, lambda *progress: told.append(progress))
    assert (again.fingerprint, again.skipped, again.name) == (first.fingerprint, first.skipped, first.name)
    assert np.array_equal(again.pixels, first.pixels)
    assert (40, 40) not in told  # nothing was cut
    for other in (banked(folder, seed=1), banked(folder, scale=(1.0, 1.1))):
        with pytest.raises(InvalidOptionError, match=r"Expected 40 fields cut out of .*; it holds others"):
            open_fields(other, bank)
    Image.fromarray(noise(64, 64, 3)).save(folder / "more.png")
    with pytest.raises(InvalidOptionError, match="or they were cut out of other images"):
        open_fields(banked(folder), bank)


def test_cutting_that_was_interrupted_goes_on(folder, banks):
    data = banked(folder, scale=(0.7, 1.2))
    whole = np.array(open_fields(data, banks / "whole.npy").pixels)
    bank = banks / "bank.npy"

    def stop(done, total):
        if total == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_fields(data, bank, stop)
    assert np.array_equal(open_fields(data, bank).pixels, whole)
    assert not bank.with_suffix(".partial.npy").exists()


def test_a_partial_bank_of_other_fields_is_begun_anew(folder, banks):
    bank = banks / "bank.npy"
    whole = np.array(cut_bank(banks / "whole.npy", scan_files(folder, banked(folder))).pixels)
    cut_bank(bank, scan_files(folder, banked(folder, seed=7)))
    bank.replace(bank.with_suffix(".partial.npy"))
    assert np.array_equal(open_fields(banked(folder), bank).pixels, whole)


def test_images_that_cannot_be_cut_are_a_sentence(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(UnsupportedImageError, match=r"Expected readable images in .*; none is. The first"):
        open_fields(banked(tmp_path), tmp_path / "out" / "bank.npy")


def test_another_process_is_sent_the_name_of_a_bank_rather_than_its_fields(folder, banks):
    data = banked(folder, mixed_in="simulated:histology")
    fields = open_fields(data, banks / "bank.npy")
    sent = pickle.dumps(fields)
    assert len(sent) < 10_000 < fields.first.pixels.nbytes
    arrived = pickle.loads(sent)  # noqa: S301  # what was pickled a line above
    assert (arrived.name, arrived.fingerprint) == (fields.name, fields.fingerprint)
    assert np.array_equal(drawn(arrived, len(fields) - 1), drawn(fields, len(fields) - 1))
    in_memory = ArrayFields(noise(2, 32, 32, 3))
    assert np.array_equal(pickle.loads(pickle.dumps(in_memory)).pixels, in_memory.pixels)  # noqa: S301


# Real and simulated fields, mixed


@pytest.mark.parametrize("cut", [True, False])
def test_simulated_fields_are_mixed_in_by_their_share(cut, folder, banks):
    data = banked(folder, banked=cut, mixed_in="simulated:histology", mixed_share=0.25)
    fields = open_fields(data, banks / "bank.npy")
    real = open_fields(replace(data, mixed_in=""), banks / "bank.npy")
    assert len(fields) == round(len(real) / 0.75)
    assert np.array_equal(drawn(fields, 1), drawn(real, 1))
    expected, _ = get_simulator("histology").draw(field_seed(2025, 0), 32)
    assert np.array_equal(drawn(fields, len(real)), expected)
    assert real.name in fields.name
    assert "simulated:histology" in fields.name
    assert fields.fingerprint != real.fingerprint
    assert fields.skipped == real.skipped


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"source": "simulated:histology"}, "Expected images to mix simulated fields with"),
        ({"mixed_in": "more"}, "Expected mixed_in as a simulator, such as simulated:histology; got 'more'"),
        ({"mixed_in": "simulated:chest"}, "Expected the simulator to be"),
    ],
)
def test_what_cannot_be_mixed_is_refused(values, sentence, folder, banks):
    data = banked(folder, **{"mixed_in": "simulated:histology", "count": 2, **values})
    with pytest.raises(InvalidOptionError, match=sentence):
        open_fields(data, banks / "bank.npy")


# Slides


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A pyramid of 4096 × 4096 px at 0.5 µm: glass, and a stained rectangle of 1024 × 2048 px."""
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    pixels = np.full((4096, 4096, 3), 240, np.uint8)
    pixels[1024:2048, 512:2560] = np.random.default_rng(0).integers(
        (120, 40, 110), (180, 90, 170), (1024, 2048, 3), dtype=np.uint8
    )
    with tifffile.TiffWriter(path) as file:
        shared = {"photometric": "rgb", "tile": (256, 256), "resolutionunit": "CENTIMETER"}
        file.write(pixels, subifds=2, resolution=(20000, 20000), **shared)
        file.write(pixels[::4, ::4], subfiletype=1, **shared)
        file.write(pixels[::16, ::16], subfiletype=1, **shared)
    return path


def test_tissue_is_told_from_glass_and_from_black():
    picture = np.full((60, 60, 3), 238, np.uint8)
    picture[10:30, 10:40] = (190, 120, 170)
    picture[50:] = (0, 0, 0)
    expected = np.zeros((60, 60), bool)
    expected[10:30, 10:40] = True
    assert np.array_equal(find_tissue(picture), expected)


def test_a_picture_full_of_tissue_is_not_cut_in_two():
    picture = np.full((40, 40, 3), (200, 150, 190), np.uint8)
    picture[:, 20:] = (150, 60, 130)
    assert find_tissue(picture).all()


def test_glass_alone_has_no_tissue():
    assert not find_tissue(np.full((20, 20, 3), 240, np.uint8)).any()
    assert not find_tissue(np.zeros((20, 20, 3), np.uint8)).any()


def test_a_thumbnail_is_every_kth_pixel(slide):
    with open_image(slide) as source:
        assert thumbnail(source, longest=500).shape == (512, 512, 3)
        assert np.array_equal(thumbnail(source, longest=1024), tifffile.imread(slide, level=1))


def test_fields_of_a_slide_lie_where_there_is_tissue(slide):
    fields = scan_files(slide, _DATA)
    assert len(fields) == pytest.approx(1024 * 2048 / 64**2, rel=0.05)
    for seed in range(20):
        field = drawn(fields, 0, seed)
        assert (field[20:44, 20:44, 1] < 100).any()


def test_a_slide_is_read_at_the_resolution_asked_for(slide, monkeypatch):
    data = replace(_DATA, um_per_px=2.0)
    fields = scan_files(slide, data)
    assert len(fields) == pytest.approx(1024 * 2048 / 256**2, rel=0.1)
    levels = []
    kept = fields._source(slide)
    read = kept.read
    monkeypatch.setattr(kept, "read", lambda region: levels.append(region) or read(region))
    assert drawn(fields).shape == (64, 64, 3)
    assert [(region.level, region.shape_yx) for region in levels] == [(1, (64, 64))]


def test_a_slide_of_glass_is_refused_by_name(tmp_path):
    tifffile.imwrite(tmp_path / "glass.tif", np.full((4100, 4100, 3), 240, np.uint8), tile=(256, 256))
    with pytest.raises(UnsupportedImageError, match=r"Expected tissue on glass\.tif; none was found"):
        scan_files(tmp_path / "glass.tif", _DATA)


# Loading


def digest(shards):
    return [hashlib.sha256(shard.pixels.numpy().tobytes()).hexdigest() for shard in shards]


def test_a_resumed_reader_goes_on_where_the_whole_one_is(folder):
    shards = Shards(scan_files(folder, _DATA), replace(tiny_recipe("mae"), batch=4, shards=2))
    whole = digest(read_ahead(shards, Keys(0, 5, range(2)), workers=0, pin=False))
    again = Shards(scan_files(folder, _DATA), replace(tiny_recipe("mae"), batch=4, shards=2))
    assert digest(read_ahead(again, Keys(3, 5, range(2)), workers=0, pin=False)) == whole[6:]
    second = digest(read_ahead(again, Keys(0, 5, range(1, 2)), workers=0, pin=False))
    assert second == whole[1::2]


def test_other_processes_read_the_same(folder):
    shards = Shards(scan_files(folder, _DATA), replace(tiny_recipe("mae"), batch=4, shards=2))
    alone = digest(read_ahead(shards, Keys(0, 3, range(2)), workers=0, pin=False))
    assert digest(read_ahead(shards, Keys(0, 3, range(2)), workers=1, pin=False)) == alone


def test_a_damaged_file_is_named_once_and_skipped(folder):
    fields = scan_files(folder, _DATA)
    shards = Shards(fields, replace(tiny_recipe("mae"), batch=len(fields)))
    first, second = shards[0, 0], shards[1, 0]
    assert len(first.skipped) == 1
    assert "torn.png" in first.skipped[0]
    assert second.skipped == ()
    assert first.pixels.shape == (9, 64, 64, 3)


def test_no_readable_file_at_all_is_a_sentence(tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    shards = Shards(scan_files(tmp_path, _DATA), tiny_recipe("mae"))
    with pytest.raises(UnsupportedImageError, match=r"tries in a row failed. The first fault: .*torn.png"):
        shards[0, 0]


def test_watched_fields_are_not_trained_on():
    pixels = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8)
    shards = Shards(ArrayFields(pixels), replace(tiny_recipe("mae"), batch=38))
    watched = set(shards.watched()[:, 0, 0, 0].tolist())
    trained = set(shards[0, 0].pixels[:, 0, 0, 0].tolist())
    assert len(watched) == 2
    assert watched | trained == set(range(40))


@pytest.mark.parametrize("name", ["bank.json", "bank.partial.npy"])
def test_no_file_of_others_beside_a_bank_is_written_over(name, folder, banks):
    (banks / name).write_text("mine")
    with pytest.raises(ExportError, match="did not write it"):
        open_fields(banked(folder), banks / "bank.npy")
    (banks / "bank.json").unlink(missing_ok=True)
    if name == "bank.partial.npy":
        with pytest.raises(ExportError, match="did not write it"):
            build_bank(banks / "bank.npy", DataRecipe(field=48, count=1))
        assert (banks / name).read_text() == "mine"


def test_a_bank_that_is_none_and_one_called_json_are_refused(folder, banks):
    (banks / "bank.npy").write_text("mine")
    for data in (banked(folder), DataRecipe(field=48, count=1)):
        with pytest.raises(InvalidOptionError, match=r"bank of fields|it holds others"):
            open_fields(data, banks / "bank.npy")
    with pytest.raises(ExportError, match=r"ends in \.npy"):
        open_fields(banked(folder), banks / "bank.json")


def test_a_disk_without_place_for_a_bank_is_said_before_it_is_mapped(banks, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ExportError, match="No space left on device"):
        build_bank(banks / "bank.npy", DataRecipe(field=48, count=1))
    assert list(banks.iterdir()) == []
