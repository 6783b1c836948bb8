"""What is loaded is kept out of collections, until its memory may be given back."""

import atexit
import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from napari_sslmaps.encoders import registry
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.viewer.services import real_services
from napari_sslmaps.viewer.state import loaded_encoders
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_an_encoder_is_loaded_once_and_then_out_of_collections(
    specs: tuple[EncoderSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    monkeypatch.setattr(registry, "load_encoder", lambda name, **_: loads.append(name))
    encoders = LoadedEncoders()
    for _ in range(2):
        encoders.get(specs[0])
    assert loads == ["mae-demo"]
    assert gc.get_freeze_count() > 0
    encoders.release()
    assert gc.get_freeze_count() == 0
    encoders.get(specs[0])
    assert gc.get_freeze_count() > 0


def test_what_is_out_of_collections_is_not_walked_through_again(
    specs: tuple[EncoderSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to collect nor to count it: that keeps the GIL from the GUI thread for a tenth of a second."""
    walks: list[str] = []
    monkeypatch.setattr(registry, "load_encoder", lambda name, **_: name)
    monkeypatch.setattr(gc, "collect", lambda: walks.append("collect"))
    monkeypatch.setattr(gc, "get_freeze_count", lambda: walks.append("count"))
    encoders = LoadedEncoders()
    for _ in range(3):
        encoders.get(specs[0])
    assert walks == ["collect"]
    encoders.release()
    for _ in range(3):
        encoders.get(specs[0])
    assert walks == ["collect", "collect"]


def test_after_an_image_has_gone_one_layer_pays_for_all_that_go_next(
    specs: tuple[EncoderSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[str] = []
    monkeypatch.setattr(registry, "load_encoder", lambda name, **_: name)
    encoders = LoadedEncoders()
    encoders.hold()
    encoders.get(specs[0])
    monkeypatch.setattr(gc, "collect", lambda: walks.append("collect"))
    encoders.hold()
    assert walks == []
    encoders.release()
    for _ in range(3):
        encoders.hold()
    assert walks == ["collect"]
    assert gc.get_freeze_count() > 0


def test_the_end_of_the_program_walks_through_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []
    monkeypatch.setattr(atexit, "register", kept.append)
    encoders = LoadedEncoders()
    encoders.prepare()
    encoders.release()
    assert kept == [gc.freeze]


def test_a_run_that_comes_first_loads_libraries_as_the_window_does(
    specs: tuple[EncoderSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bool] = []
    monkeypatch.setattr(loaded_encoders, "_open_shared_libraries", lambda: opened.append(gc.isenabled()))
    monkeypatch.setattr(registry, "load_encoder", lambda name, **_: name)
    encoders = LoadedEncoders()
    encoders.get(specs[0])
    encoders.prepare()
    assert opened == [False]


def test_opening_torchs_libraries_leaves_the_interpreter_to_the_window(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``ctypes.CDLL`` of a path holds it until all is loaded; a function called through ctypes does not."""
    library = tmp_path / "lib" / "libtorch.so"
    library.parent.mkdir()
    library.touch()
    dlopen = Mock()
    loaders = Mock(return_value=SimpleNamespace(dlopen=dlopen))
    monkeypatch.setattr(loaded_encoders, "find_spec", lambda _: Mock(origin=str(tmp_path / "__init__.py")))
    monkeypatch.setattr(ctypes, "CDLL", loaders)
    loaded_encoders._open_shared_libraries()
    loaders.assert_called_once_with(None)
    assert dlopen.call_args.args[0] == os.fsencode(library)


def test_the_window_prepares_by_loading_libraries() -> None:
    real_services().prepare()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
