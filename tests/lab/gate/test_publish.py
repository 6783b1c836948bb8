"""The script that publishes, on a repository of its own."""

import importlib.util
from pathlib import Path

import pytest

from napari_sslmaps.files import hash_path
from napari_sslmaps.lab.gate.tables import BEGIN, END

from .conftest import write_weights

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/publish_encoders.py"


@pytest.fixture
def script(small, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("publish_encoders", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in (
        ("WEIGHTS", "weights"),
        ("RESULTS", "data/encoders.json"),
        ("PAGE", "encoders.md"),
        ("REAL", "data/real.json"),
    ):
        monkeypatch.setattr(module, name, tmp_path / path)
    monkeypatch.setattr(module, "use_one_thread", lambda: None)
    module.WEIGHTS.mkdir()
    module.PAGE.write_text(f"Encoders\n{BEGIN}\n{END}\nend\n", encoding="utf-8")
    return module


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    write_weights(folder / "encoder.safetensors")
    return folder


def test_a_run_is_judged_copied_and_described(script, run, capsys):
    script.main([f"mae-histology={run}"])
    weights, card = (script.WEIGHTS / f"mae-histology{suffix}" for suffix in (".safetensors", ".md"))
    assert weights.read_bytes() == (run / "encoder.safetensors").read_bytes()
    assert hash_path(weights) in card.read_text(encoding="utf-8")
    assert "| `mae-histology` |" in script.PAGE.read_text(encoding="utf-8")
    assert "mae-histology: does not beat its controls" in capsys.readouterr().out


def test_rendering_again_changes_nothing(script, run):
    script.main([f"mae-histology={run}"])
    files = [path for path in script.PAGE.parent.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    script.main(["--render"])
    assert {path: path.read_bytes() for path in files} == before


def test_weights_that_were_not_judged_are_noticed(script, run):
    script.main([f"mae-histology={run}"])
    write_weights(script.WEIGHTS / "mae-histology.safetensors", seed=5)
    with pytest.raises(SystemExit, match="is not the file that was judged"):
        script.main(["--render"])


def test_validation_scores_are_printed_and_nothing_is_written(script, run, capsys):
    script.main(["--validation", f"mae-histology={run}"])
    assert "on validation" in capsys.readouterr().out
    assert not script.RESULTS.exists()
    assert not list(script.WEIGHTS.iterdir())


def test_a_file_that_cannot_be_judged_replaces_nothing(script, run):
    script.main([f"mae-histology={run}"])
    before = hash_path(script.WEIGHTS / "mae-histology.safetensors")
    (run / "encoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="Expected a PyTorch or safetensors file"):
        script.main([f"mae-histology={run}"])
    assert hash_path(script.WEIGHTS / "mae-histology.safetensors") == before
