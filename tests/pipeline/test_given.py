"""What `embed` is given: numbers of any library are taken, what is no value of an option has a sentence."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders_factory import write_encoder

import napari_sslmaps as ssl
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.pipeline.caching import chosen_cache

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 40), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = write_encoder(tmp_path_factory.mktemp("weights") / "mae.safetensors", "mae")
    return ssl.load_encoder(path, device=torch.device("cpu"), precision="float32")


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"block": np.int64(0)}, {"block": 0}),
        ({"block": np.int8(-1)}, {"block": -1}),
        ({"channel": np.int64(0)}, {"channel": 0}),
        ({"stride": np.int64(4)}, {"stride": 4}),
        ({"window": np.array([3, 200])}, {"window": (3, 200)}),
        ({"region": np.array([0, 8, 16, 24], np.uint8)}, {"region": (0, 8, 16, 24)}),
    ],
)
def test_numbers_of_numpy_are_taken(encoder, given, same):
    found, expected = ssl.embed(PIXELS, encoder, **given), ssl.embed(PIXELS, encoder, **same)
    assert type(found) is type(expected)
    np.testing.assert_array_equal(found.tokens, expected.tokens)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("block", value) for value in (1.0, 1.5, np.array([[0]]), [[0]], True, [True], object())),
        *(("block", value) for value in (range(10**9), range(10**30))),
        *(("channel", value) for value in (1.5, True, [0.5], object())),
        *(("frames", value) for value in (0, -1, 0.5, [0.5], slice("a"))),
        *(("stride", value) for value in (4.0, "4", True)),
        *(("window", value) for value in (5, "ab", ("a", "b"), (0, None), (1j, 2))),
        *(("resolution", value) for value in (None, [1], object())),
        *(("cache", value) for value in (5, object())),
        ("tiling", 5),
        ("on_progress", 5),
    ],
)
def test_what_is_no_value_of_an_option_has_a_sentence(encoder, option, value):
    with pytest.raises(InvalidOptionError, match=r"^Expected .*; got"):
        ssl.embed(PIXELS, encoder, **{option: value})


@pytest.mark.parametrize("region", [5, "abcd", ("a", 0, 8, 8), (0, 0, 8.5, 8), np.s_["a":8, :8], (None,) * 4])
def test_what_is_no_region_has_a_sentence(encoder, region):
    with pytest.raises(RegionError, match="Expected"):
        ssl.embed(PIXELS, encoder, region=region)


@pytest.mark.parametrize("device", [None, 5])
def test_what_is_no_device_has_a_sentence(tmp_path, device):
    with pytest.raises(InvalidOptionError, match=rf"Expected a device .*; got {device}\."):
        ssl.load_encoder(write_encoder(tmp_path / "mae.safetensors", "mae"), device=device)


def test_a_cache_is_chosen_by_its_folder(tmp_path):
    assert chosen_cache(tmp_path) == chosen_cache(str(tmp_path)) == Cache(tmp_path)
    assert chosen_cache(None) is chosen_cache(cache=False) is None


@pytest.mark.parametrize("path", ["~nosuchuser-of-ours/a.png", "a" * 5000, Path("b/" * 2500)])
def test_a_path_that_cannot_be_one_has_the_same_sentence_everywhere(encoder, path):
    for call in (lambda: ssl.embed(path, encoder), lambda: ssl.load_encoder(path)):
        with pytest.raises(InvalidOptionError, match=r"^Expected a path") as refused:
            call()
        assert len(str(refused.value)) < 300
    assert re.search("home folder|letters", str(refused.value))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("focus_yx", value) for value in ("x", (), (True, False), (float("nan"), 1.0), 5, (1, 2, 3))),
        *(("resolution", value) for value in (True, np.True_, float("nan"), float("inf"))),
        *(("short_side", value) for value in (True, "12", [5], float("nan"))),
        ("cache", "a\0b"),
    ],
)
def test_truth_values_and_what_is_not_finite_are_no_numbers(encoder, option, value):
    with pytest.raises(InvalidOptionError, match=r"^Expected .*; got"):
        ssl.embed(PIXELS, encoder, **{option: value})


@pytest.mark.parametrize("call", [ssl.attend, ssl.pretext_view, ssl.embed])
@pytest.mark.parametrize("value", [True, None, 5, []])
def test_what_is_no_encoder_has_a_sentence(call, value):
    with pytest.raises(
        InvalidOptionError, match=r"Expected an (encoder from load_encoder|Encoder or a text)"
    ):
        call(PIXELS, value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("scale", value) for value in (True, np.True_, float("nan"), float("inf"))),
        *(("radius", value) for value in (True, -1, float("nan"), "x", [])),
    ],
)
def test_a_scale_and_a_radius_are_finite_numbers(encoder, option, value):
    embedding = ssl.embed(PIXELS, encoder)
    with pytest.raises(InvalidOptionError, match="Expected a"):
        ssl.similarity_map(embedding, [(5, 5)], **{option: value})


@pytest.mark.parametrize("value", [True, 1.0, "1", [1]])
def test_a_block_of_attention_is_a_whole_number(encoder, value):
    with pytest.raises(InvalidOptionError, match="Expected a whole number or None as block of attend"):
        ssl.attend(PIXELS, encoder, block=value)


def test_one_spacing_is_no_truth_value():
    with pytest.raises(InvalidOptionError, match=r"Expected a finite number .* as um_per_px"):
        ssl.open_image(PIXELS, um_per_px=True)
