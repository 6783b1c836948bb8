import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from napari_sslmaps.cli.commands import main
from napari_sslmaps.encoders.families.vit_network import build_vit
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.lab.training.checkpoints import save_encoder
from napari_sslmaps.lab.training.monitoring import read_log
from napari_sslmaps.lab.training.objectives import build_objective
from napari_sslmaps.lab.training.pretrain import load_initial
from napari_sslmaps.lab.training.recipes import load_recipe, recipe_to_toml

from .conftest import tiny_recipe


@pytest.fixture
def recipe_file(tmp_path):
    data = replace(tiny_recipe("mae").data, field=64, count=24)
    path = tmp_path / "tiny.toml"
    path.write_text(recipe_to_toml(replace(tiny_recipe("mae"), steps=4, data=data)))
    return path


def run(*arguments):
    """Run the command line and return how it ended."""
    with pytest.raises(SystemExit) as ended:
        main(["pretrain", *map(str, arguments)])
    return ended.value.code or 0


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_from_simulated_fields_to_an_encoder(recipe_file, out, capsys):
    assert run("--recipe", recipe_file, "--out", out, "--log-every", 2) == 0
    said = capsys.readouterr()
    assert "after 4 steps" in said.out
    assert "step 2 of 4  loss" in said.err
    assert "rank" in said.err
    written = {path.name for path in out.iterdir()}
    assert written == {
        "bank.npy",
        "checkpoint.pt",
        "encoder.safetensors",
        "log.jsonl",
        "panel.png",
        "recipe.toml",
    }
    encoder = load_encoder(out / "encoder.safetensors", device="cpu", precision="float32")
    assert encoder.spec.method == "mae"
    header = read_header(out / "encoder.safetensors")
    assert header["provenance"]["recipe"]["name"] == "tiny"
    assert header["licence"] == "BSD-3-Clause"
    assert "scores" not in header


def test_from_own_images_with_a_damaged_one(recipe_file, out, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:200])
    arguments = ("--recipe", recipe_file, "--data", folder, "--out", out, "--workers", 0, "--seed", 3)
    assert run(*arguments) == 0
    said = capsys.readouterr()
    assert "Left out:" in said.err
    assert "torn.png" in said.err
    header = read_header(out / "encoder.safetensors")
    assert header["provenance"]["data"] == "images"
    assert header["provenance"]["seed"] == 3
    assert read_log(out / "log.jsonl")[-1]["skipped"] == 1


def test_a_run_goes_on_to_the_same_curve(recipe_file, out, tmp_path, capsys):
    whole = tmp_path / "whole"
    common = ("--recipe", recipe_file, "--log-every", 1, "--save-every", 1, "--bank", tmp_path / "bank.npy")
    assert run(*common, "--out", whole, "--steps", 6) == 0
    assert run(*common, "--out", out, "--steps", 6, "--resume") == 0
    (out / "log.jsonl").write_text("".join((out / "log.jsonl").read_text().splitlines(True)[:5]))
    assert run("--out", out, "--resume", "--bank", tmp_path / "bank.npy") == 0  # nothing left to do
    assert run("--out", out, "--resume", "--steps", 8, "--bank", tmp_path / "bank.npy") == 0
    assert load_recipe(out / "recipe.toml").steps == 8
    assert "length changed from 6 to 8" in read_header(out / "encoder.safetensors")["provenance"]["notes"]
    told = [[line["total"] for line in read_log(folder / "log.jsonl")] for folder in (whole, out)]
    assert told[1][:5] == told[0][:5]


@pytest.mark.parametrize(("flags", "settled"), [({"avx512_bf16"}, "bf16"), ({"avx2"}, "32")])
def test_automatic_precision_is_what_the_processor_is_made_for_and_stays(
    flags, settled, recipe_file, out, monkeypatch, caplog
):
    flagged = "napari_sslmaps.encoders.encoder._processor_flags"
    monkeypatch.setattr(flagged, lambda: frozenset(flags))
    common = ("--recipe", recipe_file, "--out", out, "--precision", "auto", "--accelerator", "cpu")
    assert run(*common) == 0
    assert load_recipe(out / "recipe.toml").precision == settled
    assert read_header(out / "encoder.safetensors")["provenance"]["precision"] == settled
    assert not caplog.records
    monkeypatch.setattr(flagged, lambda: frozenset({"avx512_bf16", "avx2"} - flags))  # another machine
    assert run(*common, "--resume", "--steps", 6) == 0
    assert load_recipe(out / "recipe.toml").precision == settled
    assert bool(caplog.records) == (settled == "bf16")


def test_a_folder_with_a_training_is_left_alone(recipe_file, out, capsys):
    run("--recipe", recipe_file, "--out", out, "--steps", 1)
    before = (out / "checkpoint.pt").read_bytes()
    assert run("--recipe", recipe_file, "--out", out) == 1
    assert "Go on with --resume" in capsys.readouterr().err
    assert (out / "checkpoint.pt").read_bytes() == before


_NAMED = ("--out", "x", "--recipe", "mae-histology")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--method", "mae"), 2, "--out"),
        (("--out", "x"), 1, "Expected --recipe with a TOML file"),
        (("--out", "x", "--method", "simclr", "--data", "simulated:histology"), 1, "among mae, ijepa"),
        (("--out", "x", "--method", "mae", "--data", "simulated:moon"), 1, "Expected a recipe among"),
        ((*_NAMED, "--method", "dira"), 1, "is one for mae"),
        ((*_NAMED, "--steps", "2", "--minutes", "1"), 2, "not both"),
        ((*_NAMED, "--precision", "16", "--accelerator", "cpu"), 1, "32, bf16 or auto"),
        ((*_NAMED, "--accelerator", "abacus"), 1, "devices that this machine has"),
        ((*_NAMED, "--data", "/nowhere"), 1, "there is none at /nowhere"),
    ],
)
def test_what_does_not_fit_is_said(arguments, code, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == code
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()


def test_the_recipes_are_listed(capsys):
    assert run("--list-recipes") == 0
    said = capsys.readouterr().out
    assert "mae-histology" in said
    assert "dira-ultrasound" in said


def test_help_loads_neither_torch_nor_fabric():
    code = (
        "import sys; from napari_sslmaps.cli.commands import main\n"
        "try: main(['pretrain', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'timm', 'lightning_fabric') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--accumulate" in said
    assert said.rstrip().endswith("[]")


# --init


def test_an_encoder_is_begun_from_its_own_file(method, tmp_path):
    first = build_objective(tiny_recipe(method))
    path = tmp_path / "first.safetensors"
    save_encoder(first, path, provenance={})
    second = build_objective(replace(tiny_recipe(method), seed=1))
    said = load_initial(second, path)
    assert "Begun afresh: none." in said
    for name, value in second.exported().items():
        torch.testing.assert_close(value, first.exported()[name], atol=2e-3, rtol=2e-3, msg=name)


def test_a_plain_transformer_begins_an_encoder_without_its_decoder(tmp_path):
    torch.manual_seed(0)
    network = build_vit(tiny_recipe("mae").architecture)
    path = tmp_path / "vit.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, path)
    objective = build_objective(tiny_recipe("ijepa"))
    said = load_initial(objective, path)
    assert "Left out of the file: 2 (cls_token, pos_embed)" in said
    assert "predictor" in said
    weight = network.state_dict()["blocks.0.attn.qkv.weight"]
    assert torch.equal(objective.exported()["blocks.0.attn.qkv.weight"], weight)
    assert torch.equal(objective.context.state_dict()["blocks.0.attn.qkv.weight"], weight)


def test_another_architecture_is_refused(tmp_path):
    save_encoder(build_objective(tiny_recipe("dira")), tmp_path / "dira.safetensors", provenance={})
    with pytest.raises(InvalidOptionError, match=r"Expected weights for a ViT d16 .*holds a U-Net"):
        load_initial(build_objective(tiny_recipe("mae")), tmp_path / "dira.safetensors")


def test_init_is_noted_in_the_provenance(recipe_file, out, tmp_path, capsys):
    save_encoder(build_objective(tiny_recipe("mae")), tmp_path / "first.safetensors", provenance={})
    arguments = ("--recipe", recipe_file, "--out", out, "--init", tmp_path / "first.safetensors")
    assert run(*arguments, "--minutes", 0) == 0
    assert "tensors from first.safetensors (MAE, mae)" in capsys.readouterr().err
    provenance = read_header(out / "encoder.safetensors")["provenance"]
    assert "tensors from first.safetensors" in provenance["notes"]
    assert provenance["steps"] == 1
