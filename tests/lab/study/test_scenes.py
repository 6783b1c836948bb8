"""The knobs do what they say: where the label lives, how much noise, and nothing else tells it."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.simulators.scenes import (
    DOMAINS,
    ORGAN_A,
    ORGAN_B,
    OUTSIDE,
    Scene,
    bayes_accuracy,
    simulate_scene,
)

COUNT = 300


@cache
def _clean(domain: str) -> list[Scene]:
    return [simulate_scene(np.random.default_rng([5, index]), domain, noise=0.0) for index in range(COUNT)]


@pytest.fixture(params=DOMAINS)
def clean(request: pytest.FixtureRequest) -> list[Scene]:
    return _clean(request.param)


def nearer_organ(scene: Scene) -> int:
    """Read the arrangement off the label map: which organ lies nearer to the surface."""
    distance = ndimage.distance_transform_edt(scene.labels != OUTSIDE)
    return int(distance[scene.labels == ORGAN_B].mean() < distance[scene.labels == ORGAN_A].mean())


def spindles(scene: Scene) -> float:
    """Read the local cue off the pixels: mean elongation of what is dark (nuclei) or bright (echoes)."""
    grey = scene.image.astype(float).mean(axis=2)
    colour = (scene.image[..., 0] != scene.image[..., 1]).any()
    tissue = scene.labels == 1
    bright = -grey if colour else grey
    parts, count = ndimage.label((bright > np.quantile(bright[tissue], 0.78)) & tissue)
    ratios = []
    for index in range(1, count + 1):
        y, x = np.nonzero(parts == index)
        if len(y) >= 8:
            low, high = np.linalg.eigvalsh(np.cov(np.stack([y, x])) + 0.1 * np.eye(2))
            ratios.append(high / low)
    return float(np.median(ratios))


def test_both_cues_are_there_to_be_read(clean: list[Scene]) -> None:
    assert [nearer_organ(scene) for scene in clean] == [scene.arrangement for scene in clean]
    values, local = np.array([spindles(scene) for scene in clean[:120]]), [s.local for s in clean[:120]]
    found = values > np.median(values)
    assert (found == np.array(local)).mean() > 0.9


@pytest.mark.parametrize("locality", [0.0, 0.3, 1.0])
def test_readers_of_one_cue_reach_their_bayes_accuracy(locality: float, clean: list[Scene]) -> None:
    labels = np.array([scene.label_at(locality) for scene in clean])
    best = bayes_accuracy(locality)
    local = np.array([scene.local for scene in clean])
    arrangement = np.array([scene.arrangement for scene in clean])
    both = local if locality > 0.5 else arrangement
    for name, read in (("local", local), ("arrangement", arrangement), ("both", both)):
        reach = 4 * np.sqrt(best[name] * (1 - best[name]) / COUNT)
        assert abs((read == labels).mean() - best[name]) <= reach, name


def test_the_cues_are_fair_independent_coins(clean: list[Scene]) -> None:
    cells = np.array([2 * scene.local + scene.arrangement for scene in clean])
    assert np.abs(np.bincount(cells, minlength=4) / COUNT - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / COUNT)


@pytest.mark.parametrize("domain", DOMAINS)
def test_colour_statistics_are_at_chance(domain: str) -> None:
    scenes = [simulate_scene(np.random.default_rng([6, i]), domain, noise=0.0) for i in range(800)]
    pixels = np.stack([scene.image for scene in scenes]).reshape(len(scenes), -1, 3).astype(float)
    features = np.concatenate([pixels.mean(axis=1), pixels.std(axis=1), (pixels**3).mean(axis=1)], axis=1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    design = np.column_stack([features, np.ones(len(features))])
    for cue in ("local", "arrangement"):
        sign = np.array([2 * getattr(scene, cue) - 1 for scene in scenes])
        fit = np.linalg.lstsq(design[:400], sign[:400], rcond=1e-6)[0]
        accuracy = (np.sign(design[400:] @ fit) == sign[400:]).mean()
        assert abs(accuracy - 0.5) < 0.0925, (cue, accuracy)  # 3.7 standard errors of 400 tosses


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    domain=st.sampled_from(DOMAINS),
    locality=st.floats(0, 1),
    noise=st.floats(0, 1),
)
def test_locality_changes_the_label_alone_and_noise_the_pixels_alone(
    seed: int, domain: str, locality: float, noise: float
) -> None:
    first = simulate_scene(np.random.default_rng(seed), domain, locality=locality, noise=noise)
    again = simulate_scene(np.random.default_rng(seed), domain, locality=0.5, noise=noise)
    clean = simulate_scene(np.random.default_rng(seed), domain, locality=locality, noise=0.0)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, clean.labels)
    assert (first.local, first.arrangement, first.label) == (clean.local, clean.arrangement, clean.label)
    assert first.label == again.label_at(locality)
    assert first.label in (first.local, first.arrangement)


def test_noise_grows_with_its_knob() -> None:
    for domain in DOMAINS:
        clean, some, much = (
            simulate_scene(np.random.default_rng(3), domain, noise=noise).image.astype(float)
            for noise in (0.0, 0.4, 1.0)
        )
        assert 2 < np.abs(some - clean).mean() < np.abs(much - clean).mean()


def test_no_patch_holds_two_of_surface_and_organs() -> None:
    for index in range(150):
        labels = simulate_scene(np.random.default_rng([7, index]), "histology").labels
        patches = labels.reshape(8, 8, 8, 8).swapaxes(1, 2).reshape(64, 64)
        special = np.stack([(patches == kind).any(axis=1) for kind in (OUTSIDE, ORGAN_A, ORGAN_B)])
        assert special.sum(axis=0).max() <= 1


def test_bags_of_patches_are_the_same_for_both_arrangements(clean: list[Scene]) -> None:
    areas = {
        arrangement: np.mean(
            [[(s.labels == kind).mean() for kind in range(4)] for s in clean if s.arrangement == arrangement],
            axis=0,
        )
        for arrangement in (0, 1)
    }
    assert np.abs(areas[0] - areas[1]).max() < 0.004


@pytest.mark.parametrize(
    ("domain", "knobs"), [("ct", {}), ("histology", {"locality": 1.2}), ("histology", {"noise": -0.1})]
)
def test_wrong_knobs_are_refused(domain: str, knobs: dict[str, float]) -> None:
    with pytest.raises(InvalidOptionError, match="Expected"):
        simulate_scene(np.random.default_rng(0), domain, **knobs)
