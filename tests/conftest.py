from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Speed is measured in benchmarks/; a busy machine is no failure.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def _leave_home(home: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("NAPARI_SSLMAPS_CONFIG", str(home / "config"))
    patch.setenv("NAPARI_SSLMAPS_CACHE", str(home / "cache"))
    for variable, folder in (("HF_HUB_CACHE", "hub"), ("HF_ASSETS_CACHE", "assets")):
        patch.setenv(variable, str(home / folder))  # for processes that a test starts
        patch.setattr(f"huggingface_hub.constants.{variable}", str(home / folder))


@pytest.fixture(autouse=True, scope="session")
def away_from_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep fixtures from what the person who runs the tests has remembered or downloaded."""
    with pytest.MonkeyPatch.context() as patch:
        _leave_home(tmp_path_factory.mktemp("home"), patch)
        yield


@pytest.fixture(autouse=True)
def nobody_at_home(
    away_from_home: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give each test a home of its own, where nothing is remembered or downloaded."""
    home = tmp_path_factory.mktemp("home")
    _leave_home(home, monkeypatch)
    return home
