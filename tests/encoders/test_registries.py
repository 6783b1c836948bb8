"""What is registered is known everywhere: a method and a family are one entry each."""

import json
import subprocess
import sys
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
from encoders_factory import TINY_CONVNEXT, TINY_VIT, tiny_architecture, write_encoder
from family_kit import bystander, stripes, stripes_weights  # noqa: F401  # fixtures
from safetensors.torch import save_file

import napari_sslmaps as ssl
from napari_sslmaps.cli.commands import main
from napari_sslmaps.compare.advice import methods_of, objectives_of
from napari_sslmaps.compare.request import ComparedImage, ComparisonRequest
from napari_sslmaps.compare.results import ComparedMethod, Comparison, ScoredImage
from napari_sslmaps.doctor import check_user_encoders
from napari_sslmaps.encoders.families.family import Network
from napari_sslmaps.encoders.families.registry import FAMILIES, architecture_from_dict, architecture_to_dict
from napari_sslmaps.encoders.header import HEADER_KEY
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import attention_size, list_encoders, load_encoder, model_card
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.encoders.untrained import untrained_network, untrained_twin
from napari_sslmaps.encoders.user_encoders import remember
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.pipeline.cost import beside_tokens
from napari_sslmaps.records.run import ImageRecord

TORCH_FREE = (
    "cli.commands",
    "viewer.controller",
    "viewer.services",
    "encoders.registry",
    "encoders.controls",
    "encoders.cards",
    "encoders.user_encoders",
    "encoders.published.local",
    "encoders.methods.registry",
    "encoders.families.registry",
    "maps.attention",
    "maps.pca",
    "maps.similarity",
    "maps.groups",
    "pipeline.cost",
    "pipeline.embedding",
    "pretext.options",
    "inputs.encoders",
    "inputs.images",
    "records.run",
    "run.outcome",
    "run.write",
    "compare.request",
    "figures.run_figure",
)
"""Modules that lists, help and the window's first paint need."""


def in_a_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lists_help_and_the_window_load_no_torch():
    names = [f"napari_sslmaps.{name}" for name in TORCH_FREE]
    code = (
        "import importlib, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert not {'torch', 'timm', 'transformers'} & set(sys.modules), name\n"
    )
    in_a_new_process(code)


def test_every_dotted_name_leads_somewhere():
    for method in METHODS.values():
        assert not method.pretext or callable(resolve_name(method.pretext))
        assert set(method.families) <= set(FAMILIES)
    for family in FAMILIES.values():
        assert isinstance(family.load_network(), Network)
        assert callable(resolve_name(family.recognition))


def test_names_and_kinds_are_those_they_are_found_by():
    assert {name: method.name for name, method in METHODS.items()} == dict(zip(METHODS, METHODS, strict=True))
    assert {family.kind for family in FAMILIES.values()} == set(FAMILIES)
    for method in METHODS.values():
        get_normalisation(method.normalisation)


def inspected(path, capsys, *options):
    with pytest.raises(SystemExit) as ended:
        main(["encoders", "inspect", str(path), "--json", *options])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_a_method_is_known_to_inspect_lists_doctor_and_advisor(method, tmp_path, capsys):
    path = write_encoder(tmp_path / "mine.safetensors", method.name)
    found = inspected(path, capsys)
    assert (found["method"], found["architecture"]["kind"]) == (method.name, method.families[0])
    spec = remember(path)
    assert spec in list_encoders()
    for words in (method.title, method.objective, method.attention_note, method.citation):
        assert words in model_card("mine")
    assert [check.status for check in check_user_encoders()] == ["ok"]
    assert objectives_of(compared(method.name)) == {"mine": method.learns_from}


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_says_of_its_architectures_what_plans_ask(kind):
    known = (*map(tiny_architecture, ("mae", "dira")), TINY_CONVNEXT)
    architecture = next(shape for shape in known if shape.kind == kind)
    assert architecture_from_dict(architecture_to_dict(architecture)) == architecture
    assert architecture.work(8, 8) > architecture.work(4, 4) > 0
    assert architecture.token_width > 0
    assert beside_tokens(architecture) >= 4
    assert bool(architecture.attention_blocks) == bool(architecture.attention_heads)
    assert attention_size([architecture]) == (architecture.attention_blocks, architecture.attention_heads)
    assert architecture.corrected() == architecture


def compared(method):
    image = ScoredImage(
        name="image",
        record=ImageRecord("", "", shape_yx=(64, 64), spacing_um_yx=None),
        provenance={"mine": {"method": method}},
    )
    request = ComparisonRequest((ComparedImage("image", ""),), (EncoderChoice("mine"),), scores=("anchors",))
    return Comparison(request=request, methods=(ComparedMethod("mine", "mine"),), images=(image,))


def test_a_method_is_one_entry(bystander, tmp_path, capsys):  # noqa: F811  # the fixture
    path = write_encoder(tmp_path / "mine.safetensors", "bystander", architecture=TINY_VIT)
    assert inspected(path, capsys)["method"] == "bystander"
    assert inspected(write_encoder(tmp_path / "a.safetensors"), capsys, "--method", "bystander")["inferred"]
    encoder = load_encoder(path, device="cpu", precision="float32")
    assert encoder.spec.licence == "BSD-3-Clause"
    assert untrained_twin(encoder).spec.method == "bystander"
    assert remember(path) in list_encoders()
    assert "Bystander: it looks on" in model_card("mine")
    assert methods_of(compared("bystander")) == {"mine": bystander}
    with pytest.raises(MapUnavailableError, match="Expected a file with MAE's decoder"):
        ssl.pretext_view(np.zeros((64, 64, 3), np.uint8), encoder)


def test_help_lists_a_method_that_is_registered():
    code = (
        "import family_kit, napari_sslmaps.encoders.methods.registry as methods\n"
        "methods.METHODS['bystander'] = family_kit.BYSTANDER\n"
        "from napari_sslmaps.cli.commands import main\n"
        "main(['encoders', 'inspect', '--help'])\n"
    )
    assert "bystander" in in_a_new_process(f"import sys; sys.path.insert(0, 'tests')\n{code}")


def test_a_family_is_one_entry(stripes, tmp_path, capsys):  # noqa: F811  # the fixture
    path = tmp_path / "mine.safetensors"
    save_file(stripes_weights(), path)
    found = inspected(path, capsys)
    assert (found["method"], found["architecture"]["kind"]) == ("bystander", "stripes")
    encoder = load_encoder(path, device="cpu", precision="float32", token_stage="first")
    image = np.random.default_rng(0).integers(0, 255, (64, 72, 3), dtype=np.uint8)
    embedding = ssl.embed(image, encoder)
    assert embedding.tokens.shape == (16, 18, 8)
    assert ssl.activation_map(embedding).values.shape == (16, 18)
    weights = np.ones(8, np.float32)
    assert ssl.class_activation(image, encoder, embedding, weights).values.shape == (16, 18)
    twin = untrained_twin(encoder)
    assert ssl.embed(image, twin).tokens.shape == (16, 18, 8)
    assert remember(path).architecture.summary == "stripes of 8"
    assert not inspected(path, capsys)["doubts"]
    given = inspected(path, capsys, "--num-heads", "3")
    assert any("which means nothing to a stripe network" in sentence for sentence in given["ambiguous"])
    written = tmp_path / "written.safetensors"
    header = {"method": "bystander", "architecture": found["architecture"], "normalisation": "unit"}
    save_file(stripes_weights(), written, metadata={HEADER_KEY: json.dumps(header)})
    assert load_encoder(written, device="cpu").spec.architecture.width == 8


def test_a_method_wants_a_network_of_its_families(stripes):  # noqa: F811  # the fixture
    with pytest.raises(InvalidOptionError, match="Expected a transformer or a stripe network for byst"):
        untrained_network("bystander", tiny_architecture("dira"))
    torch.manual_seed(0)
    assert untrained_network("bystander", TINY_VIT)


@pytest.mark.parametrize("method", METHODS)
def test_a_task_that_cannot_be_shown_says_why(method):
    assert bool(METHODS[method].pretext) != bool(METHODS[method].unshown)
