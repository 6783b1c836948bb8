"""What a worker does with a task, without a cluster."""

from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from encoders_factory import write_encoder
from skimage.data import immunohistochemistry

from napari_sslmaps.batch import work
from napari_sslmaps.batch import work as memory
from napari_sslmaps.batch.store import begin_outputs, end_outputs, read_about, read_embedding
from napari_sslmaps.batch.tasks import BatchOptions, choose_encoder, make_task, tiles_folder
from napari_sslmaps.batch.work import embed_task, prepare
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import Cancelled, InvalidOptionError, WeightsUnavailableError
from napari_sslmaps.inputs.listing import BatchItem
from napari_sslmaps.maps.frames import frame_maps
from napari_sslmaps.maps.similarity import similarity_map
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.sources.open import open_image

EXACT = BatchOptions(RunOptions(device="cpu", precision="float32"), tokens="float32")


@pytest.fixture
def task(images, encoder, tmp_path):
    unfinished = tmp_path / "out" / ".unfinished" / "x"
    begin_outputs(unfinished)
    item = BatchItem(str(images / "more" / "c.png"), "more/c.png", anchors=((20.0, 30.0),))
    return make_task(item, encoder, EXACT, tmp_path / "out", unfinished)


def test_an_output_holds_what_embed_gives(task, weights, tmp_path):
    (row,) = embed_task(task)
    image = Path(task.item.image)
    expected = embed(image, load_encoder(weights, device="cpu", precision="float32"))
    folder = tmp_path / "out" / "tiny-mae" / "more" / "c.png.zarr"
    stored = read_embedding(folder)
    np.testing.assert_array_equal(stored.tokens, expected.tokens)
    np.testing.assert_array_equal(stored.attention, expected.attention)
    with open_image(folder / "similarity") as source:
        values = source.read(Region(0, 0, *source.levels[0].shape_yx))
    np.testing.assert_array_equal(values, similarity_map(expected, [(20.0, 30.0)]).values)
    provenance = expected.provenance
    assert (row.status, row.error) == ("done", "")
    assert (row.rows, row.cols, row.dim) == (8, 6, 32)
    assert (row.image_sha256, row.weights_sha256) == (provenance.image_sha256, provenance.weights_sha256)
    assert (row.height, row.width, row.level, row.precision) == (64, 48, 0, "float32")
    about = read_about(folder)
    assert (about.key, about.row["name"]) == (task.key, "more/c.png")


def test_a_cnn_has_activation_and_no_attention(task, tmp_path):
    of_cnn = replace(
        task, encoder=choose_encoder(str(write_encoder(tmp_path / "tiny-dira.safetensors", "dira")))
    )
    (row,) = embed_task(of_cnn)
    assert (row.status, row.attention_entropy, row.prefix_attention) == ("done", None, None)
    assert read_embedding(task.folder).activation is not None


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"image": "/nowhere.png"}, "there is none at nowhere.png"),
        ({"level": 4}, "level below 1"),
        ({"region": (0, 0, 500, 500)}, "inside the image"),
        ({"frame": 2}, "frame"),
        ({"anchors": ((900.0, 0.0),)}, "anchor on the region"),
    ],
)
def test_an_image_that_cannot_be_embedded_is_a_row_with_its_sentence(task, item, said, tmp_path):
    (row,) = embed_task(replace(task, item=replace(task.item, **item)))
    assert row.status == "failed"
    assert said in row.error
    assert not (tmp_path / "out" / "tiny-mae").exists()
    assert [path.name for path in Path(task.unfinished).iterdir()] == ["going-on"]


def test_an_image_too_large_for_the_worker_is_said_before_it_is_computed(task, monkeypatch):
    monkeypatch.setattr(memory, "memory_limit", lambda: 8 * 6 * 32 * 4)
    assert "fewer workers" in embed_task(task)[0].error


def test_a_run_that_is_over_is_not_worked_for(task):
    end_outputs(Path(task.unfinished))
    assert "has been stopped" in embed_task(task)[0].error
    assert not Path(task.folder).exists()


def test_a_worker_with_other_weights_or_another_version_refuses(task, tmp_path):
    other = replace(task.encoder, sha256="0" * 64)
    with pytest.raises(WeightsUnavailableError, match="same weights"):
        prepare(other, "cpu", "float32", task.package_version)
    with pytest.raises(InvalidOptionError, match="on every worker"):
        prepare(task.encoder, "cpu", "float32", "99.0")
    assert "same weights" in embed_task(replace(task, encoder=other))[0].error
    assert "on every worker" in embed_task(replace(task, package_version="99.0"))[0].error


def test_an_image_that_was_stopped_goes_on_where_it_was(task, weights, monkeypatch, tmp_path):
    cut = replace(task, options=replace(EXACT, maps=replace(EXACT.maps, tile=1, overlap=0)))
    monkeypatch.setattr(work, "_MANY_TILES", 2)
    asked = []

    def stop(task):
        asked.append(task)
        if len(asked) == 3:
            raise Cancelled("The batch that asked for this image has been stopped.")

    with monkeypatch.context() as patch:
        patch.setattr(work, "_check_running", stop)
        assert embed_task(cut)[0].status == "failed"
    kept = tiles_folder(tmp_path / "out", cut.key)
    assert len(list(kept.rglob("*.npz"))) == 32
    computed = []
    with monkeypatch.context() as patch:
        patch.setattr(
            work, "embed", lambda *given, **how: embed(*given, **how | {"on_progress": computed.append})
        )
        assert embed_task(cut)[0].status == "done"
    assert [progress.restored for progress in computed] == [32, 32]
    assert not kept.exists()
    expected = embed(
        Path(task.item.image),
        load_encoder(weights, device="cpu", precision="float32"),
        tiling=Tiling(1, 0),
    )
    np.testing.assert_array_equal(read_embedding(task.folder).tokens, expected.tokens)


def test_only_what_the_mask_finds_is_embedded_and_comes_back(task, tmp_path):
    glass = np.full((640, 640, 3), 242, np.uint8)
    glass[100:356, 100:356] = immunohistochemistry()[:256, :256]
    iio.imwrite(tmp_path / "slide.png", glass)
    item = replace(task.item, image=str(tmp_path / "slide.png"), anchors=((200.0, 200.0),))
    (row,) = embed_task(replace(task, item=item, options=replace(EXACT, mask="auto")))
    assert (row.status, row.error) == ("done", "")
    stored = read_embedding(task.folder)
    there = np.isfinite(stored.tokens[..., 0])
    assert there[13:44, 13:44].mean() > 0.8
    assert not there[50:].any()
    assert row.mask_sha256 == stored.provenance.mask_sha256 != ""
    assert 0 < row.common_share < 1
    assert row.effective_rank > 1


def test_frames_of_a_clip_share_window_components_and_anchors(task, weights, tmp_path):
    pixels = (np.random.default_rng(0).random((5, 48, 64)) * 60).astype(np.uint16)
    pixels[2] *= 3
    np.save(tmp_path / "clip.npy", pixels)
    item = BatchItem(str(tmp_path / "clip.npy"), "clip.npy", anchors=((20.0, 30.0),), frames=(0, 2, 3))
    clip = make_task(item, task.encoder, EXACT, tmp_path / "out", Path(task.unfinished))
    rows = embed_task(clip)
    assert [(row.error, row.name, row.frame) for row in rows] == [
        ("", f"clip.npy/frame-{frame:04d}", frame) for frame in item.frames
    ]
    assert len({(row.window_low, row.window_high) for row in rows}) == 1
    encoder = load_encoder(weights, device="cpu", precision="float32")
    embedded = embed(tmp_path / "clip.npy", encoder, frames=item.frames)
    expected = frame_maps(embedded, ["pca", "similarity"], anchors=item.anchors)
    for place, row in enumerate(rows):
        folder = tmp_path / "out" / row.output
        np.testing.assert_array_equal(read_embedding(folder).tokens, embedded[place].tokens)
        for key, frames in expected.items():
            chosen = (0, 1, 2) if key == "pca" else None
            with open_image(folder / key, channel=chosen) as source:
                stored = source.read(Region(0, 0, *source.levels[0].shape_yx))
            np.testing.assert_array_equal(stored, frames.maps[place].values)
    assert not (tmp_path / "out" / "tiny-mae" / "clip.npy.zarr").exists()


def test_frames_that_cannot_be_embedded_have_a_row_each(task, tmp_path):
    item = replace(task.item, image=str(tmp_path / "gone.npy"), frames=(0, 1))
    rows = embed_task(replace(task, item=item))
    assert [row.status for row in rows] == ["failed", "failed"]
    assert [row.name for row in rows] == ["more/c.png/frame-0000", "more/c.png/frame-0001"]
