"""What every objective promises the trainer."""

import copy
from functools import partial

import pytest
import torch

from napari_sslmaps.lab.training.numerics import TrainingPosition
from napari_sslmaps.lab.training.objectives.base import running_statistics

from .tiny import CLASSES, seeded, some_fields, tiny

LATE = TrainingPosition(6, 10)
METHODS = sorted(CLASSES)
# Targets that stand still: a moving one makes a loss rise before it falls.
STEADY = {"ijepa": {"momentum": 1.0}, "dinov3": {"momentum": 1.0}}
FOLLOWERS = ("teacher.", "gram_teacher.", "target.", "key.")


def one(tensor):
    return tensor


def train(objective, steps):
    """Losses of a few steps on one fixed batch, with the same views and masks in each."""
    optimiser = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=5e-3)
    fields, losses = some_fields(4), []
    for step in range(steps):
        optimiser.zero_grad()
        loss = objective.loss(fields, TrainingPosition(step, 1000), seeded())["total"]
        loss.backward()
        losses.append(float(loss.detach()))
        optimiser.step()
        objective.after_step(TrainingPosition(step, 1000), one)
    return losses


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_of_a_fixed_batch_falls(method):
    objective = tiny(method, **STEADY.get(method, {}))
    if method == "dira":  # its queue would fill with the batch's own keys
        objective._enqueue = lambda _: None
    losses = train(objective, 15)
    assert min(losses[-3:]) < 0.97 * losses[0]


@pytest.mark.parametrize("method", METHODS)
def test_what_follows_is_not_trained(method):
    objective = tiny(method)
    objective.loss(some_fields(), LATE, seeded())["total"].backward()
    touched = {name for name, p in objective.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched
    assert not any(name.startswith(FOLLOWERS) for name in touched)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_is_repeatable_and_depends_on_its_generator(method):
    objective, fields = tiny(method).eval(), some_fields(4)
    with torch.no_grad():
        first, again, other = (
            float(objective.loss(fields, LATE, seeded(seed))["total"]) for seed in (0, 0, 1)
        )
    assert first == again
    assert first != other


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_changes_no_gradient_and_no_statistic(method):
    kept, again = tiny(method), tiny(method)
    again.checkpointing = True
    for objective in (kept, again):
        objective.loss(some_fields(4), LATE, seeded())["total"].backward()
        objective.after_step(LATE, one)
    for (name, own), other in zip(kept.named_parameters(), again.parameters(), strict=True):
        assert (own.grad is None) == (other.grad is None), name
        if own.grad is not None:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-7)
    for (name, own), other in zip(kept.named_buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(own, other, msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_computes_blocks_twice(method, monkeypatch):
    objective = tiny(method)
    objective.checkpointing = True
    calls = []
    original = objective.run

    def counted(part, *inputs, **settings):
        def noted(*args, **kwargs):
            calls.append(part)
            return part(*args, **kwargs)

        return original(noted, *inputs, **settings)

    monkeypatch.setattr(objective, "run", counted)
    losses = objective.loss(some_fields(4), LATE, seeded())
    with torch.no_grad():
        before = len(calls)
    losses["total"].backward()
    assert len(calls) > before > 0


@pytest.mark.parametrize("method", METHODS)
def test_two_shards_here_leave_what_one_shard_in_each_of_two_processes_leaves(method):
    """Shards in sequence against two processes in step, with gradients left alone."""
    together = tiny(method)
    apart = [copy.deepcopy(together) for _ in range(2)]
    halves = some_fields(8).chunk(2)
    for shard, part in enumerate(halves):
        losses = together.loss(part, LATE, seeded(shard))
        losses["total"].backward()
        elsewhere = apart[shard].loss(part, LATE, seeded(shard))
        assert float(losses["total"].detach()) == float(elsewhere["total"].detach())
    together.after_step(LATE, one)
    for objective, gather in zip(apart, gathers(apart), strict=True):
        objective.after_step(LATE, gather)
    for objective in apart:
        for (name, own), other in zip(objective.named_buffers(), together.buffers(), strict=True):
            torch.testing.assert_close(own, other, msg=name)


def gathers(objectives):
    """Stand-ins for a collective: each call joins what all objectives would send at this point."""
    sent = []
    for objective in objectives:
        record = []
        probe = copy.deepcopy(objective)
        probe.after_step(LATE, lambda tensor, record=record: record.append(tensor) or tensor)
        sent.append(record)
    joined = [torch.cat(parts) for parts in zip(*sent, strict=True)]
    return [partial(answer, list(joined)) for _ in objectives]


def answer(joined, tensor):
    expected = joined.pop(0)
    assert len(expected) == 2 * len(tensor)
    return expected


@pytest.mark.parametrize("method", ["dinov3", "dira"])
def test_running_statistics_move_once_per_step_by_the_mean_of_the_shards(method):
    objective = tiny(method)
    layers = [part for part in objective.modules() if getattr(part, "running_mean", None) is not None]
    layer = next(part for part in layers if part.weight.requires_grad)
    before, found = layer.running_mean.clone(), []
    layer.register_forward_pre_hook(lambda _, inputs: found.append(batch_mean(inputs[0].detach())))
    for shard, part in enumerate(some_fields(8).chunk(2)):
        objective.loss(part, LATE, seeded(shard))
    objective.after_step(LATE, one)
    expected = 0.9 * before + 0.1 * torch.stack(found).mean(dim=0)
    torch.testing.assert_close(layer.running_mean, expected)
    assert int(layer.num_batches_tracked) == 1


def batch_mean(inputs):
    return inputs.mean(dim=[axis for axis in range(inputs.ndim) if axis != 1])


def test_statistics_of_what_is_not_trained_are_left_to_their_leader():
    objective = tiny("dira")
    own = {id(buffer) for buffer in running_statistics(objective)}
    assert own
    assert not own & {id(buffer) for buffer in objective.key.buffers()}
    train(objective, 2)
    pairs = zip(objective.query.buffers(), objective.key.buffers(), strict=True)
    assert all(torch.equal(leader, follower) for leader, follower in pairs)


def test_a_moving_average_of_many_steps_has_its_closed_form():
    objective = tiny("ijepa", momentum=0.8)
    start = objective.target.norm.weight.clone()
    with torch.no_grad():
        objective.context.norm.weight.fill_(3.0)
    for _ in range(5):
        objective.after_step(TrainingPosition(0, 10), one)
    expected = 0.8**5 * start + (1 - 0.8**5) * 3.0
    torch.testing.assert_close(objective.target.norm.weight, expected)


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_file_can_be_the_start(method):
    trained, fresh = tiny(method), tiny(method, seed=1)
    train(trained, 3)
    saved = {name: value.clone() for name, value in trained.exported().items()}
    assert fresh.load_exported(saved) == []
    for name, value in fresh.exported().items():
        assert torch.equal(value, saved[name]), name
    fields = some_fields(2, side=64)
    with torch.no_grad():
        torch.testing.assert_close(fresh.eval().tokens(fields), trained.eval().tokens(fields))
    pairs = {"ijepa": ("context", "target"), "dinov3": ("student", "teacher"), "dira": ("query", "key")}
    if method in pairs:
        leader, follower = (getattr(fresh, name).state_dict() for name in pairs[method])
        assert all(torch.equal(leader[name], follower[name]) for name in leader)


def test_what_does_not_fit_is_left_out_and_named():
    objective = tiny("mae")
    before = objective.exported()["norm.weight"].clone()
    saved = dict(tiny("mae", seed=1).exported())
    saved["decoder_embed.weight"] = torch.zeros(3, 3)
    saved["head.weight"] = torch.zeros(2)
    saved["norm.weight"] = before + 1
    assert objective.load_exported(saved) == ["decoder_embed.weight", "head.weight"]
    assert torch.equal(objective.exported()["norm.weight"], before + 1)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_exported_shares_the_module_s_memory(method):
    objective = tiny(method)
    own = {value.data_ptr() for value in objective.state_dict().values()}
    assert all(value.data_ptr() in own for value in objective.exported().values())


@pytest.mark.parametrize("method", METHODS)
def test_every_objective_trains_in_mixed_precision(method):
    objective = tiny(method)
    with torch.autocast("cpu", torch.bfloat16):
        losses = objective.loss(some_fields(4), LATE, seeded())
    with torch.no_grad():
        exact = tiny(method).loss(some_fields(4), LATE, seeded())
    losses["total"].backward()
    assert losses["total"].dtype == torch.float32
    for name, value in losses.items():
        assert float(value.detach()) == pytest.approx(float(exact[name]), rel=0.1, abs=0.02), name


@pytest.mark.parametrize("method", METHODS)
def test_tokens_are_a_grid_of_the_kept_encoder(method):
    tokens = tiny(method).eval().tokens(some_fields(2, side=64))
    assert tokens.shape[:2] == (2, 64)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_sees_the_same_draws(method):
    here, there = tiny(method), tiny(method).to("cuda")
    expected = here.loss(some_fields(4), LATE, seeded())
    losses = there.loss(some_fields(4).to("cuda"), LATE, seeded())
    for name, value in losses.items():
        assert float(value.detach()) == pytest.approx(float(expected[name].detach()), rel=0.02), name
    losses["total"].backward()
    there.after_step(LATE, one)
