"""A lifetime budget: noise as planned, every day on the ledger first, and no day more.

The Kolmogorov-Smirnov test fails by chance 1 time in 1,000; the seed is fixed.
"""

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from scipy import stats

from client.serving.exploration import examination
from shared.errors import BudgetExceeded
from shared.privacy.ledger.ledger import Ledger
from simulations.exploration.budget import Lifetime, mechanism_of
from simulations.exploration.settings import OnlineConfig

pytestmark = pytest.mark.statistical

CONFIG = OnlineConfig(users=2000, days=5)


@pytest.fixture
def lifetime(tmp_path):
    promised = CONFIG.guarantee(2.0)
    return Lifetime(tmp_path / "ledger-x.jsonl", promised, CONFIG.days, "0" * 64, 3)


def test_all_days_together_cost_the_budget_by_another_program(lifetime):
    z = lifetime.mechanism.noise_multiplier
    accountant = PLDAccountant().compose(GaussianDpEvent(z), CONFIG.days)
    assert accountant.get_epsilon(CONFIG.guarantee(2.0).delta) == pytest.approx(2.0, rel=1e-3)


def test_the_noise_of_a_day_has_the_planned_law_and_each_day_its_own(lifetime):
    total = np.linspace(-3, 3, 4000)
    first, second = lifetime.release(0, total) - total, lifetime.release(1, total) - total
    sd = lifetime.mechanism.noise_multiplier
    assert stats.kstest(first / sd, "norm").pvalue > 1e-3
    assert stats.kstest(second / sd, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < stats.norm.isf(5e-4) / np.sqrt(4000)
    sums, variances = lifetime.sums(total + first, examination(5, 0.5))
    scaled, _ = lifetime.sums(total, examination(5, 0.5))
    np.testing.assert_allclose((sums - scaled).std(1), np.sqrt(variances), rtol=0.06)


def test_each_day_is_on_the_ledger_and_a_day_too_many_is_refused(lifetime):
    for day in range(CONFIG.days):
        lifetime.release(day, np.zeros(4))
        assert len(Ledger.open(lifetime.ledger.path)) == day + 1
    assert lifetime.ledger.epsilon() <= 2.0
    assert lifetime.ledger.epsilon() == pytest.approx(2.0, rel=1e-4)
    with pytest.raises(BudgetExceeded, match="feedback of round 5 would bring epsilon to"):
        lifetime.release(5, np.zeros(4))
    assert len(Ledger.open(lifetime.ledger.path)) == CONFIG.days


def test_without_a_budget_there_is_no_noise():
    assert mechanism_of(CONFIG.guarantee(float("inf")), 5).noise_multiplier == 0
