"""Remembered encoders: listed, corrected, watched; the list survives damage and rivals."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from encoders_factory import write_encoder

import napari_sslmaps as ssl
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import get_spec, hash_encoder, model_card
from napari_sslmaps.encoders.user_encoders import (
    SCHEMA,
    UserEncodersWarning,
    config_folder,
    doubts_of,
    encoder_list_path,
    forget,
    remember,
    remembered,
)
from napari_sslmaps.errors import (
    CheckpointError,
    EncoderListError,
    EncoderNotFoundError,
    InvalidOptionError,
    WeightsUnavailableError,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "liver run.safetensors", "mae")


def as_new(path: Path, seed: int) -> None:
    """Write another encoder of the same size, at another time."""
    write_encoder(path, "mae", seed=seed)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


def test_what_was_added_is_listed_and_loads_with_its_corrections(file: Path) -> None:
    spec = remember(file, Overrides(num_heads=4, normalisation="unit"))
    assert spec in ssl.list_encoders()
    assert (spec.name, spec.origin, spec.path, spec.trouble) == ("liver-run", "file", file, "")
    loaded = ssl.load_encoder("liver-run", device="cpu", precision="float32")
    assert loaded.spec == spec
    assert (loaded.spec.architecture.heads, loaded.spec.normalisation) == (4, "unit")
    assert hash_encoder("liver-run") == spec.sha256
    again = ssl.load_encoder("liver-run", device="cpu", precision="float32", num_heads=8)
    assert again.spec.overrides == {"num_heads": 8, "normalisation": "unit"}


def test_a_folder_is_remembered_with_all_its_files(tmp_path: Path) -> None:
    from made_transformers import random_model

    folder = tmp_path / "my-mae"
    random_model("vit_mae").save_pretrained(folder)
    spec = remember(folder)
    assert (spec.name, spec.method) == ("my-mae", "mae")
    assert spec.megabytes == pytest.approx(sum(part.stat().st_size for part in folder.iterdir()) / 1e6)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.1}), encoding="utf-8")
    assert "has changed" in remembered()[0].trouble


def test_listing_loads_no_torch(file: Path) -> None:
    remember(file)
    script = (
        "import sys; from napari_sslmaps.encoders.registry import list_encoders\n"
        "names = [spec.name for spec in list_encoders(published=True)]\n"
        "assert 'liver-run' in names and 'mae-vit-b16' in names and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_file_that_moved_says_so_and_is_found_again(file: Path, tmp_path: Path) -> None:
    remember(file, Overrides(num_heads=4))
    file.rename(tmp_path / "elsewhere.safetensors")
    (spec,) = remembered()
    assert f"at {file}; the system says: No such file or directory" in spec.trouble
    assert spec.megabytes == 0
    with pytest.raises(WeightsUnavailableError, match="encoders add PATH --name liver-run"):
        ssl.load_encoder("liver-run")
    with pytest.raises(WeightsUnavailableError, match="No such file"):
        hash_encoder("liver-run")
    found = remember(tmp_path / "elsewhere.safetensors", Overrides(num_heads=4), name="liver-run")
    assert remembered() == [found]
    assert found.trouble == ""


def test_a_file_that_changed_says_so_and_is_refused(file: Path) -> None:
    before = remember(file)
    as_new(file, seed=1)
    assert "liver run.safetensors has changed" in get_spec("liver-run").trouble
    with pytest.raises(WeightsUnavailableError, match=f"sha256 {before.sha256[:12]}.*has changed"):
        ssl.load_encoder("liver-run")
    after = remember(file)
    assert (after.name, after.trouble, remembered()) == ("liver-run", "", [after])
    assert after.sha256 != before.sha256


def test_a_change_that_size_and_time_hide_is_refused_when_loading(file: Path) -> None:
    remember(file)
    was = file.stat()
    write_encoder(file, "mae", seed=1)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert get_spec("liver-run").trouble == ""
    with pytest.raises(WeightsUnavailableError, match="has changed"):
        ssl.load_encoder("liver-run")


def test_a_copy_with_another_time_is_the_same_and_is_hashed_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(file)
    os.utime(file, ns=(0, 7))
    assert remembered()[0].trouble == ""

    def never(path: Path) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr("napari_sslmaps.encoders.user_encoders.hash_path", never)
    assert remembered()[0].trouble == ""
    assert (
        json.loads(encoder_list_path().read_text(encoding="utf-8"))["encoders"]["liver-run"]["mtime_ns"] == 7
    )


def test_a_large_file_is_hashed_only_when_it_is_asked_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(file)
    os.utime(file, ns=(0, 7))
    monkeypatch.setattr("napari_sslmaps.encoders.user_encoders._QUICK_BYTES", 1000)
    assert "was written to since" in remembered()[0].trouble
    assert ssl.load_encoder("liver-run", device="cpu", precision="float32").spec.trouble == ""
    assert remembered()[0].trouble == ""
    as_new(file, seed=1)
    with pytest.raises(WeightsUnavailableError, match="has changed"):
        ssl.load_encoder("liver-run")


def test_names_are_unique(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_encoder(tmp_path / "other" / "liver run.safetensors", "mae", seed=1)
    embedded = write_encoder(tmp_path / "mae-vit-b16.pth.tar.safetensors", "mae", seed=2)
    names = [remember(path).name for path in (file, other, file, embedded)]
    assert names == ["liver-run", "liver-run-2", "liver-run", "mae-vit-b16-2"]
    assert remember(file, Overrides(num_heads=4)).name == "liver-run-3"
    assert [spec.name for spec in remembered()] == [
        "liver-run",
        "liver-run-2",
        "mae-vit-b16-2",
        "liver-run-3",
    ]


@pytest.mark.parametrize(
    "name", ["mae-histology", "mae-untrained", "dinov3-vit-b16", "mine", "a/b", "ü b", "-e", "x.pth"]
)
def test_names_that_are_taken_or_malformed_are_refused(name: str, file: Path, tmp_path: Path) -> None:
    remember(write_encoder(tmp_path / "b.safetensors", "mae", seed=1), name="mine")
    with pytest.raises(InvalidOptionError, match="Expected a name"):
        remember(file, name=name)
    assert [spec.name for spec in remembered()] == ["mine"]


def test_what_does_not_load_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(CheckpointError):
        remember(tmp_path / "bad.pth")
    with pytest.raises(WeightsUnavailableError):
        remember(tmp_path / "absent.pth")
    assert remembered() == []


def test_forgetting_leaves_the_file(file: Path) -> None:
    remember(file)
    forget("liver-run")
    assert remembered() == []
    assert file.exists()
    with pytest.raises(EncoderNotFoundError, match=r"there are none.*got 'liver-run'"):
        forget("liver-run")


def test_an_unknown_name_is_told_the_remembered_ones(file: Path) -> None:
    remember(file)
    with pytest.raises(EncoderNotFoundError, match=r"liver-run.*got 'dinov9'.*list --published"):
        ssl.load_encoder("dinov9")


def test_the_card_says_what_was_corrected_and_doubted(file: Path, tmp_path: Path) -> None:
    import torch
    from official import mae_state

    path = tmp_path / "official.pth"
    torch.save({"model": mae_state()}, path)
    remember(path, Overrides(method="mae"))
    assert doubts_of("official")
    card = model_card("official")
    assert "Corrected by you: method = mae." in card
    assert all(doubt in card for doubt in doubts_of("official"))
    remember(file)
    assert "Doubts" not in model_card("liver-run")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": "other"}',
        '{"schema": 1, "encoders": {"a": {}}}',
        '{"schema": 1, "encoders": {"a": {"method": "vgg"}}}',
        '{"schema": 1, "encoders": ' + "[" * 200_000,
        '{"schema": 1, "encoders": [1]}',
        "\udcff",
    ],
)
def test_a_damaged_list_is_kept_aside(text: str, file: Path) -> None:
    config_folder().mkdir(parents=True)
    content = text.encode("utf-8", "surrogateescape")
    encoder_list_path().write_bytes(content)
    with pytest.warns(
        UserEncodersWarning, match=r"encoders\.json is damaged .* is kept as .*encoders-damaged-"
    ):
        assert remembered() == []
    (aside,) = config_folder().glob("encoders-damaged-*.json")
    assert aside.read_bytes() == content
    assert remember(file) in ssl.list_encoders()


def test_a_damaged_list_is_kept_aside_when_adding_too(file: Path) -> None:
    config_folder().mkdir(parents=True)
    encoder_list_path().write_text("{", encoding="utf-8")
    with pytest.warns(UserEncodersWarning, match="kept as"):
        remember(file)
    assert len(list(config_folder().glob("encoders-damaged-*.json"))) == 1
    assert len(remembered()) == 1


def test_a_list_of_a_later_version_is_left_alone(file: Path) -> None:
    config_folder().mkdir(parents=True)
    text = json.dumps({"format": "napari-sslmaps/shelf", "schema": SCHEMA + 1, "encoders": {"a": 1}})
    encoder_list_path().write_text(text, encoding="utf-8")
    with pytest.warns(UserEncodersWarning, match="Update napari-sslmaps"):
        assert remembered() == []
    with pytest.raises(EncoderListError, match="Update napari-sslmaps"):
        remember(file)
    assert encoder_list_path().read_text(encoding="utf-8") == text


def test_an_unwritable_folder_is_a_sentence_and_the_file_still_loads(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAPARI_SSLMAPS_CONFIG", str(tmp_path / "file" / "config"))
    with pytest.raises(EncoderListError, match="Weight files still load by their path"):
        remember(file)
    assert ssl.load_encoder(file, device="cpu", precision="float32").spec.name == "liver-run"
    with pytest.warns(UserEncodersWarning, match="cannot be read"):
        assert remembered() == []


def test_a_failed_write_leaves_the_old_list(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = remember(file)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(EncoderListError, match="No space left on device"):
            remember(file, Overrides(num_heads=4))
    assert remembered() == [spec]
    assert {path.name for path in config_folder().iterdir()} <= {"encoders.json", "encoders.lock"}


def test_two_processes_lose_nothing(file: Path, tmp_path: Path) -> None:
    """Four processes put entries into one list at once."""
    remember(file, name="mine")
    script = """
import sys
from dataclasses import replace
from napari_sslmaps.encoders.user_encoders import changed_encoder_list
for number in range(20):
    with changed_encoder_list() as entries:
        entries[f"{sys.argv[1]}-{number}"] = entries["mine"]
"""
    processes = [subprocess.Popen([sys.executable, "-c", script, str(which)]) for which in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert len(remembered()) == 81


def test_removing_the_folder_is_forgetting(file: Path) -> None:
    remember(file)
    shutil.rmtree(config_folder())
    assert remembered() == []
