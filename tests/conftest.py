from pathlib import Path

import pytest
from hypothesis import settings

# Speed is measured in benchmarks/; a busy machine is no failure.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def nobody_at_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep tests from what the person who runs them has remembered or downloaded."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("NAPARI_SSLMAPS_CONFIG", str(home / "config"))
    for variable, constant in (("HF_HUB_CACHE", "hub"), ("HF_ASSETS_CACHE", "assets")):
        monkeypatch.setenv(variable, str(home / constant))  # for processes that a test starts
        monkeypatch.setattr(f"huggingface_hub.constants.{variable}", str(home / constant))
    return home
