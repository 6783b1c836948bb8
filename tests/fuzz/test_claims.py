"""Files that say more than they have end in a sentence, within seconds and little memory."""

import sys
from collections.abc import Callable
from pathlib import Path

import hostile
import pytest
from bounded import attempt
from encoders_factory import write_encoder
from hostile import IMAGES, MASKS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")


@pytest.mark.parametrize("make", IMAGES, ids=lambda make: make.__name__)
def test_an_image_that_lies_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder.safetensors")
    outcome = attempt("image", make(tmp_path), encoder)
    assert outcome.fine, outcome
    assert outcome.end == "refused"
    assert outcome.words.startswith("Expected")


@pytest.mark.parametrize("make", MASKS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("kind", ["mask", "map"])
def test_a_mask_or_map_that_lies_is_refused(kind: str, make: Callable[[Path], Path], tmp_path: Path) -> None:
    outcome = attempt(kind, make(tmp_path))
    assert outcome.fine, outcome
    assert outcome.end == "refused" or (kind, make) in _WHOLE_MASKS


_WHOLE_MASKS = (
    ("mask", hostile.ome_of_words_that_are_searched_for_days),
    ("mask", hostile.png_of_more_pictures_than_bytes),
)
"""Their pixels are there; what is false in them is not asked."""
