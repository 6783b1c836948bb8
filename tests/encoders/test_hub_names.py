"""`hf:OWNER/NAME` and `timm:NAME`: what the hub's cache on this machine holds, without a network."""

import json
from pathlib import Path

import pytest
import timm
import torch
import transformers
from huggingface_hub import constants
from safetensors.torch import save_file
from typer.testing import CliRunner

from napari_sslmaps.cli.commands import app
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.hub import repository_of
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.user_encoders import default_name, forget, remember
from napari_sslmaps.errors import EncoderNotFoundError, WeightsUnavailableError

CPU = {"device": "cpu", "precision": "float32"}
SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:1/{repo_id}/{filename}")


def cached(repository):
    """Return the folder of a snapshot as huggingface_hub lays it out."""
    held = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    folder = held / "snapshots" / ("0123456789" * 4)
    folder.mkdir(parents=True)
    (held / "refs").mkdir()
    (held / "refs" / "main").write_text(folder.name)
    return folder


def save_dinov2(folder):
    transformers.Dinov2Model(transformers.Dinov2Config(**SHAPE)).save_pretrained(folder)


@pytest.mark.parametrize("prefix", ["hf:", "hf-hub:"])
def test_a_repository_in_the_cache(prefix):
    save_dinov2(cached("somebody/dinov2-of-livers"))
    encoder = load_encoder(f"{prefix}somebody/dinov2-of-livers", **CPU)
    assert (encoder.spec.name, encoder.spec.method) == ("dinov2-of-livers", "dinov2")
    assert encoder.spec.licence == "unknown"


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224.augreg_in21k", "vit_tiny_patch16_224"])
def test_a_network_of_timm_by_its_tag_or_its_usual_one(name):
    tag = timm.get_pretrained_cfg("vit_tiny_patch16_224").tag
    folder = cached(f"timm/{name if '.' in name else f'{name}.{tag}'}")
    shape = {"img_size": 32, "patch_size": 8, "depth": 2}
    save_file(timm.create_model("vit_tiny_patch16_224", **shape).state_dict(), folder / "model.safetensors")
    config = {"architecture": "vit_tiny_patch16_224", "model_args": shape, "pretrained_cfg": {"tag": "x"}}
    (folder / "config.json").write_text(json.dumps(config))
    encoder = load_encoder(f"timm:{name}", method="dino", **CPU)
    assert encoder.spec.architecture.heads == 3
    assert encoder.spec.name.startswith("vit_tiny_patch16_224.")


def test_names_that_timm_gives_to_others_repositories():
    assert repository_of("timm:vit_base_patch16_224.mae") == "timm/vit_base_patch16_224.mae"
    assert repository_of("mae-histology") is None
    assert repository_of("C:\\weights\\vit.pth") is None


def test_a_repository_that_is_known_is_that_published_encoder():
    with pytest.raises(WeightsUnavailableError, match="napari-sslmaps encoders download virchow2"):
        load_encoder(f"hf:{PUBLISHED['virchow2'].repository}")


def test_what_is_not_there_is_said_with_how_to_fetch_it():
    with pytest.raises(WeightsUnavailableError, match="hf download somebody/nothing"):
        load_encoder("hf:somebody/nothing")
    (cached("somebody/words") / "config.json").write_text("{}")
    with pytest.raises(WeightsUnavailableError, match="Expected weights of somebody/words"):
        load_encoder("hf:somebody/words")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hf:somebody", "Expected a repository as hf:OWNER/NAME; got 'hf:somebody'"),
        ("hf:some body/x!", "Expected the name of a repository, OWNER/NAME"),
        ("timm:vit_of_nobody", "knows none for 'vit_of_nobody'"),
    ],
)
def test_names_that_are_none(name, sentence):
    with pytest.raises(EncoderNotFoundError, match=sentence):
        load_encoder(name)


def test_it_can_be_remembered_and_inspected():
    folder = cached("somebody/dinov2-of-livers")
    save_dinov2(folder)
    spec = remember("hf:somebody/dinov2-of-livers")
    try:
        assert (spec.name, spec.path) == ("dinov2-of-livers", folder)
        assert torch.equal(
            load_encoder(spec.name, **CPU).extractor.network.norm.weight, torch.ones(SHAPE["hidden_size"])
        )
    finally:
        forget(spec.name)
    assert default_name(folder / "model.safetensors") == "model"
    done = CliRunner().invoke(app, ["encoders", "inspect", "hf:somebody/dinov2-of-livers"])
    assert done.exit_code == 0, done.output
    assert "method: dinov2" in done.output
