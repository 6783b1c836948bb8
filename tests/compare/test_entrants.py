"""Encoders of a comparison: only as many in memory as fit, with the same results."""

import weakref
from pathlib import Path

import numpy as np
import pytest
from comparison_kit import encoders_in, request_in
from encoders_factory import write_encoder

from napari_sslmaps.compare import compute, entrants
from napari_sslmaps.compare.compute import compare
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import WeightsUnavailableError


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks were in memory each time that one was loaded, itself not counted."""
    seen: list[weakref.ref] = []
    counts: list[int] = []

    def load(*given: object, **more: object) -> Encoder:
        counts.append(sum(network() is not None for network in seen))
        encoder = load_encoder(*given, **more)
        seen.append(weakref.ref(encoder.extractor.network))
        return encoder

    monkeypatch.setattr(entrants, "load_encoder", load)
    return counts


def test_encoders_that_do_not_fit_together_take_turns(
    tmp_path: Path, alive: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_in(tmp_path, count=2, controls=("untrained", "constant"))
    expected = compare(request)
    assert (alive.pop(0), len(alive)) == (0, 1)  # two that fit are loaded once each
    alive.clear()
    monkeypatch.setattr(entrants, "free_memory", lambda: 0)
    found = compare(request)
    assert max(alive) <= 1  # with the base of a twin that is drawn
    assert len(alive) > 4
    for one, other in zip(found.images, expected.images, strict=True):
        assert one.maps == other.maps
        for row, like in zip(one.anchors, other.anchors, strict=True):
            np.testing.assert_equal(dict(row.areas), dict(like.areas))


def test_room_is_made_of_the_one_whose_turn_was_last(tmp_path: Path) -> None:
    names = [choice.name for choice in encoders_in(tmp_path, "mae", "ijepa", "dinov3")]
    loaded = []

    def load(name: str) -> Encoder:
        loaded.append(name)
        return load_encoder(name, device="cpu", precision="float32")

    memory = entrants._EncodersInMemory(0)
    size = max(entrants._weight_bytes(memory.take(name, lambda name=name: load(name))) for name in names)
    loaded.clear()
    memory = entrants._EncodersInMemory(2 * size)
    for _ in range(3):
        for name in names:
            assert memory.take(name, lambda name=name: load(name)).spec.path == Path(name)
            assert memory.held_bytes <= 2 * size
    assert len(loaded) == 3 + 2 * 1 + 1  # an order that kept the latest two would load all nine


def test_weights_that_change_while_they_are_compared_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_in(tmp_path, count=2)
    changed = Path(request.encoders[0].name)
    monkeypatch.setattr(entrants, "free_memory", lambda: 0)
    score = compute.score_image

    def change(*given: object) -> object:
        write_encoder(changed, "mae", seed=7)
        return score(*given)

    monkeypatch.setattr(compute, "score_image", change)
    with pytest.raises(WeightsUnavailableError, match="has changed"):
        compare(request)
