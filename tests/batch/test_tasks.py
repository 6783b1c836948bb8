"""The key of a task: equal where the numbers are, different where anything decides otherwise."""

import os
from dataclasses import replace
from pathlib import Path
from shutil import copy2

import pytest
from encoders_factory import write_encoder

from napari_sslmaps.batch.cluster import Workers, worker_specs
from napari_sslmaps.batch.tasks import BatchOptions, choose_encoder, make_task
from napari_sslmaps.encoders.registry import hash_encoder
from napari_sslmaps.encoders.user_encoders import remember
from napari_sslmaps.errors import EncoderNotFoundError, InvalidOptionError, WeightsUnavailableError
from napari_sslmaps.inputs.listing import BatchItem
from napari_sslmaps.records.run import RunOptions


def key(item, encoder, options=BatchOptions()):  # noqa: B008  # frozen
    return make_task(item, encoder, options, Path("/out"), Path("/out/.unfinished/x")).key


@pytest.fixture
def item(images):
    return BatchItem(str(images / "a.png"), "a.png")


def test_the_key_is_of_contents_not_of_places(item, encoder, images):
    moved = copy2(images / "a.png", images / "moved.png")
    elsewhere = replace(item, image=str(moved), name="other")
    assert key(item, encoder) == key(elsewhere, encoder)
    assert key(item, encoder) == key(item, replace(encoder, source="/elsewhere/tiny-mae.safetensors"))
    on_gpu = BatchOptions(RunOptions(device="cuda"))
    assert key(item, encoder) == key(item, encoder, on_gpu)


@pytest.mark.parametrize(
    "changed",
    [
        {"anchors": ((1.0, 2.0),)},
        {"negative": ((1.0, 2.0),)},
        {"region": (0, 0, 16, 16)},
        {"level": 1},
        {"frame": 1},
    ],
)
def test_the_key_knows_every_field_of_an_item(item, encoder, changed):
    assert key(item, encoder) != key(replace(item, **changed), encoder)


@pytest.mark.parametrize(
    "changed",
    [
        BatchOptions(level=1),
        BatchOptions(spacing_um=0.5),
        BatchOptions(tokens="float32"),
        BatchOptions(mask="auto"),
        *(
            BatchOptions(RunOptions.from_flat({**RunOptions().to_flat(), name: value}))
            for name, value in [
                ("tile", 8),
                ("overlap", 4),
                ("stitching", "blend"),
                ("precision", "float32"),
                ("head", 0),
                ("rendering", "whitened"),
                ("foreground", ""),
                ("centred", False),
                ("combine", "max"),
            ]
        ),
    ],
)
def test_the_key_knows_every_option(item, encoder, changed):
    assert key(item, encoder) != key(item, encoder, changed)


def test_the_key_knows_image_and_weights(item, encoder, tmp_path):
    before = key(item, encoder)
    assert before != key(item, choose_encoder(str(write_encoder(tmp_path / "tiny-mae.safetensors", seed=1))))
    assert before != key(item, replace(encoder, overrides={"num_heads": 4}))
    path = Path(item.image)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    touched = key(item, encoder)
    assert touched != before
    path.unlink()
    assert key(item, encoder) not in {before, touched}


def test_an_encoder_is_found_by_name_path_and_memory(weights):
    named = choose_encoder("mae-demo")
    assert (named.source, named.sha256) == ("mae-demo", hash_encoder("mae-demo"))
    remember(weights, name="mine")
    mine, file = choose_encoder("mine"), choose_encoder(str(weights), {"num_heads": 4})
    assert (mine.name, mine.source) == ("mine", str(weights))  # another machine has not this one's memory
    assert (file.name, file.source, file.overrides) == ("tiny-mae", str(weights), {"num_heads": 4})
    assert mine.sha256 == file.sha256


def test_an_encoder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(EncoderNotFoundError, match="got 'nothing'"):
        choose_encoder("nothing")
    path = write_encoder(tmp_path / "gone.safetensors")
    remember(path, name="gone")
    path.unlink()
    with pytest.raises(WeightsUnavailableError, match="gone"):
        choose_encoder("gone")


def test_options_are_checked():
    with pytest.raises(InvalidOptionError, match="float16, float32, none"):
        BatchOptions(tokens="int8")  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="above 0"):
        BatchOptions(spacing_um=0)
    with pytest.raises(InvalidOptionError, match="either a number of workers"):
        Workers(count=2, scheduler="tcp://127.0.0.1:1")
    with pytest.raises(InvalidOptionError, match="at least one worker"):
        Workers(count=0)


def test_gpus_are_shared_out_one_to_a_worker():
    specs = worker_specs(Workers(threads=3), ["2", "5"])
    shown = [spec["options"]["env"]["CUDA_VISIBLE_DEVICES"] for spec in specs.values()]
    assert shown == ["2", "5"]
    assert all(spec["options"]["env"]["OMP_NUM_THREADS"] == "3" for spec in specs.values())
    more = worker_specs(Workers(count=3), ["2", "5"])
    assert [spec["options"]["env"]["CUDA_VISIBLE_DEVICES"] for spec in more.values()] == ["2", "5", "2"]
    without = worker_specs(Workers(count=2), [])
    assert len(without) == 2
    assert "CUDA_VISIBLE_DEVICES" not in without[0]["options"]["env"]
    assert without[0]["options"]["nthreads"] == 1


def test_options_of_a_single_run_are_refused():
    with pytest.raises(InvalidOptionError, match="takes; got block, mask, which only"):
        BatchOptions(RunOptions.from_flat({"block": 2, "mask": "auto"}))
