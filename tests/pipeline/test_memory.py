"""Batches fit into memory."""

import pytest
import torch

from napari_sslmaps.pipeline.batches import fitting, is_out_of_memory


@pytest.mark.parametrize(
    ("wanted", "per_tile", "free", "batch"),
    [(16, 10, 1000, 16), (16, 10, 100, 8), (16, 10, 5, 1), (16, 0, 0, 1), (1, 10, 1000, 1)],
)
def test_as_many_tiles_as_fit_and_never_more_than_wanted(wanted, per_tile, free, batch):
    assert fitting(wanted, per_tile, free) == batch


def test_what_torch_says_when_memory_runs_out_is_recognised():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**58)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("no room"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
