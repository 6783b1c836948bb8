"""What this package wrote and somebody edited or a disk damaged: read, or refused in a sentence.

Few here; ``NAPARI_SSLMAPS_FUZZ=1000 pytest tests/fuzz/test_written.py`` tries as many of each,
and with ``NAPARI_SSLMAPS_FUZZ_SEED=1`` others.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from written import READERS, copy_of_all, other_bytes, other_values

from napari_sslmaps.errors import SSLMapsError

_SEED = int(os.environ.get("NAPARI_SSLMAPS_FUZZ_SEED", "0"))
_TRIES = int(os.environ.get("NAPARI_SSLMAPS_FUZZ", "25"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_all(tmp_path_factory.mktemp("written") / "made")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_an_edited_file_is_read_or_refused(name: str, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SSLMAPS_CONFIG", str(made / "config"))
    (path,), rng = made.glob(name), np.random.default_rng(_SEED)
    whole = path.read_bytes()
    READERS[name](path)
    try:
        for _ in range(_TRIES):
            change = other_values if name.endswith("json") and rng.random() < 0.7 else other_bytes
            path.write_bytes(change(whole, rng))
            with suppress(SSLMapsError):
                READERS[name](path)
    finally:
        path.write_bytes(whole)
