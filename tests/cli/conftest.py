"""An installation whose embedded encoders are tiny and random, so that commands are fast."""

from pathlib import Path

import pytest
from encoders_factory import write_encoder

from napari_sslmaps.encoders import catalog
from napari_sslmaps.encoders.catalog import EMBEDDED


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded")
    for name in EMBEDDED:
        write_encoder(folder / f"{name}.safetensors", name.partition("-")[0])  # type: ignore[arg-type]
        (folder / f"{name}.md").write_text(f"# {name}\n\nA *tiny* random encoder.\n", encoding="utf-8")
    return folder


@pytest.fixture
def installed(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(catalog, "_weights_folder", lambda: tiny_weights)
    return tiny_weights
