"""Files that say more than they have end in a sentence, within seconds and little memory."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bounded import attempt
from encoders_factory import write_encoder
from hostile import IMAGES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")


@pytest.mark.parametrize("make", IMAGES, ids=lambda make: make.__name__)
def test_an_image_that_lies_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder.safetensors")
    outcome = attempt("image", make(tmp_path), encoder)
    assert outcome.fine, outcome
    assert outcome.end == "refused"
    assert outcome.words.startswith("Expected")
