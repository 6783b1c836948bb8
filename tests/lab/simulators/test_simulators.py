"""What every simulator promises, whatever it draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.simulators import SIMULATORS, Simulator, get_simulator
from napari_sslmaps.lab.simulators.fields import field_seed

every = pytest.mark.parametrize("simulator", SIMULATORS.values(), ids=list(SIMULATORS))


@every
@settings(max_examples=25, deadline=None)
@given(size=st.integers(32, 150), seed=st.integers(0, 2**32))
def test_any_size_and_seed_give_an_image_and_its_labels(simulator: Simulator, size: int, seed: int) -> None:
    image, labels = simulator.draw(np.random.default_rng(seed), size)
    assert (image.shape, image.dtype) == ((size, size, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((size, size), np.uint8)
    assert int(labels.max()) < len(simulator.classes)
    assert image.std() > 1
    if not simulator.colour:
        assert np.array_equal(image[..., 0], image[..., 1])
        assert np.array_equal(image[..., 0], image[..., 2])


@every
def test_a_seed_gives_one_field_and_another_seed_another(simulator: Simulator) -> None:
    first, labels = simulator.draw(np.random.default_rng(1), 64)
    again, same = simulator.draw(np.random.default_rng(1), 64)
    other, _ = simulator.draw(np.random.default_rng(2), 64)
    assert np.array_equal(first, again)
    assert np.array_equal(labels, same)
    assert not np.array_equal(first, other)


@every
def test_a_field_does_not_depend_on_what_was_drawn_before(simulator: Simulator) -> None:
    for index in range(3):
        last, _ = simulator.draw(field_seed(4, index), 48)
    alone, _ = simulator.draw(field_seed(4, 2), 48)
    assert np.array_equal(last, alone)


@every
def test_no_class_is_rare(simulator: Simulator) -> None:
    """At least 5 % of the pixels and a quarter of the fields, over 120 fields; no class takes half."""
    count = 120
    pixels = np.stack(
        [
            np.bincount(simulator.draw(field_seed(0, index), 96)[1].ravel(), minlength=len(simulator.classes))
            for index in range(count)
        ]
    )
    shares = pixels.sum(axis=0) / pixels.sum()
    assert shares.min() > 0.05, dict(zip(simulator.classes, shares, strict=True))
    assert shares.max() < 0.5, dict(zip(simulator.classes, shares, strict=True))
    present = (pixels > 0.005 * pixels[0].sum()).mean(axis=0)
    assert present.min() >= 0.25, dict(zip(simulator.classes, present, strict=True))


@every
def test_brightness_alone_does_not_tell_the_classes(simulator: Simulator) -> None:
    """The best rule on the mean grey value of 8 px tokens is right for fewer than half, balanced."""
    means, labels = [], []
    for index in range(60):
        image, field = simulator.draw(field_seed(2, index), 96)
        blocks = field.reshape(12, 8, 12, 8).swapaxes(1, 2).reshape(144, 64)
        pure = (blocks == blocks[:, :1]).all(axis=1)
        grey = image.mean(axis=2).reshape(12, 8, 12, 8).mean(axis=(1, 3)).ravel()
        means.append(grey[pure])
        labels.append(blocks[pure, 0])
    grey, label = np.concatenate(means), np.concatenate(labels)
    bins = np.digitize(grey, np.quantile(grey, np.linspace(0, 1, 21)[1:-1]))
    table = np.zeros((20, len(simulator.classes)))
    np.add.at(table, (bins, label), 1)
    table /= table.sum(axis=0)
    accuracy = table.max(axis=1).sum() / len(simulator.classes)
    assert accuracy < 0.5


def test_an_unknown_name_is_answered_with_the_names() -> None:
    assert get_simulator("ultrasound").upright
    assert get_simulator("histology").colour
    with pytest.raises(InvalidOptionError, match=r"histology or ultrasound; got 'brain'"):
        get_simulator("brain")
