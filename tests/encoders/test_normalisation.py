"""Channel statistics by name, or spelt out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import NORMALISATIONS, get_normalisation, spell_normalisation
from napari_sslmaps.errors import InvalidOptionError

MEAN = st.floats(0, 1).map(lambda value: float(f"{value:.4f}"))
STD = st.floats(0.001, 1).map(lambda value: float(f"{value:.4f}"))


def test_a_preset_is_found_by_name_and_by_its_numbers():
    for name, preset in NORMALISATIONS.items():
        assert get_normalisation(name) is preset
        assert spell_normalisation(preset.mean, preset.std) == name
        text = f"{','.join(map(str, preset.mean))}/{','.join(map(str, preset.std))}"
        assert get_normalisation(text).name == name


@given(st.tuples(MEAN, MEAN, MEAN), st.tuples(STD, STD, STD))
def test_what_is_spelt_is_read_again(mean, std):
    found = get_normalisation(spell_normalisation(mean, std))
    assert found.mean == pytest.approx(mean, abs=5e-4)
    assert found.std == pytest.approx(std, abs=5e-4)
    assert get_normalisation(found.name) == found


def test_spaces_do_not_matter():
    found = get_normalisation(" 0.5, 0.5,0.5 / 0.25,0.25, 0.25")
    assert found == get_normalisation("0.5,0.5,0.5/0.25,0.25,0.25")
    assert found.name == "0.5,0.5,0.5/0.25,0.25,0.25"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("imagnet", "Expected a normalisation among imagenet.*or means and deviations such as.*'imagnet'"),
        ("", "got ''"),
        ("0.5/0.5", "three means and three deviations"),
        ("0.5,0.5,0.5", "means and deviations such as"),
        ("0.5,0.5,0.5/0.2,0.2,0.2/1,1,1", "three means and three deviations"),
        ("a,b,c/0.2,0.2,0.2", "three means and three deviations"),
        ("0.5,0.5,0.5/0,0.2,0.2", "deviations above 0"),
        ("nan,0.5,0.5/0.2,0.2,0.2", r"means in \[0, 1\]"),
        ("0.5,0.5,0.5/0.2,0.2,inf", "deviations above 0"),
        ("123.7,116.3,103.5/58.4,57.1,57.4", "Divide statistics of 8-bit values by 255"),
    ],
)
def test_what_is_malformed_gets_a_sentence(text, sentence):
    with pytest.raises(InvalidOptionError, match=sentence):
        get_normalisation(text)


def test_it_can_be_an_override():
    assert Overrides(normalisation="0.5,0.5,0.5/0.25,0.25,0.25").keywords["normalisation"].startswith("0.5")
    with pytest.raises(InvalidOptionError, match="three means"):
        Overrides(normalisation="0.5/0.2")
