"""Whole numbers come from Python, NumPy and torch; nothing else is one."""

import numpy as np
import pytest
import torch

from napari_sslmaps.core.whole import whole_number


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3), torch.tensor(3)])
def test_a_whole_number_of_any_library_is_one_of_python(value):
    assert whole_number(value) == 3
    assert type(whole_number(value)) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float32(3), "3", None, [3], np.array([3]), 3j])
def test_nothing_else_is_one(value):
    assert whole_number(value) is None
