import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.maps.attention import QueriesKeys, attention_rollout, attention_rows


def blocks_of(count, length, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        QueriesKeys(*torch.randn(2, 2, 3, length, 4, generator=generator, dtype=torch.float32) * 3, 0.5)
        for _ in range(count)
    ]


@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 40), st.integers(0, 10_000))
def test_it_is_the_row_of_the_full_product(count, length, chunk, seed):
    blocks = blocks_of(count, length, seed)
    start = torch.rand(2, length, generator=torch.Generator().manual_seed(seed))
    start[:, length // 2] = 1
    start /= start.sum(dim=1, keepdim=True)
    flow = torch.eye(length).expand(2, -1, -1)
    for queries, keys, scale, _ in blocks:
        full = attention_rows(queries, keys, scale).mean(dim=1)
        flow = (full + torch.eye(length)) / 2 @ flow
    found = attention_rollout(reversed(blocks), start, chunk=chunk)
    np.testing.assert_allclose(found, (start[:, None] @ flow)[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.sum(dim=1), 1, atol=1e-5)


def test_without_blocks_attention_stays_where_it_starts():
    start = torch.tensor([[0.25, 0.75]])
    assert torch.equal(attention_rollout([], start), start)
