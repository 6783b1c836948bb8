import json
from itertools import product

import pytest
import torch

from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import InvalidOptionError, RecordError
from napari_sslmaps.lab.gate import gate, measure
from napari_sslmaps.lab.gate.gate import Twins, check_twins, domain_of, judge
from napari_sslmaps.lab.gate.images import SEEDS, ProbeData, simulate_probe_set
from napari_sslmaps.lab.gate.measure import Plain, choose
from napari_sslmaps.lab.gate.report import compose
from napari_sslmaps.lab.gate.results import Book
from napari_sslmaps.lab.simulators import SIMULATORS
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.lab.training.recipes import list_recipes, load_recipe

from .conftest import write_weights


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path / "encoders.json")


@pytest.mark.parametrize(("method", "domain"), [("mae", "histology"), ("dira", "ultrasound")])
def test_a_judged_encoder_is_on_record(small, book, tmp_path, method, domain):
    weights = write_weights(tmp_path / "run.safetensors", method)
    result = judge(f"{method}-{domain}", [weights], book, date="2026-01-01")
    assert Book(tmp_path / "encoders.json")[f"{method}-{domain}"] == result
    assert result["domain"] == domain
    assert len(result["untrained"]["probe"]["runs"]) == 2
    assert set(result["baselines"]) == {"colour", "pixels", "position"}
    low, value, high = (result["trained"]["probe"][key] for key in ("low", "value", "high"))
    assert 0 <= low <= value <= high <= 1
    assert result["protocol"]["seeds"] == SEEDS
    # an untrained network with another seed is no better than its controls
    assert "probe" in result["failed"]


def test_weights_are_judged_once(small, book, tmp_path, monkeypatch):
    weights = write_weights(tmp_path / "run.safetensors")
    first = judge("mae-histology", [weights], book, date="2026-01-01")
    monkeypatch.setattr(gate, "measure", None)
    assert judge("mae-histology", [weights], book, date="2026-02-02") == first


def test_earlier_weights_stay_on_record(small, book, tmp_path):
    old, new = (write_weights(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (1, 2))
    before = judge("mae-histology", [old], book, date="2026-01-01")
    after = judge("mae-histology", [new], book, date="2026-01-02")
    assert [entry["sha256"] for entry in after["earlier"]] == [before["sha256"]]
    assert after["earlier"][0]["probe"] == before["trained"]["probe"]["value"]


def test_the_verdict_is_about_the_mean_over_training_seeds(small, book, tmp_path):
    runs = [write_weights(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (1, 2, 3)]
    result = judge("mae-histology", runs, book, date="2026-01-01")
    probes = [run["probe"] for run in result["trained"]["runs"]]
    assert result["reached"]["probe"] == pytest.approx(sum(probes) / 3, abs=1e-4)
    assert result["trained"]["probe"]["value"] == probes[0]
    gain = result["reached"]["probe"] - result["untrained"]["probe"]["value"]
    assert result["gain"]["probe"]["value"] == pytest.approx(gain, abs=2e-4)
    furthest = max(abs(probe - probes[0]) for probe in probes)
    assert result["tolerance"] == {"probe": pytest.approx(furthest, abs=2e-4), "basis": "training seeds"}


def test_runs_of_different_recipes_are_refused_before_anything_is_written(small, book, tmp_path):
    runs = [write_weights(tmp_path / f"{method}.safetensors", method) for method in ("mae", "dira")]
    with pytest.raises(InvalidOptionError, match="Expected runs of one recipe; got mae"):
        judge("mae-histology", runs, book, date="2026-01-01")
    assert not (tmp_path / "encoders.json").exists()


def test_choosing_does_not_see_the_test_split(small, monkeypatch):
    asked = []
    original = simulate_probe_set

    def spy(domain, seed, count):
        asked.append(seed)
        return original(domain, seed, count)

    monkeypatch.setattr("napari_sslmaps.lab.gate.images.simulate_probe_set", spy)
    gate.review(Plain(lambda images: images[:, :, ::8, ::8].flatten(2).transpose(1, 2)), "histology")
    assert set(asked) == {SEEDS["train"], SEEDS["validation"]}


def test_a_preview_writes_nothing_and_sees_no_test_image(small, tmp_path, monkeypatch):
    weights = write_weights(tmp_path / "run.safetensors")
    monkeypatch.setattr(gate, "measure", None)
    monkeypatch.setattr(gate, "_test", None)
    found = gate.preview("mae-histology", weights)
    assert set(found["taps"]) == {"block 1", "block 2"}
    assert found["taps"]["block 2"] == found["reached"]["probe"]
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


def simulated(seed=2025, source="simulated:histology", **options):
    return {"name": "mine", "data": {"source": source, "seed": seed}, "options": options}


def test_an_encoder_that_saw_the_scores_images_is_refused(small, book, tmp_path):
    weights = write_weights(tmp_path / "run.safetensors", recipe=simulated(seed=SEEDS["test"]))
    with pytest.raises(InvalidOptionError, match="used their seed 9003"):
        judge("mae-histology", [weights], book, date="2026-01-01")
    with pytest.raises(InvalidOptionError, match="its recipe says simulated:histology"):
        judge("mae-ultrasound", [weights], book, date="2026-01-01")


def test_controls_begin_as_their_encoder_began(tmp_path):
    paths = [
        write_weights(tmp_path / f"{gain}.safetensors", recipe=simulated(patch_gain=gain))
        for gain in (1.0, 4.0)
    ]
    encoders = [load_encoder(path, device="cpu", precision="float32") for path in paths]
    plain, strong = (
        Twins.of(encoder).draw(0).network.state_dict()["patch_embed.proj.weight"] for encoder in encoders
    )
    torch.testing.assert_close(strong, 4 * plain)
    with pytest.raises(InvalidOptionError, match="Expected runs of one recipe"):
        check_twins("mae-histology", paths, encoders)


@pytest.mark.parametrize("name", list_recipes())
def test_no_built_in_recipe_trains_on_the_scores_images(name):
    data = load_recipe(name).data
    assert data.seed not in SEEDS.values()
    simulated_fields = data.mixed_in if name.endswith("-real") else data.source
    assert simulated_fields == f"simulated:{domain_of(name.removesuffix('-real'))}"


def test_a_name_tells_its_domain():
    assert domain_of("dira-ultrasound") == "ultrasound"
    with pytest.raises(InvalidOptionError, match="histology"):
        domain_of("mae-demo")


def test_a_tap_that_knows_is_found_and_the_shipped_one_is_what_counts():
    data = ProbeData.simulate("histology", train=4, validation=4)
    generator = torch.Generator().manual_seed(0)

    class Source:
        shipped = "blind"

        def compute(self, images):
            labels = next(p.labels for p in (data.train, data.validation) if p.images is images)
            seeing = torch.nn.functional.one_hot(labels + 1, 8).float()
            return {"blind": torch.randn(4, 256, 4, generator=generator), "seeing": seeing}

    chosen = choose(Source(), data)
    assert chosen.best == "seeing"
    assert chosen.taps["seeing"] == 1.0
    assert chosen.taps["blind"] < 0.35
    assert set(chosen.probes) == {"blind", "seeing"}


def test_knowing_the_class_passes_the_gate_and_noise_does_not():
    data = ProbeData(*(simulate_probe_set("histology", seed, 6) for seed in (1, 2, 3)))
    answers = {id(part.images): part.labels for part in (data.train, data.validation, data.test)}
    generator = torch.Generator().manual_seed(0)

    def perfect(images):
        return torch.nn.functional.one_hot(answers[id(images)] + 1, 8).float()

    def noise(images):
        return torch.randn(len(images), 256, 8, generator=generator)

    def measured(tokens):
        return measure.measure(choose(Plain(tokens), data), data.test)

    controls = [measured(noise) for _ in range(2)]
    baselines = {"colour": measured(noise)}
    found = {
        name: compose(
            trained={"x": measured(tokens)}, untrained=controls, baselines=baselines, test=data.test
        )
        for name, tokens in (("perfect", perfect), ("noise", noise))
    }
    assert found["perfect"]["failed"] == []
    assert found["perfect"]["trained"]["probe"]["value"] == 1.0
    assert found["perfect"]["gain"]["probe"]["low"] > 0.5
    assert "probe" in found["noise"]["failed"]
    assert abs(found["noise"]["gain"]["probe"]["value"]) < 0.1


@pytest.mark.parametrize("domain", sorted(SIMULATORS))
def test_no_image_is_in_two_splits_or_in_training(domain):
    drawn = {
        seed: SIMULATORS[domain].draw(field_seed(seed, 0), 64)[0].tobytes()
        for seed in (*SEEDS.values(), 2025)
    }
    assert len(set(SEEDS.values())) == 3
    assert all(drawn[a] != drawn[b] for a, b in product(drawn, drawn) if a != b)


def test_domains_have_images_of_their_own():
    first, second = (simulate_probe_set(domain, SEEDS["train"], 2) for domain in ("histology", "ultrasound"))
    assert first.classes != second.classes
    assert not torch.equal(first.images, second.images)


def test_a_damaged_book_is_refused(tmp_path):
    path = tmp_path / "encoders.json"
    path.write_text("{")
    with pytest.raises(RecordError, match="Expected published results"):
        Book(path)
    path.write_text(json.dumps({"format": 99, "encoders": {}}))
    with pytest.raises(RecordError, match="format 1"):
        Book(path)
