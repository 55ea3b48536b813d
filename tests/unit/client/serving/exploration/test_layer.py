"""The Bayesian last layer, against a regression put together by hand."""

import numpy as np
import pytest
from scipy import stats

from client.serving.exploration import BayesianLayer
from shared.errors import ConfigError


@pytest.fixture
def layer():
    return BayesianLayer(np.array([0.2, 0.1, 0.0]), np.array([0.5, 1.0, 2.0]), 0.4)


def shown(rng, n=30):
    x = rng.normal(size=(n, 3))
    return x, x @ [0.3, -0.2, 0.5] + 0.4 * rng.normal(size=n)


def test_the_posterior_is_that_of_one_long_gaussian_vector(layer):
    """Condition the joint normal law of theta and all rewards, without sufficient statistics."""
    x, y = shown(np.random.default_rng(0))
    prior = np.diag(layer.prior_sd**2)
    gain = prior @ x.T @ np.linalg.inv(x @ prior @ x.T + layer.noise**2 * np.eye(len(x)))
    mean = layer.prior_mean + gain @ (y - x @ layer.prior_mean)
    covariance = prior - gain @ x @ prior
    found = layer.posterior(*layer.statistics(x, y))
    np.testing.assert_allclose(found.mean, mean, atol=1e-10)
    np.testing.assert_allclose(found.root.T @ found.root, covariance, atol=1e-10)
    items = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_allclose(found.expected(items), items @ mean, atol=1e-10)
    spread = np.sqrt(np.diag(items @ covariance @ items.T))
    np.testing.assert_allclose(found.spread(items), spread, atol=1e-10)


def test_many_at_once_are_each_one_by_itself(layer):
    rng = np.random.default_rng(2)
    both = [shown(rng) for _ in range(4)]
    x, y = (np.stack(part) for part in zip(*both, strict=True))
    found = layer.posterior(*layer.statistics(x, y))
    for one, (own, rewards) in enumerate(both):
        alone = layer.posterior(*layer.statistics(own, rewards))
        np.testing.assert_allclose(found.mean[one], alone.mean)
        np.testing.assert_allclose(found.root[one], alone.root)


def test_statistics_add_up_and_none_leave_the_prior(layer):
    x, y = shown(np.random.default_rng(3))
    parts = [layer.statistics(x[half], y[half]) for half in (slice(12), slice(12, None))]
    whole = layer.statistics(x, y)
    for part in range(2):
        np.testing.assert_allclose(parts[0][part] + parts[1][part], whole[part])
    none = layer.posterior(np.zeros((3, 3)), np.zeros(3))
    np.testing.assert_allclose(none.mean, layer.prior_mean)
    np.testing.assert_allclose(none.spread(np.eye(3)), layer.prior_sd)


@pytest.mark.statistical
def test_draws_have_the_law_of_the_posterior(layer):
    """Kolmogorov-Smirnov of each item: fails by chance 1 time in 1,000; the seed is fixed."""
    rng = np.random.default_rng(4)
    found = layer.posterior(*layer.statistics(*shown(rng)))
    items = rng.normal(size=(3, 3))
    draws = found.draws(items, rng.standard_normal((20_000, 3)))  # [M, items]
    for item in range(3):
        law = stats.norm(found.expected(items)[item], found.spread(items)[item])
        assert stats.kstest(draws[:, item], law.cdf).pvalue > 1e-3
    half = found.draws(items, rng.standard_normal((20_000, 3)), scale=0.5)
    np.testing.assert_allclose(half.std(0), found.spread(items) / 2, rtol=0.03)


def test_what_is_out_of_range_is_refused(layer):
    with pytest.raises(ConfigError, match="noise = 0"):
        BayesianLayer(np.zeros(2), np.ones(2), 0.0)
    with pytest.raises(ConfigError, match=r"expected \[p\] both"):
        BayesianLayer(np.zeros(2), np.ones(3), 1.0)
    with pytest.raises(ConfigError, match="not positive semi-definite"):
        layer.posterior(-100 * np.eye(3), np.zeros(3))
