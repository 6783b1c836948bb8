from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from napari_sslmaps.core.moments import MomentAccumulator
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError
from napari_sslmaps.maps.pca import pca_map


def tokens_like_an_encoder(rows=20, cols=17, dim=96, seed=0):
    """Tokens with a few strong directions, a large mean and noise."""
    rng = np.random.default_rng(seed)
    strength = np.r_[9.0, 5.0, 3.0, np.full(dim - 3, 0.5)]
    mixing = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return ((rng.normal(size=(rows, cols, dim)) * strength) @ mixing + 4).astype(np.float32)


def wrap(tokens, name="test"):
    return Embedding.from_tokens(tokens, stride=4, name=name)


def angles(ours, theirs):
    """Degrees between corresponding components."""
    return np.degrees(np.arccos(np.clip(np.abs(np.sum(ours * theirs, axis=1)), 0, 1)))


@pytest.mark.parametrize("dim", [8, 96, 300])
def test_the_fit_is_sklearns(dim):
    tokens = tokens_like_an_encoder(40, 30, dim)
    reference = PCA(3, svd_solver="full").fit(tokens.reshape(-1, dim).astype(float))
    basis = pca_map(wrap(tokens)).basis
    assert angles(basis.components, reference.components_).max() < 0.05
    count = 1200
    np.testing.assert_allclose(basis.variance * count / (count - 1), reference.explained_variance_, rtol=1e-4)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=5))
@settings(max_examples=20)
def test_accumulating_in_pieces_changes_nothing(cuts):
    tokens = tokens_like_an_encoder().reshape(-1, 96)
    pieces = MomentAccumulator(96)
    for part in np.split(tokens, np.cumsum(cuts)[np.cumsum(cuts) < len(tokens)]):
        pieces.update(part)
    whole = MomentAccumulator(96)
    whole.update(tokens)
    one, other = pieces.moments(), whole.moments()
    assert one.count == other.count
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-5)
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-3)


def test_signs_are_fixed_and_results_repeat():
    tokens = tokens_like_an_encoder()
    first, second = pca_map(wrap(tokens)), pca_map(wrap(tokens))
    np.testing.assert_array_equal(first.values, second.values)
    components = first.basis.components
    assert (components[np.arange(3), np.abs(components).argmax(axis=1)] > 0).all()


def test_reordering_tokens_reorders_the_colours_only():
    tokens = tokens_like_an_encoder()
    mirrored = pca_map(wrap(tokens[::-1, ::-1])).values[::-1, ::-1]
    np.testing.assert_allclose(mirrored, pca_map(wrap(tokens)).values, atol=1e-4)


@pytest.mark.parametrize("rendering", ["stretch", "whitened"])
def test_renderings_lie_between_zero_and_one(rendering):
    found = pca_map(wrap(tokens_like_an_encoder()), rendering=rendering)
    assert found.values.shape == (20, 17, 3)
    assert found.values.dtype == np.float32
    assert found.values.min() >= 0
    assert found.values.max() <= 1


def test_stretch_puts_the_2nd_and_98th_percentile_at_the_ends():
    values = pca_map(wrap(tokens_like_an_encoder(50, 50))).values
    for share in ((values <= 0).mean(axis=(0, 1)), (values >= 1).mean(axis=(0, 1))):
        np.testing.assert_allclose(share, 0.02, atol=0.002)


def test_whitened_is_the_sigmoid_of_twice_the_whitened_score():
    tokens = tokens_like_an_encoder()
    found = pca_map(wrap(tokens), rendering="whitened")
    scores = (tokens - found.basis.mean) @ found.basis.components.T
    expected = 1 / (1 + np.exp(-2 * scores / scores.std(axis=(0, 1))))
    np.testing.assert_allclose(found.values, expected, atol=1e-3)


def test_a_joint_fit_shares_one_basis():
    one, other = (wrap(tokens_like_an_encoder(seed=seed)) for seed in (1, 2))
    first, second = pca_map([one, other])
    assert first.basis is second.basis
    together = np.concatenate([one.flat, other.flat]).astype(float)
    reference = PCA(3, svd_solver="full").fit(together)
    assert angles(first.basis.components, reference.components_).max() < 0.05
    np.testing.assert_array_equal(pca_map(one, basis=first.basis).values, first.values)


def test_a_list_of_one_gives_a_list_of_one():
    assert len(pca_map([wrap(tokens_like_an_encoder())])) == 1


def test_the_foreground_alone_is_fitted_and_all_is_projected():
    tokens = tokens_like_an_encoder()
    mask = np.zeros((20, 17), bool)
    mask[:10] = True
    tokens[~mask] += np.random.default_rng(9).normal(0, 50, (10 * 17, 96)).astype(np.float32)
    reference = PCA(3, svd_solver="full").fit(tokens[mask].astype(float))
    found = pca_map(wrap(tokens), foreground=mask)
    assert angles(found.basis.components, reference.components_).max() < 0.05
    assert np.isfinite(found.values).all()


def test_structure_alone_is_fitted_and_everything_where_no_image_has_any():
    one, other = (wrap(tokens_like_an_encoder(seed=seed)) for seed in (1, 2))
    structured, flat = np.zeros((20, 17), bool), np.zeros((20, 17), bool)
    structured[:10] = True
    partly, nowhere = replace(one, foreground=structured), replace(other, foreground=flat)
    for item, mask in ((partly, structured), (nowhere, None)):
        found, expected = pca_map(item, foreground="auto"), pca_map(item, foreground=mask)
        np.testing.assert_array_equal(found.values, expected.values)
    together = pca_map([partly, nowhere], foreground="auto")[0].basis
    np.testing.assert_array_equal(together.mean, pca_map(partly, foreground="auto").basis.mean)


def test_first_component_foreground_refits_on_its_positive_side():
    tokens = tokens_like_an_encoder()
    everything = pca_map(wrap(tokens)).basis
    positive = (tokens - everything.mean) @ everything.components[0] > 0
    by_sign = pca_map(wrap(tokens), foreground="first-component").basis
    by_mask = pca_map(wrap(tokens), foreground=positive).basis
    assert angles(by_sign.components, by_mask.components).max() < 0.05


def test_uncomputed_tokens_are_left_out_and_stay_nan():
    tokens = tokens_like_an_encoder()
    tokens[3, 4] = np.nan
    values = pca_map(wrap(tokens)).values
    assert np.isnan(values[3, 4]).all()
    assert np.isfinite(np.delete(values.reshape(-1, 3), 3 * 17 + 4, axis=0)).all()


def test_constant_tokens_are_grey():
    np.testing.assert_array_equal(pca_map(wrap(np.ones((3, 3, 100)))).values, 0.5)


def test_mixed_encoders_are_refused():
    one, other = wrap(np.ones((3, 3, 4)), "a"), wrap(np.ones((3, 3, 4)), "b")
    with pytest.raises(InvalidOptionError, match="one encoder for a joint PCA; got a, b"):
        pca_map([one, other])


@pytest.mark.parametrize(
    "options",
    [{"rendering": "rainbow"}, {"foreground": "guess"}, {"foreground": np.ones((2, 2), bool)}],
)
def test_bad_options_get_a_sentence(options):
    with pytest.raises(InvalidOptionError, match="Expected"):
        pca_map(wrap(tokens_like_an_encoder()), **options)


def test_an_empty_list_an_empty_foreground_and_thin_tokens_get_a_sentence():
    with pytest.raises(InvalidOptionError, match="at least one embedding"):
        pca_map([])
    with pytest.raises(MapUnavailableError, match="at least one foreground token"):
        pca_map(wrap(tokens_like_an_encoder()), foreground=np.zeros((20, 17), bool))
    with pytest.raises(MapUnavailableError, match="three channels"):
        pca_map(wrap(np.ones((3, 3, 2))))


def with_moments(embedding):
    accumulator = MomentAccumulator(embedding.tokens.shape[-1])
    accumulator.update(embedding.flat)
    return replace(embedding, moments=accumulator.moments())


@pytest.mark.parametrize("dim", [8, 96])
def test_known_moments_give_the_same_components_alone_and_jointly(dim):
    several = [wrap(tokens_like_an_encoder(9, 13, dim)), wrap(tokens_like_an_encoder(7, 5, dim, seed=1) + 3)]
    known = [with_moments(item) for item in several]
    for items, same in ((several[:1], known[:1]), (several, known), (several, [known[0], several[1]])):
        expected, found = pca_map(items)[0].basis, pca_map(same)[0].basis
        np.testing.assert_allclose(found.mean, expected.mean, atol=1e-4)
        np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-4)
        assert angles(found.components, expected.components).max() < 0.05
        np.testing.assert_allclose(found.low, expected.low, atol=2e-3)


def test_known_moments_are_not_those_of_a_foreground():
    item = with_moments(wrap(tokens_like_an_encoder()))
    mask = np.zeros((20, 17), bool)
    mask[:5] = True
    found = pca_map(item, foreground=mask).basis
    np.testing.assert_allclose(found.mean, item.tokens[:5].reshape(-1, 96).mean(axis=0), atol=1e-4)
