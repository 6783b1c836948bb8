import numpy as np
import pytest
import torch

from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError
from napari_sslmaps.maps.attention import (
    AttentionStack,
    QueriesKeys,
    activation_map,
    attention_map,
    attention_rows,
    mean_attention_received,
    queries_at_once,
)


def embedding_with_attention(method="dinov3", kind="cls"):
    plain = Embedding.from_tokens(np.ones((2, 3, 4)))
    attention = np.random.default_rng(0).random((5, 2, 3), dtype=np.float32) / 10
    return Embedding(
        plain.tokens,
        plain.grid,
        Provenance(encoder="e", method=method),
        attention=attention,
        prefix_attention=1 - attention.sum(axis=(1, 2)),
        attention_kind=kind,
    )


def test_rows_and_means_are_those_of_the_full_matrix():
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 3, 50, 8), torch.randn(2, 3, 50, 8)
    full = (queries @ keys.transpose(-2, -1) * 0.3).softmax(-1)
    torch.testing.assert_close(attention_rows(queries[:, :, 4:6], keys, 0.3), full[:, :, 4:6])
    torch.testing.assert_close(
        mean_attention_received(QueriesKeys(queries, keys, 0.3), chunk=7), full.mean(2)
    )


def test_reductions_over_heads():
    embedding = embedding_with_attention()
    np.testing.assert_array_equal(attention_map(embedding).values, embedding.attention.mean(axis=0))
    np.testing.assert_array_equal(
        attention_map(embedding, reduction="max").values, embedding.attention.max(axis=0)
    )
    third = attention_map(embedding, head=3)
    np.testing.assert_array_equal(third.values, embedding.attention[3])
    assert third.reduction == "head 3"
    assert third.prefix_attention == pytest.approx(embedding.prefix_attention[3])


def test_mae_attention_is_called_weak_and_ijepa_says_what_it_shows():
    assert "Weak" in attention_map(embedding_with_attention("mae")).caution
    ijepa = attention_map(embedding_with_attention("ijepa", "mean-query"))
    assert "no CLS" in ijepa.caution
    assert ijepa.kind == "mean-query"
    assert attention_map(embedding_with_attention("dinov3")).caution == ""


@pytest.mark.parametrize("head", [-1, 5])
def test_a_head_that_is_not_there_is_refused(head):
    with pytest.raises(InvalidOptionError, match="head from 0 to 4"):
        attention_map(embedding_with_attention(), head=head)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(InvalidOptionError, match="'mean' or 'max'"):
        attention_map(embedding_with_attention(), reduction="median")


def test_a_cnn_has_activation_instead_of_attention():
    plain = Embedding.from_tokens(np.ones((2, 3, 4)))
    cnn = Embedding(plain.tokens, plain.grid, activation=np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(activation_map(cnn).values, 1)
    with pytest.raises(MapUnavailableError, match="use activation_map"):
        attention_map(cnn)
    with pytest.raises(MapUnavailableError, match="of a CNN"):
        activation_map(embedding_with_attention())
    with pytest.raises(MapUnavailableError, match="transformer encoders"):
        attention_map(plain)


def stack_of(kind="anchor", block=1, heads=5, method="dinov3"):
    plain = embedding_with_attention(method)
    attention, prefix = plain.attention[:heads], plain.prefix_attention[:heads]
    return AttentionStack(attention, kind, block, 4, prefix, plain.grid, plain.provenance, (3.0, 4.0))


def test_a_stack_is_reduced_like_an_embedding_and_says_what_it_is():
    stack = stack_of()
    found = attention_map(stack, 2)
    np.testing.assert_array_equal(found.values, stack.heads[2])
    assert (found.kind, found.block, found.anchor, found.reduction) == ("anchor", 1, (3.0, 4.0), "head 2")
    np.testing.assert_array_equal(attention_map(stack, reduction="max").values, stack.heads.max(axis=0))
    assert attention_map(stack_of(block=4)).block is None
    with pytest.raises(InvalidOptionError, match="head from 0 to 0"):
        attention_map(stack_of("rollout", heads=1), head=1)


def test_cautions_fit_what_is_shown():
    assert "2305.00729" in attention_map(stack_of("anchor", method="mae")).caution
    assert "2005.00928" in attention_map(stack_of("rollout", method="ijepa")).caution
    assert "Weak" in attention_map(stack_of("cls", method="mae")).caution


def test_fewer_queries_are_treated_at_once_where_there_are_more_keys():
    assert [queries_at_once(length) for length in (1, 1024, 16_384, 65_536, 2**20)] == [256, 256, 256, 64, 16]
    torch.manual_seed(0)
    queries, keys = torch.randn(1, 1, 3, 2), torch.randn(1, 1, 20_000, 2)
    full = (queries @ keys.transpose(-2, -1)).softmax(-1)
    torch.testing.assert_close(mean_attention_received(QueriesKeys(queries, keys, 1.0)), full.mean(2))
