import subprocess
import sys
from dataclasses import fields

import pytest

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.options import (
    OPTIONS,
    DINOv3Options,
    DiRAOptions,
    IJEPAOptions,
    MAEOptions,
    parse_options,
)

from .tiny import tiny


def test_what_is_not_given_has_its_default():
    assert parse_options(MAEOptions, {}) == MAEOptions()
    assert parse_options(MAEOptions, {"mask_ratio": 0.5}).mask_ratio == 0.5


def test_an_unknown_option_is_refused_with_those_there_are_and_their_defaults():
    with pytest.raises(InvalidOptionError, match=r"mask_ratio \(0.75\).*norm_pix_loss \(True\).*'ratio'"):
        tiny("mae", ratio=0.5)


@pytest.mark.parametrize("method", OPTIONS)
def test_every_objective_refuses_unknown_options(method):
    with pytest.raises(InvalidOptionError, match="got 'nonsense'"):
        tiny(method, nonsense=1)


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (MAEOptions, {"norm_pix_loss": 1}, "norm_pix_loss as bool; got 1"),
        (MAEOptions, {"decoder_depth": 2.5}, "decoder_depth as int; got 2.5"),
        (MAEOptions, {"decoder_depth": True}, "decoder_depth as int; got True"),
        (MAEOptions, {"mask_ratio": "high"}, "mask_ratio as float; got 'high'"),
        (MAEOptions, {"mask_ratio": True}, "mask_ratio as float; got True"),
        (IJEPAOptions, {"target_scale": 0.2}, "target_scale as two numbers; got 0.2"),
        (IJEPAOptions, {"target_scale": [0.1, 0.2, 0.3]}, "target_scale as two numbers"),
        (IJEPAOptions, {"target_scale": [0.1, "b"]}, "target_scale as two numbers"),
        (DiRAOptions, {"ingredients": "Re"}, "ingredients among Di, Di.Re, Di.Re.Ad; got 'Re'"),
    ],
)
def test_a_value_of_another_type_is_refused(kind, given, sentence):
    with pytest.raises(InvalidOptionError, match=sentence):
        parse_options(kind, given)


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (MAEOptions, {"mask_ratio": 1.0}, "mask_ratio above 0 and below 1; got 1.0"),
        (MAEOptions, {"mask_ratio": 0.0}, "mask_ratio above 0 and below 1; got 0.0"),
        (MAEOptions, {"decoder_dim": 0}, "decoder_dim of at least 1; got 0"),
        (IJEPAOptions, {"momentum": 1.5}, "momentum between 0 and 1; got 1.5"),
        (IJEPAOptions, {"target_scale": (0.3, 0.2)}, "target_scale from low to high"),
        (DINOv3Options, {"gram_resolution": 0}, "gram_resolution of at least 1; got 0"),
        (DINOv3Options, {"student_temperature": 0.0}, "student_temperature above 0; got 0.0"),
        (DINOv3Options, {"rope_rescale": 0.5}, "rope_rescale of at least 1; got 0.5"),
        (DiRAOptions, {"adversary_weight": -1.0}, "adversary_weight of at least 0; got -1.0"),
    ],
)
def test_a_value_out_of_range_is_refused(kind, given, sentence):
    with pytest.raises(InvalidOptionError, match=sentence):
        parse_options(kind, given)


def test_toml_s_values_are_taken():
    taken = parse_options(DINOv3Options, {"region_span": [64, 104], "gram_weight": 2, "locals": 3})
    assert taken.region_span == (64.0, 104.0)
    assert isinstance(taken.gram_weight, float)
    assert taken.locals == 3


@pytest.mark.parametrize("kind", OPTIONS.values())
def test_every_option_is_documented(kind):
    documented = {name for line in kind.__doc__.splitlines() for name in line.strip().split(", ")}
    assert {item.name for item in fields(kind)} <= documented


def test_reading_options_loads_no_torch():
    code = "import sys, napari_sslmaps.lab.training.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
