from typing import get_args

import numpy as np
import pytest
from encoders_factory import write_encoder

from napari_sslmaps import Annotation, embed, load_encoder, pca_map, score_anchors, similarity_map
from napari_sslmaps.core.baselines import colour_embedding, pixel_embedding
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.controls import ControlKind, controls_of
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pipeline import controls as controls_module
from napari_sslmaps.pipeline.controls import embed_control
from napari_sslmaps.sources.array import ArraySource, UniformSource

KINDS = get_args(ControlKind)


@pytest.fixture
def encoder(tmp_path):
    path = write_encoder(tmp_path / "own.safetensors")
    return load_encoder(path, device="cpu", precision="float32")


def drawn(height=70, width=90):
    return np.random.default_rng(0).integers(0, 4096, (height, width, 3), dtype=np.uint16)


def by_kind(encoder):
    return {control.kind: control for control in controls_of(encoder)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_control_lies_on_the_encoder_s_own_grid(encoder, kind):
    source = ArraySource([drawn(210, 270), drawn()])
    region = Region(3, 5, 50, 61, level=1)
    own = embed(source, encoder, region=region)
    control = by_kind(encoder)[kind]
    found = embed_control(control, source, encoder, region=region)
    assert found.grid == own.grid
    assert np.isfinite(found.tokens).all()
    assert found.provenance.encoder == control.name
    assert found.provenance.region == region


def test_a_constant_image_shows_what_positions_alone_give(encoder):
    pixels = drawn()
    found = embed_control(by_kind(encoder)["constant"], pixels, encoder)
    own = embed(pixels, encoder)
    mean = np.rint(pixels.mean(axis=(0, 1))).astype(np.uint16)
    flat = np.broadcast_to(mean, pixels.shape)
    expected = embed(flat, encoder, window=own.provenance.window, allow_uniform=True)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert found.attention.shape[1:] == own.grid.shape
    assert not expected.foreground.any()
    for item in (found, expected):
        np.testing.assert_array_equal(pca_map(item, foreground="auto").values, pca_map(item).values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_leaves_out_what_it_leaves_out_of_the_encoder_s_own(encoder, kind):
    pixels = drawn()
    mask = np.zeros(pixels.shape[:2], bool)
    mask[20:60, 10:40] = True
    own = embed(pixels, encoder, mask=mask)
    found = embed_control(by_kind(encoder)[kind], pixels, encoder, mask=mask)
    np.testing.assert_array_equal(np.isnan(found.tokens[..., 0]), np.isnan(own.tokens[..., 0]))
    assert found.provenance.mask_sha256 == own.provenance.mask_sha256 != ""
    assert np.isnan(found.tokens).any()


@pytest.mark.parametrize("kind", KINDS)
def test_maps_and_scores_work_on_every_control(encoder, kind):
    pixels = drawn()
    labels = np.zeros(pixels.shape[:2], int)
    labels[20:60, 10:40] = 1
    found = embed_control(by_kind(encoder)[kind], pixels, encoder)
    for centred in (False, True):
        values = similarity_map(found, [(30, 20)], centred=centred).values
        assert np.isfinite(values).all()
    assert np.isfinite(pca_map(found, foreground="auto").values).all()
    scores = score_anchors(found, Annotation.from_labels(labels, labels.shape), count=8)
    assert 0 <= scores.mean().value <= 1


@pytest.mark.parametrize("kind", ["pixels", "colour"])
@pytest.mark.parametrize("height", [70, 65, 8])
def test_strips_give_what_the_whole_region_gives(encoder, monkeypatch, kind, height):
    monkeypatch.setattr(controls_module, "_STRIP_PIXELS", 1)
    pixels = drawn(height)
    own = embed(pixels, encoder)
    whole = {"pixels": pixel_embedding, "colour": colour_embedding}[kind]
    expected = whole(pixels, own.grid, window=own.provenance.window)
    found = embed_control(by_kind(encoder)[kind], pixels, encoder)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.foreground, own.foreground)
    assert found.provenance.image_sha256 == own.provenance.image_sha256


def test_another_encoder_than_the_control_s_is_refused(encoder):
    with pytest.raises(InvalidOptionError, match="Expected the encoder own"):
        embed_control(by_kind(encoder)["constant"], drawn(), "mae-histology")


@pytest.mark.parametrize(("dtype", "expected"), [(np.uint8, 3), (np.float32, 2.6), (np.bool_, True)])
def test_a_uniform_image_has_the_type_of_the_other(dtype, expected):
    like = ArraySource(np.zeros((4, 6), dtype))
    pixels = UniformSource(like, [2.6]).read(Region(1, 1, 2, 3))
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, np.full((2, 3), expected, dtype))
