"""The number of heads: what weights say of it, and what is said when it is given otherwise."""

import pytest
import torch
from definitions import DIM, HEADS, vit_weights
from encoders_factory import write_encoder
from official import mae_state
from safetensors.torch import load_file, save_file

from napari_sslmaps.encoders.catalog import EMBEDDED
from napari_sslmaps.encoders.checkpoint.network import check_forward
from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint, read_checkpoint
from napari_sslmaps.encoders.families.vit_recognition import weigh_heads
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import get_spec, load_encoder
from napari_sslmaps.errors import CheckpointError, InvalidOptionError

TRANSFORMERS = [name for name in EMBEDDED if not name.startswith("dira")]


def headed(dim, heads, depth=2, strength=0.35):
    """Weights whose heads look into a subspace of their own, as training makes them, and else are random."""
    torch.manual_seed(1)
    state = {}
    for index in range(depth):
        rows = torch.randn(3 * dim, dim)
        for part in range(2):
            shared = torch.randn(heads, 3, dim)
            mix = torch.randn(heads, dim // heads, 3)
            rows[part * dim : (part + 1) * dim] += strength * (mix @ shared).reshape(dim, dim)
        state[f"blocks.{index}.attn.qkv.weight"] = rows
    return state


def without_header(name, tmp_path):
    """Return an embedded encoder's tensors as a file that does not tell its heads."""
    path = tmp_path / f"{name}.safetensors"
    save_file(load_file(get_spec(name).path), path)
    return path


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_trained_weights_tell_their_heads(name):
    architecture = get_spec(name).architecture
    evidence = weigh_heads(load_file(get_spec(name).path), architecture.dim, architecture.depth)
    assert evidence.heads == architecture.heads
    assert evidence.correlations[evidence.heads] > 0.15


@pytest.mark.parametrize(("dim", "heads"), [(192, 3), (192, 4), (192, 12), (384, 6), (384, 8), (160, 2)])
def test_any_divisor_is_found(dim, heads):
    evidence = weigh_heads(headed(dim, heads), dim, 2)
    assert evidence.heads == heads
    assert all(evidence.contradicts(other) for other in evidence.correlations if other != heads)


@pytest.mark.parametrize("dim", [32, 64, 96, 192, 384])
def test_untrained_weights_say_nothing(dim):
    torch.manual_seed(dim)
    for draw in range(5):
        state = {f"blocks.{index}.attn.qkv.weight": torch.randn(3 * dim, dim) for index in range(2)}
        assert weigh_heads(state, dim, 2).heads is None, f"draw {draw}"


def test_the_correlation_is_that_of_all_pairs_of_different_rows():
    state = headed(96, 3)
    found = weigh_heads(state, 96, 2).correlations
    alike = torch.zeros(96, 96)
    for weight in state.values():
        for rows in (weight[:96], weight[96:192]):
            alike += torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=-1) ** 2
    different = ~torch.eye(96, dtype=torch.bool)
    for heads, correlation in found.items():
        owner = torch.arange(96) * heads // 96
        same = (owner[:, None] == owner)[different].float()
        expected = torch.corrcoef(torch.stack([same, alike[different]]))[0, 1]
        torch.testing.assert_close(torch.tensor(correlation), expected, atol=1e-4, rtol=1e-3)


def test_weights_win_over_the_usual_number_where_they_are_clear(tmp_path):
    """A width of 128 has two heads as a rule; these were trained with four."""
    path = without_header("mae-histology", tmp_path)
    report = inspect_checkpoint(path)
    assert report.architecture.heads == 4
    assert "heads = 4  (the weights themselves" in str(report)
    assert any("speak for 4, though 2 is usual" in sentence for sentence in report.ambiguous)


def test_a_given_number_is_taken_and_doubted_where_weights_contradict(tmp_path):
    path = without_header("ijepa-histology", tmp_path)
    wrong = inspect_checkpoint(path, Overrides(num_heads=8))
    assert wrong.architecture.heads == 8
    assert any("You gave 8 heads; the weights themselves speak for 4" in doubt for doubt in wrong.ambiguous)
    right = inspect_checkpoint(path, Overrides(num_heads=4))
    assert not any("You gave" in doubt for doubt in right.ambiguous)
    assert any("You gave 8" in doubt for doubt in load_encoder(path, num_heads=8).report.ambiguous)


def test_a_header_that_is_contradicted_says_so():
    report = inspect_checkpoint(get_spec("mae-histology").path, Overrides(num_heads=8))
    assert report.architecture.heads == 8
    assert any("You gave 8 heads; the file itself says 4" in doubt for doubt in report.ambiguous)


def test_weights_help_where_the_width_suggests_nothing(tmp_path):
    from official import architecture

    from napari_sslmaps.encoders.families.vit_network import build_vit

    state = build_vit(architecture(dim=96, heads=3, mlp_hidden=384)).state_dict() | headed(96, 3)
    torch.save({"model": state}, tmp_path / "narrow.pth")
    assert inspect_checkpoint(tmp_path / "narrow.pth", Overrides(method="dino")).architecture.heads == 3


@pytest.mark.parametrize(("true", "finer", "expected"), [(6, 0.0, 6), (8, 0.0, 8), (6, 0.5, 6)])
def test_the_usual_number_stays_unless_the_weights_clearly_speak_against_it(tmp_path, true, finer, expected):
    """A width of 384 has six heads as a rule; rows alike in groups of 32 too do not unsettle that."""
    from official import architecture

    from napari_sslmaps.encoders.families.vit_network import build_vit

    state = build_vit(architecture(dim=384, heads=6, mlp_hidden=384)).state_dict()
    groups = headed(384, 12, strength=finer)
    for name, weight in headed(384, true, strength=0.35).items():
        state[name] = weight + groups[name] if finer else weight
    torch.save({"model": state}, tmp_path / "vit.pth")
    report = inspect_checkpoint(tmp_path / "vit.pth", Overrides(method="dino"))
    assert report.architecture.heads == expected
    agreed = "and the weights agree" in str(report)
    assert agreed != any("number of heads" in doubt for doubt in report.ambiguous)
    assert agreed == (true == 6 and not finer)


def test_the_usual_number_is_said_to_be_assumed_where_weights_say_nothing(tmp_path):
    torch.save({"model": mae_state()}, tmp_path / "mae.pth")
    report = inspect_checkpoint(tmp_path / "mae.pth")
    assert "heads = 2  (the usual number for this width)" in str(report)
    assert any("is not in the file; 2 is assumed" in doubt for doubt in report.ambiguous)


@pytest.mark.parametrize(
    ("method", "dim", "heads"),
    [("mae", 1280, 16), ("ijepa", 1280, 16), ("ijepa", 1408, 16), ("dinov3", 1280, 20), ("dinov2", 1536, 24)],
)
def test_the_largest_published_transformers_have_the_heads_of_their_authors(tmp_path, method, dim, heads):
    """Heads of 80 and 88 channels in ViT-H and ViT-g of MAE and I-JEPA, of 64 in DINO's."""
    from official import architecture

    from napari_sslmaps.encoders.families.vit_network import build_vit

    with torch.device("meta"):
        empty = build_vit(architecture(dim=dim, heads=heads, depth=1, mlp_hidden=64)).state_dict()
    state = {name: torch.ones(tensor.shape, dtype=torch.float16) for name, tensor in empty.items()}
    save_file(state, tmp_path / "large.safetensors")
    report = inspect_checkpoint(tmp_path / "large.safetensors", Overrides(method=method))
    assert report.architecture.heads == heads


def test_a_head_count_that_does_not_divide_the_width_is_refused(tmp_path):
    torch.save({"model": mae_state()}, tmp_path / "mae.pth")
    with pytest.raises(InvalidOptionError, match="divides the width 128; got 3"):
        inspect_checkpoint(tmp_path / "mae.pth", Overrides(num_heads=3))


@pytest.mark.parametrize("method", ["mae", "ijepa", "dinov3", "dira"])
def test_a_sound_network_passes_the_forward_check(tmp_path, method):
    checkpoint = read_checkpoint(write_encoder(tmp_path / "sound.safetensors", method))
    assert check_forward(checkpoint.network, checkpoint.report.architecture) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda weights: weights["norm.weight"].fill_(3e38), "no finite numbers"),
        (lambda weights: weights["norm.weight"].zero_(), "same token everywhere"),
        (lambda weights: weights["patch_embed.proj.weight"].zero_(), "does not see its input"),
    ],
)
def test_what_a_forward_pass_betrays(tmp_path, change, sentence):
    weights = vit_weights()
    change(weights)
    torch.save(weights, tmp_path / "odd.pth")
    checkpoint = read_checkpoint(tmp_path / "odd.pth", Overrides(method="dino", num_heads=HEADS))
    doubts = check_forward(checkpoint.network, checkpoint.report.architecture)
    assert any(sentence in doubt for doubt in doubts)


def test_a_forward_pass_cannot_tell_a_wrong_head_count(tmp_path):
    """What is written in the docstring: such a network answers as soundly as the right one."""
    checkpoint = read_checkpoint(without_header("mae-histology", tmp_path), Overrides(num_heads=8))
    assert check_forward(checkpoint.network, checkpoint.report.architecture) == ()
    assert DIM % HEADS == 0


def test_a_block_that_is_missing_is_noticed(tmp_path):
    weights = {name: value for name, value in mae_state().items() if not name.startswith("blocks.0.")}
    torch.save({"model": weights}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"Expected blocks.0 to blocks.1; .* blocks.0 is missing"):
        inspect_checkpoint(tmp_path / "part.pth")


def test_a_block_that_lacks_its_weight_says_nothing_about_heads():
    state = headed(96, 3)
    assert set(state) >= {"blocks.0.attn.qkv.weight", "blocks.1.attn.qkv.weight"}
    whole = weigh_heads(state, 96, 2).heads
    del state["blocks.0.attn.qkv.weight"]
    assert weigh_heads(state, 96, 2).heads == whole == 3
    state["blocks.1.attn.qkv.weight"] = state["blocks.1.attn.qkv.weight"][:, :5]
    assert weigh_heads(state, 96, 2).heads is None
