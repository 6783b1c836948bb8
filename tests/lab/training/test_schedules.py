import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.lab.training.numerics import (
    TrainingPosition,
    cosine_between,
    frozen_copy,
    learning_rate,
    move_average,
)


def test_learning_rate_warms_up_linearly_and_falls_along_a_cosine():
    rates = [learning_rate(1.0, TrainingPosition(step, 100)) for step in range(101)]
    steps = [after - before for before, after in pairwise(rates[:8])]
    assert steps == pytest.approx([steps[0]] * 7)
    assert max(rates) == rates[8] == pytest.approx(1.0)
    assert rates[8:] == sorted(rates[8:], reverse=True)
    assert rates[54] == pytest.approx(0.5, abs=1e-6)  # half way down
    assert rates[100] == pytest.approx(1e-6)


def test_the_first_step_has_a_rate_however_short_the_run():
    assert all(0 < learning_rate(1.0, TrainingPosition(0, steps)) <= 1 for steps in (1, 2, 5, 100, 10_000))


@given(start=st.floats(-5, 5), end=st.floats(-5, 5), fraction=st.floats(-1, 2))
def test_a_half_cosine_stays_between_its_ends(start, end, fraction):
    value = cosine_between(start, end, fraction)
    assert min(start, end) - 1e-9 <= value <= max(start, end) + 1e-9
    middle = cosine_between(start, end, 0.5)
    assert middle == pytest.approx((start + end) / 2, abs=1e-9)
    assert math.isclose(cosine_between(start, end, 0), start, abs_tol=1e-9)
    assert math.isclose(cosine_between(start, end, 1), end, abs_tol=1e-9)


def test_moving_average_follows_its_definition_and_copies_statistics():
    average = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    current = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    current[1].running_mean.fill_(7.0)
    expected = 0.9 * average[0].weight.detach() + 0.1 * current[0].weight.detach()
    move_average(average, current, 0.9)
    torch.testing.assert_close(average[0].weight.detach(), expected)
    assert torch.equal(average[1].running_mean, current[1].running_mean)


def test_a_frozen_copy_is_equal_apart_and_without_gradients():
    model = torch.nn.Linear(2, 2)
    twin = frozen_copy(model)
    assert torch.equal(twin.weight, model.weight)
    assert twin.weight.data_ptr() != model.weight.data_ptr()
    assert not any(p.requires_grad for p in twin.parameters())
    assert model.weight.requires_grad


def test_progress_is_a_share_of_the_steps():
    assert [TrainingPosition(step, 4).fraction for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert TrainingPosition(0, 0).fraction == 0
