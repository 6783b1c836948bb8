"""The contrast, the rule of the verdict, and the sentences made of them."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.study.analysis import StudyResult, analyse, contrast, verdict
from napari_sslmaps.lab.study.bootstrap import BootstrapEstimate
from napari_sslmaps.lab.study.design import Design, design_from_dict, design_to_toml, find_design
from napari_sslmaps.lab.study.words import verdict_sentence

DESIGN = Design(
    "made", domains=("histology",), localities=(0.0, 1.0), noises=(0.0, 1.0), test_images=300, resamples=300
)
ENCODERS = [*DESIGN.methods, *(f"{name}-untrained" for name in DESIGN.methods), "colour", "pixels"]


def made(accuracy: dict[str, tuple[float, float]], seed: int = 0) -> dict[str, StudyResult]:
    """Scores with these accuracies (arrangement, local cue); 0.5 where nothing is said."""
    rng = np.random.default_rng(seed)
    image, token = {}, {}
    for name in ENCODERS:
        ends = np.array(accuracy.get(name, (0.5, 0.5)))
        image[name] = rng.random((3, 2, 2, 2, 300)) < ends[:, None]
        token[name] = rng.random((3, 2, 300)).astype(np.float32)
    return {"histology": StudyResult(image, token)}


def test_the_contrast_is_the_difference_of_differences() -> None:
    accuracy = {name: np.full((2, 2, 2), 0.5) for name in ENCODERS}
    accuracy["ijepa"] = np.array([[[0.9, 0.6], [0.8, 0.6]]] * 2)
    accuracy["dinov3"] = np.array([[[0.6, 0.8], [0.6, 0.6]]] * 2)
    assert contrast(0, "locality", gained=False)(accuracy) == pytest.approx((0.3 + 0.2) / 2 - (-0.2 + 0) / 2)
    assert contrast(0, "noise", gained=False)(accuracy) == pytest.approx((0.2 + 0) / 2 - (0.3 - 0.2) / 2)
    accuracy["ijepa-untrained"] = np.array([[[0.8, 0.5], [0.8, 0.5]]] * 2)
    assert contrast(0, "locality", gained=True)(accuracy) == pytest.approx(0.25 - 0.3 + 0.1)


@pytest.mark.parametrize(
    ("low", "high", "learned", "expected"),
    [
        (0.01, 0.2, True, "in support"),
        (-0.2, -0.01, True, "against"),
        (-0.1, 0.2, True, "undecided"),
        (0.0, 0.2, True, "undecided"),
        (0.01, 0.2, False, "undecided"),
    ],
)
def test_the_rule_of_the_verdict(low: float, high: float, learned: bool, expected: str) -> None:
    found = BootstrapEstimate((low + high) / 2, low, high, 0.05, 0.04, 6.0, 0.15)
    assert verdict(found, "locality", learned=learned) == expected
    assert verdict(replace(found, freedom=0.0), "locality", learned=learned) == "undecided"
    assert ("lead" in verdict(found, "noise", learned=learned)) == (expected != "undecided")


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ({"ijepa": (0.85, 0.6), "dinov3": (0.6, 0.85)}, "in support"),
        ({"ijepa": (0.6, 0.85), "dinov3": (0.85, 0.6)}, "against"),
        ({"ijepa": (0.7, 0.7), "dinov3": (0.7, 0.7)}, "undecided"),
        ({"ijepa": (0.85, 0.5)}, "undecided"),
    ],
)
def test_analysis_finds_what_was_put_in(accuracy: dict[str, tuple[float, float]], expected: str) -> None:
    result = analyse(DESIGN, made(accuracy))
    primary = result["contrasts"][0]
    assert (primary["along"], primary["probe"], primary["of"]) == ("locality", "pooled", "accuracies")
    assert primary["verdict"] == expected
    sentence = verdict_sentence(primary, result["learned"])
    assert f"**{expected}**" in sentence
    assert f"{primary['low']:+.3f}" in sentence
    assert f"{primary['high']:+.3f}" in sentence
    if accuracy.keys() == {"ijepa"}:
        assert "DINOv3 did not beat" in sentence
    json.dumps(result, allow_nan=False)


def test_gains_are_over_the_untrained_twin() -> None:
    result = analyse(DESIGN, made({"mae": (0.5, 0.9), "mae-untrained": (0.5, 0.9), "dira": (0.8, 0.5)}))
    gains = result["gains"]["histology"]
    assert gains["mae"]["local"]["low"] < 0 < gains["mae"]["local"]["high"]
    assert gains["dira"]["arrangement"]["low"] > 0.2


def test_a_design_is_read_back_from_its_file(tmp_path) -> None:
    path = tmp_path / "design.toml"
    design = Design("mine", seeds=2, steps={"mae": 7}, methods=("mae",), noises=(0.25,))
    path.write_text(design_to_toml(design))
    assert find_design(str(path)) == design
    assert find_design("quick", 3.0).minutes == 3.0
    assert tomllib.loads(path.read_text())["steps"] == {"mae": 7}


@pytest.mark.parametrize(
    "values",
    [
        {"methods": ["simclr"]},
        {"seeds": 0},
        {"localities": [0.5, 0.2]},
        {"noises": [2.0]},
        {"minutes": -1},
        {"seed": 3},
        {"seeds": "three"},
    ],
)
def test_a_wrong_design_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidOptionError, match="Expected"):
        design_from_dict({"name": "wrong", **values})


def test_an_unknown_design_is_named() -> None:
    with pytest.raises(InvalidOptionError, match="quick, decisive"):
        find_design("thorough")
