"""A tiny encoder in a file, and small images."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from encoders_factory import write_encoder

from napari_sslmaps.batch.tasks import BatchEncoder, choose_encoder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("batch") / "tiny-mae.safetensors", "mae")


@pytest.fixture
def encoder(weights: Path) -> BatchEncoder:
    return choose_encoder(str(weights))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Folder of four images in two folders."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "more/a.png", "more/c.png"):
        iio.imwrite(folder / name, rng.integers(0, 256, (64, 48, 3), dtype=np.uint8))
    return folder
