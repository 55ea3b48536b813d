"""The figures that the decision against ghost norms rests on."""

import runpy


def test_low_rank_gradients_are_small_and_ghost_norms_can_vanish():
    probe = runpy.run_path("benchmarks/probe_ghost.py")
    work = probe["kept"](probe["layers"](8, [(384, 384)] * 2, 0, 0))
    assert 9 * work["materialised"] < work["ghost"]
    assert abs(probe["errors"](1.0)["ghost norm / true"] - 1) < 1e-5
    cancelled = probe["errors"](1e-4)
    assert not abs(cancelled["ghost norm / true"] - 1) < 0.1  # NaN counts as wrong
    assert abs(cancelled["norm of what is summed / true"] - 1) < 1e-3
