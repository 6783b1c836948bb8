import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_sslmaps.encoders.families.registry import architecture_from_dict
from napari_sslmaps.encoders.families.unet_network import build_unet
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.families.vit_network import build_vit
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import CheckpointError, ExportError, InvalidOptionError, TrainingDivergedError
from napari_sslmaps.lab.training.checkpoints import describe, resume, save, save_encoder
from napari_sslmaps.lab.training.datasets.loading import Keys, Shards, read_ahead
from napari_sslmaps.lab.training.datasets.protocol import ArrayFields
from napari_sslmaps.lab.training.monitoring import MetricLogger, read_log
from napari_sslmaps.lab.training.objectives import build_objective
from napari_sslmaps.lab.training.run import advance, start, step_generator
from napari_sslmaps.lab.training.trainer import Listener, LoggingSchedule, steps_for, train

from .conftest import tiny_recipe

_COMPANIONS = (
    "mask_token",
    "decoder_",
    "predictor.",
    "dino_head.",
    "ibot_head.",
    "discriminator.",
    "projection.",
)


@pytest.fixture
def fields(two_images):
    return ArrayFields(two_images, "two noise images")


def losses_of(run, source, count):
    """Take `count` steps and return their losses."""
    feed = read_ahead(
        Shards(source, run.recipe), Keys(run.step, run.step + count, run.own), workers=0, pin=False
    )
    return [float(advance(run, feed)["total"]) for _ in range(count)]


def test_a_resumed_run_repeats_the_uninterrupted_one(recipe, fields, tmp_path):
    recipe = replace(recipe, steps=6)
    expected = losses_of(start(recipe), fields, 6)
    broken = start(recipe)
    losses_of(broken, fields, 4)
    save(broken, tmp_path / "checkpoint.pt")
    resumed = resume(recipe, tmp_path / "checkpoint.pt")
    assert resumed.step == 4
    assert losses_of(resumed, fields, 2) == expected[4:]


def test_mixed_precision_resumes_to_the_same_curve(fields, tmp_path):
    recipe = replace(tiny_recipe("mae"), steps=4, precision="bf16")
    expected = losses_of(start(recipe), fields, 4)
    broken = start(recipe)
    losses_of(broken, fields, 2)
    save(broken, tmp_path / "checkpoint.pt")
    assert losses_of(resume(recipe, tmp_path / "checkpoint.pt"), fields, 2) == expected[2:]
    assert np.isfinite(expected).all()


def test_gradient_checkpointing_changes_no_loss(recipe, fields):
    plain = losses_of(start(replace(recipe, steps=3)), fields, 3)
    spared = losses_of(start(replace(recipe, steps=3, checkpointing=True)), fields, 3)
    assert spared == pytest.approx(plain, rel=1e-5)


def test_accumulated_gradients_are_the_mean_over_shards(fields):
    recipe = replace(tiny_recipe("mae"), batch=4, shards=2, clip=1e9)
    run = start(recipe)
    shards = Shards(fields, recipe)
    taken = []
    run.optimiser.step = lambda: taken.extend(p.grad.clone() for p in trained(run.objective))
    advance(run, iter([shards[0, 0], shards[0, 1]]))
    expected = [0.0] * len(taken)
    for shard in range(2):
        objective = build_objective(recipe)
        pixels = shards[0, shard].pixels.permute(0, 3, 1, 2).float() / 255
        total = objective.loss(pixels, run.progress, step_generator(recipe.seed, 0, shard))["total"]
        total.backward()
        expected = [mean + p.grad / 2 for mean, p in zip(expected, trained(objective), strict=True)]
    for own, mean in zip(taken, expected, strict=True):
        torch.testing.assert_close(own, mean)


def trained(objective):
    return [parameter for parameter in objective.parameters() if parameter.requires_grad]


def test_shards_differ_and_steps_differ():
    first = [torch.rand(3, generator=step_generator(0, *key)).tolist() for key in ((0, 0), (0, 1), (1, 0))]
    again = torch.rand(3, generator=step_generator(0, 0, 0)).tolist()
    assert first[0] == again
    assert len({tuple(draw) for draw in first}) == 3


def test_a_new_length_is_noted(fields, tmp_path):
    recipe = replace(tiny_recipe("mae"), steps=6)
    run = start(recipe)
    losses_of(run, fields, 1)
    save(run, tmp_path / "checkpoint.pt")
    resumed = resume(replace(recipe, steps=3), tmp_path / "checkpoint.pt")
    assert resumed.steps == 3
    assert resumed.notes == ["length changed from 6 to 3 steps at step 1"]


def test_other_data_are_noted(tmp_path):
    save(start(tiny_recipe("mae")), tmp_path / "checkpoint.pt", "these files")
    resumed = resume(tiny_recipe("mae"), tmp_path / "checkpoint.pt", fingerprint="other files")
    assert resumed.notes == ["the training data had changed at step 0"]


def test_a_checkpoint_of_another_recipe_is_refused_by_what_differs(tmp_path):
    save(start(tiny_recipe("mae")), tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"these differ: .*method \('mae', now 'ijepa'\)"):
        resume(tiny_recipe("ijepa"), tmp_path / "checkpoint.pt")
    other = replace(tiny_recipe("mae"), seed=1, data=replace(tiny_recipe("mae").data, field=96))
    with pytest.raises(CheckpointError, match=r"differ: data\.field \(192, now 96\); seed \(0, now 1\)"):
        resume(other, tmp_path / "checkpoint.pt")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="Expected a checkpoint of a training"):
        resume(tiny_recipe("mae"), tmp_path / "checkpoint.pt")


class Heard(Listener):
    def __init__(self):
        self.steps, self.lines, self.sentences = 0, [], []

    def stepped(self, run):
        self.steps = run.step

    def logged(self, run):
        self.lines.append(run.last)

    def reported(self, sentence):
        self.sentences.append(sentence)


def test_training_writes_everything_and_tells(fields, tmp_path):
    heard = Heard()
    run = train(
        start(replace(tiny_recipe("mae"), steps=5)),
        fields,
        tmp_path,
        schedule=LoggingSchedule(log=2, save=4, panel=100),
        listener=heard,
    )
    assert run.step == heard.steps == 5
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert lines == heard.lines
    assert {"total", "rate", "rank", "seconds", "images_per_second", "skipped"} <= lines[0].keys()
    assert (tmp_path / "panel.png").read_bytes().startswith(b"\x89PNG")
    provenance = read_header(tmp_path / "encoder.safetensors")["provenance"]
    assert provenance["data"] == "two noise images"
    assert provenance["steps"] == 5
    assert provenance["recipe"]["options"]["decoder_dim"] == 8
    assert not list(tmp_path.glob("*.partial*"))


def test_a_line_holds_the_mean_of_its_interval(fields, tmp_path):
    recipe = replace(tiny_recipe("mae"), steps=4)
    expected = losses_of(start(recipe), fields, 4)
    train(start(recipe), fields, tmp_path, schedule=LoggingSchedule(log=2))
    found = [line["total"] for line in read_log(tmp_path / "log.jsonl")]
    assert found == pytest.approx([np.mean(expected[:2]), np.mean(expected[2:])])


def test_a_collapse_is_said_once_and_noted(fields, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sslmaps.lab.training.trainer.feature_rank", lambda *_: 1.2)
    heard = Heard()
    recipe = replace(tiny_recipe("mae"), steps=3)
    run = train(start(recipe), fields, tmp_path, schedule=LoggingSchedule(log=1), listener=heard)
    assert len(heard.sentences) == 1
    assert "nearly collapsed" in heard.sentences[0]
    assert run.notes == heard.sentences


class Spoiler(Listener):
    def logged(self, run):
        if run.step == 2:
            next(run.objective.parameters()).data.fill_(float("nan"))


def test_a_diverged_run_stops_with_a_sentence_and_keeps_its_checkpoint(fields, tmp_path):
    recipe = replace(tiny_recipe("mae"), steps=5)
    with pytest.raises(TrainingDivergedError, match="the run diverged"):
        train(start(recipe), fields, tmp_path, schedule=LoggingSchedule(log=1, save=1), listener=Spoiler())
    saved = resume(recipe, tmp_path / "checkpoint.pt")
    assert saved.step == 2
    assert all(bool(torch.isfinite(value).all()) for value in saved.objective.state_dict().values())


def test_half_precision_is_refused_on_a_cpu():
    with pytest.raises(InvalidOptionError, match="Expected precision 32, bf16 or auto on a CPU"):
        start(replace(tiny_recipe("mae"), precision="16"))


def test_a_log_drops_what_lies_ahead_and_what_is_torn(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1.0}\n{"step": 2.0}\n{"step": 3.0}\n{"step": 4')
    MetricLogger(path, 2).write({"step": 3.0})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_minutes_become_steps(fields):
    assert steps_for(tiny_recipe("mae"), fields, 0.0) == 1
    assert steps_for(tiny_recipe("mae"), fields, 1.0) > 10


def saved(method, source, folder):
    run = start(tiny_recipe(method))
    losses = losses_of(run, source, 1)
    run.last = {"step": 1.0, "total": losses[0], "rank": 9.0, "seconds": 1.0}
    path = folder / f"{method}-tiny.safetensors"
    provenance = describe(run, data="noise", date="2026-01-01", device="CPU", package_version="0")
    save_encoder(run.objective, path, provenance=provenance)
    return run, path


def test_a_saved_encoder_loads_with_every_key_used(method, fields, tmp_path):
    run, path = saved(method, fields, tmp_path)
    architecture = architecture_from_dict(read_header(path)["architecture"])
    build = build_vit if isinstance(architecture, ViTArchitecture) else build_unet
    network = build(architecture).eval()
    tensors = load_file(path)
    network.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(_COMPANIONS)})
    assert any(key.startswith(_COMPANIONS) for key in tensors)
    if isinstance(architecture, ViTArchitecture):
        pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        prefix = network.num_prefix_tokens
        tokens = network.forward_features(run.objective.normalise(pixels))[:, prefix:]
        torch.testing.assert_close(tokens, run.objective.eval().tokens(pixels), atol=2e-2, rtol=0)


def test_the_library_opens_what_was_saved(method, fields, tmp_path):
    _, path = saved(method, fields, tmp_path)
    encoder = load_encoder(path, device="cpu", precision="float32")
    assert encoder.spec.method == method
    assert encoder.spec.architecture == tiny_recipe(method).architecture


def test_saving_twice_gives_the_same_bytes(fields, tmp_path):
    _, first = saved("mae", fields, tmp_path)
    before = first.read_bytes()
    saved("mae", fields, tmp_path)
    assert first.read_bytes() == before


def test_an_architecture_of_the_wrong_family_is_refused():
    wrong = replace(tiny_recipe("mae"), architecture=tiny_recipe("dira").architecture)
    with pytest.raises(InvalidOptionError, match="Expected a transformer for mae"):
        build_objective(wrong)


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"rubbish" * 100, b"PK\x03\x04" + bytes(60), None, [], {"format": 2}, {"format": 2, "recipe": 3}],
)
def test_a_checkpoint_of_rubbish_is_refused_in_a_sentence(tmp_path, rubbish):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(rubbish) if isinstance(rubbish, bytes) else torch.save(rubbish, path)
    with pytest.raises(CheckpointError, match=r"Expected a checkpoint of .*Start again in another folder"):
        resume(tiny_recipe("mae"), path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64")])
def test_a_full_disk_leaves_the_checkpoint_of_before(tmp_path, monkeypatch, error):
    path, run = tmp_path / "checkpoint.pt", start(tiny_recipe("mae"))
    save(run, path)
    before = path.read_bytes()

    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(ExportError, match=r"free some space\. What was saved before is whole"):
        save(run, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_log_of_rubbish_is_begun_anew(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'\xff\xfe}\n[1]}\n{"other": 1}\n{"step": 1.0}\n{"step": "x"}\n')
    MetricLogger(path, 5)
    assert path.read_text() == '{"step": 1.0}\n'


def test_an_encoder_does_not_say_whose_folder_its_images_were_in():
    recipe = tiny_recipe("mae")
    run = start(replace(recipe, data=replace(recipe.data, source="/home/drsmith/cohort")))
    run.last = {"rank": 1.0}
    told = describe(run, data="cohort", date="", device="cpu", package_version="0")
    assert told["recipe"]["data"]["source"] == "cohort"
    assert "drsmith" not in json.dumps(told)


def test_a_strangers_file_beside_the_checkpoint_stays(tmp_path):
    mine = [tmp_path / name for name in ("checkpoint.partial", "log.partial", "panel.partial.png")]
    for path in mine:
        path.write_text("mine")
    run = start(tiny_recipe("mae"))
    save(run, tmp_path / "checkpoint.pt")
    MetricLogger(tmp_path / "log.jsonl", 0)
    assert [path.read_text() for path in mine] == ["mine"] * 3
