"""The size of the neighbourhood that tokens are averaged over, as people write it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_sslmaps as ssl
from napari_sslmaps.core.neighbourhood import averaged
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.core.scale import TokenScale, at_scale
from napari_sslmaps.errors import InvalidOptionError


def embedding(spacing: tuple[float, float] | None = None) -> ssl.Embedding:
    tokens = np.random.default_rng(0).normal(size=(6, 10, 4)).astype(np.float32)
    made = ssl.Embedding.from_tokens(tokens, stride=8)
    return ssl.Embedding(tokens, made.grid, Provenance(image="an image", spacing_um_yx=spacing))


@given(st.floats(0, 1e4), st.sampled_from(["px", "um", "%"]))
def test_what_is_written_is_understood(value, unit):
    written = str(TokenScale(value, unit))
    assert TokenScale.of(written).unit == unit
    assert TokenScale.of(written).value == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"), [("20 µm", (20, "um")), ("0", (0, "px")), (".5%", (0.5, "%")), ("3PX", (3, "px"))]
)
def test_units_are_written_in_several_ways(text, expected):
    found = TokenScale.of(text)
    assert (found.value, found.unit) == expected


@pytest.mark.parametrize("text", ["", "20", "um", "-3px", "nanpx", "3 inches", "1.2.3px"])
def test_anything_else_is_refused_in_a_sentence(text):
    with pytest.raises(InvalidOptionError, match="Expected a scale"):
        TokenScale.of(text)


def test_sizes_are_pixels_of_level_0():
    made = embedding((0.5, 0.5))
    assert TokenScale(12).pixels(made) == 12
    assert TokenScale(20, "um").pixels(made) == 40
    assert TokenScale(10, "%").pixels(made) == pytest.approx(4.8)
    assert TokenScale(20, "um").pixels(embedding((0.25, 1.0))) == 40  # areas agree


def test_micrometres_need_an_image_that_tells_them():
    with pytest.raises(InvalidOptionError, match="an image does not"):
        TokenScale(20, "um").pixels(embedding())


def test_an_average_says_its_scale_and_single_patches_stay_as_they_are():
    made = embedding((0.5, 0.5))
    assert at_scale(made, TokenScale()) is made
    found = at_scale(made, TokenScale(8, "um"))
    assert found.provenance.scale == 16
    np.testing.assert_array_equal(found.tokens, averaged(made, 16.0).tokens)


def test_a_scale_is_given_as_a_number_of_pixels_or_in_words():
    made = embedding((0.5, 0.5))
    for given_as in (16, np.float32(16), "16px", "8um", TokenScale(8, "um")):
        np.testing.assert_array_equal(ssl.at_scale(made, given_as).tokens, averaged(made, 16.0).tokens)
    for wrong in (True, None, float("nan"), -1, "16"):
        with pytest.raises((InvalidOptionError, TypeError), match="scale"):
            ssl.at_scale(made, wrong)


def test_a_second_average_adds_its_variance():
    once = ssl.at_scale(embedding(), 3)
    assert ssl.at_scale(once, 4).provenance.scale == 5
    assert ssl.similarity_map(once, [(4, 4)], scale=4).provenance.scale == 5
    groups = [ssl.AnchorGroup("one", anchors=[(4, 4)])]
    assert ssl.group_map(once, groups, scale="4px").provenance.scale == 5
    assert ssl.pca_map(once).provenance.scale == 3


def test_provenance_of_before_says_nothing_of_scale_and_resolution():
    assert not {"scale", "resolution", "spacing_um_yx"} & set(Provenance().to_dict())
    told = Provenance(spacing_um_yx=(0.5, 0.5), resolution="0.5 µm/px", scale=3.0)
    assert Provenance.from_dict(told.to_dict()) == told
