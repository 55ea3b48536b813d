"""Whatever a ledger may hold, an accountant answers or refuses in one line; none is undercut."""

from dp_accounting import DpEvent, GaussianDpEvent, PoissonSampledDpEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.privacy.accounting.accountant import epsilon, epsilon_rdp

gaussian = st.builds(GaussianDpEvent, st.floats(0.2, 1e6) | st.floats(0.5, 20))
sampled = st.builds(
    PoissonSampledDpEvent, st.floats(0, 1, exclude_min=True) | st.floats(0.01, 1), gaussian
)
histories = st.lists(st.tuples(gaussian | sampled, st.integers(0, 300)), max_size=3)


@settings(max_examples=12, deadline=None)
@given(history=histories, delta=st.sampled_from([1e-3, 1e-5, 1e-7]))
def test_pld_never_exceeds_rdp(history: list[tuple[DpEvent, int]], delta: float) -> None:
    spent, bound = epsilon(history, delta), epsilon_rdp(history, delta)
    assert spent >= 0
    assert spent <= bound * (1 + 1e-4) + 1e-4 or bound > 600  # where e^epsilon overflows


@settings(max_examples=8, deadline=None)
@given(history=histories, more=gaussian | sampled)
def test_another_release_never_costs_less_than_nothing(
    history: list[tuple[DpEvent, int]], more: DpEvent
) -> None:
    before = epsilon(history, 1e-5)
    # Both are upper bounds on their own grids, exact to 1e-4 + 1e-4 epsilon.
    assert epsilon([*history, (more, 1)], 1e-5) >= before * (1 - 1e-4) - 1e-4
