import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from encoders_factory import write_encoder

from napari_sslmaps import doctor
from napari_sslmaps.cli.commands import main
from napari_sslmaps.doctor import Check
from napari_sslmaps.encoders.catalog import EMBEDDED, weights_path
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.user_encoders import config_folder, remember
from napari_sslmaps.errors import WeightsUnavailableError


def test_everything_is_looked_at(installed: Path) -> None:
    names = [check.name for check in doctor.examine()]
    for expected in ("Python", "Qt", "display", "OpenGL", "torch", "GPU", "tifffile", "DICOM decoders"):
        assert expected in names
    assert {*EMBEDDED, "cache", "configuration", "downloads"} <= set(names)


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("note", 0), ("fault", 1)])
def test_the_exit_code_tells_a_fault(
    status: doctor.Status, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Check("thing", status, "detail", "do this")])
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert (ended.value.code or 0) == code
    text = capsys.readouterr().out
    assert "thing" in text
    assert "→ do this" in text
    assert ("All good." in text) == (code == 0)
    with pytest.raises(SystemExit):
        main(["doctor", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["healthy"] == (code == 0)
    assert said["checks"][0] == {"name": "thing", "status": status, "detail": "detail", "fix": "do this"}


@pytest.mark.parametrize(("version", "status"), [((3, 10), "fault"), ((3, 11), "ok"), ((3, 14), "fault")])
def test_python(version: tuple[int, int], status: str) -> None:
    check = doctor.check_python(version)
    assert check.status == status
    assert bool(check.fix) == (status == "fault")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no address space")
def test_too_little_address_space_is_said_before_libraries_are_loaded() -> None:
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (290_000_000, resource.RLIM_INFINITY))\n"
        "from napari_sslmaps.cli import main\nmain(['doctor'])"
    )
    ended = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "address space" in ended.stdout
    assert "(ulimit -v)" in " ".join(ended.stdout.split())


def test_a_missing_binding_is_a_fault_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert doctor.check_qt().fix == 'pip install "napari-sslmaps[pyqt6]"'
    assert doctor.missing_for_windows() == "no Qt binding is installed"


def test_a_binding_that_does_not_load_names_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", fail)
    check = doctor.check_qt()
    assert check.status == "fault"
    assert "libEGL.so.1" in check.detail
    assert "libegl1" in check.fix
    assert doctor.check_torch()[0].status == "fault"
    assert doctor.check_reader("pydicom").fix == "pip install --force-reinstall pydicom"
    assert doctor.check_openslide().fix == "pip install --force-reinstall openslide-python openslide-bin"


def test_a_display_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: object())
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert doctor.missing_for_windows() == "there is no display"
    assert doctor.check_display().status == "note"
    monkeypatch.setattr(doctor, "find_library", lambda _: None)
    assert doctor.check_opengl().status == "note"
    monkeypatch.setenv("DISPLAY", ":1")
    assert doctor.missing_for_windows() == ""
    assert doctor.check_display().detail == ":1"
    assert (doctor.check_opengl().status, "libgl1" in doctor.check_opengl().fix) == ("fault", True)


def fake_torch(*, cuda: bool, mps: bool) -> SimpleNamespace:
    gpu = SimpleNamespace(name="GPU X", total_memory=8 * 2**30)
    return SimpleNamespace(
        __version__="9.9",
        version=SimpleNamespace(cuda="13.0" if cuda else None),
        cuda=SimpleNamespace(
            is_available=lambda: cuda, device_count=lambda: 1, get_device_properties=lambda _: gpu
        ),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )


@pytest.mark.parametrize(
    ("cuda", "mps", "driver", "status", "detail"),
    [
        (True, False, True, "ok", "GPU X (8 GiB)"),
        (False, True, False, "ok", "Apple Metal"),
        (False, False, False, "note", "none; everything runs on the CPU"),
        (False, False, True, "fault", "torch cannot use it"),
    ],
)
def test_gpus(
    cuda: bool, mps: bool, driver: bool, status: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch(cuda=cuda, mps=mps))
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi" if driver else None)
    build, gpu = doctor.check_torch()
    assert build.detail == f"9.9, {'CUDA 13.0' if cuda else 'CPU build'}"
    assert (gpu.status, detail in gpu.detail) == (status, True)


def test_weights_are_present_missing_or_changed(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_weights("mae-demo").status == "ok"
    monkeypatch.setattr(doctor, "_recorded_hash", lambda _: "another")
    changed = doctor.check_weights("mae-demo")
    assert (changed.status, "not the file that was installed" in changed.detail) == ("fault", True)
    monkeypatch.setattr("napari_sslmaps.encoders.catalog._weights_folder", lambda: installed / "gone")
    missing = doctor.check_weights("mae-demo")
    assert (missing.status, "missing" in missing.detail) == ("fault", True)


def test_a_flipped_bit_of_embedded_weights_is_a_fault_and_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_recorded_hash", lambda _: "")
    assert "as published" in doctor.check_weights("mae-demo").detail
    for suffix in (".md", ".safetensors"):
        content = bytearray(weights_path("mae-histology").with_suffix(suffix).read_bytes())
        content[-5] ^= suffix == ".safetensors"
        (tmp_path / f"mae-histology{suffix}").write_bytes(content)
    monkeypatch.setattr("napari_sslmaps.encoders.catalog._weights_folder", lambda: tmp_path)
    flipped = doctor.check_weights("mae-demo")
    assert (flipped.status, "its card describes" in flipped.detail) == ("fault", True)
    with pytest.raises(WeightsUnavailableError, match=r"as they were published .*Install napari-sslmaps"):
        load_encoder("mae-demo", device="cpu", precision="float32")


def test_a_cache_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    assert doctor.check_folder("cache", tmp_path / "cache").status == "ok"
    (tmp_path / "file").write_text("")
    check = doctor.check_folder("cache", tmp_path / "file" / "cache")
    assert (check.status, check.fix.startswith("make ")) == ("fault", True)


def test_the_cache_is_looked_for_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(tmp_path / "elsewhere"))
    found = doctor.check_cache()
    assert (found.status, found.detail.split(",")[0]) == ("ok", str(tmp_path / "elsewhere"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(tmp_path / "file" / "cache"))
    assert doctor.check_cache().status == "fault"
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE_GB", "many")
    assert "NAPARI_SSLMAPS_CACHE_GB; got 'many'" in doctor.check_cache().detail


def test_looking_at_the_cache_leaves_what_is_in_a_strangers_folder_alone(tmp_path, monkeypatch):
    (tmp_path / "scan.zarr").mkdir()
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(tmp_path))
    assert doctor.check_cache().status == "ok"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["napari-sslmaps-cache", "scan.zarr"]


def test_remembered_encoders_that_moved_are_noted(tmp_path: Path) -> None:
    for name in ("mine", "gone"):
        remember(write_encoder(tmp_path / f"{name}.safetensors", "mae"))
    (tmp_path / "gone.safetensors").unlink()
    mine, gone = doctor.check_user_encoders()
    assert (mine.name, mine.status, mine.fix) == ("mine", "ok", "")
    assert (gone.name, gone.status) == ("gone", "note")
    assert "No such file" in gone.detail
    assert gone.fix.endswith("encoders forget gone")


def test_a_damaged_list_is_a_fault() -> None:
    config_folder().mkdir(parents=True)
    (config_folder() / "encoders.json").write_text("{", encoding="utf-8")
    (check,) = doctor.check_user_encoders()
    assert check.status == "fault"
    assert "kept as" in check.detail
    assert doctor.check_user_encoders() == []


def test_an_unwritable_hub_cache_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_hub().detail.endswith("no published encoder downloaded")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    check = doctor.check_hub()
    assert (check.name, check.status) == ("downloads", "fault")
    assert "HF_HOME" in check.fix


def test_an_address_and_a_full_disk_are_no_place_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check = doctor.check_folder("downloads", Path("s3://bucket/x"))
    assert (check.status, check.detail) == ("fault", "s3:/bucket/x is written like an address")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=3e6))
    check = doctor.check_folder("downloads", tmp_path)
    assert (check.status, check.detail) == ("note", f"{tmp_path}, 3 MB free")
