import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore.training import schedule

STEPS = st.integers(1, 500)


def test_step_is_the_lectures_two_rates() -> None:
    rates = [schedule.step(at, steps=200_000, lr=0.1, drop_at=0.5, factor=0.1) for at in (0, 99_999, 100_000, 199_999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01])


def test_step_drops_at_a_whole_step_though_shares_are_rounded() -> None:
    assert 0.29 * 100 < 29
    assert [schedule.step(at, steps=100, lr=1.0, drop_at=0.29, factor=0.5) for at in (28, 29)] == [1.0, 0.5]


@given(STEPS)
def test_constant_never_changes(steps: int) -> None:
    assert {schedule.constant(at, steps=steps, lr=0.3) for at in range(steps)} == {0.3}


def test_exponential_is_the_lectures_range_of_rates() -> None:
    expected = 10 ** torch.linspace(-3, 0, 1000, dtype=torch.float64)
    rates = [schedule.exponential(at, steps=1000, lr=0.001, end_lr=1.0) for at in range(1000)]
    assert rates == pytest.approx(expected.tolist())


def test_inverse_is_the_papers() -> None:
    """Bengio et al. (2003), section 3.1: 1e-3 / (1 + 1e-8 t) after t updates."""
    rates = [schedule.inverse(at, steps=10**9, lr=1e-3, decay=1e-8) for at in (0, 10**8, 3 * 10**8)]
    assert rates == pytest.approx([1e-3, 5e-4, 2.5e-4])


@pytest.mark.parametrize("steps", [10, 101, 1000])
def test_one_cycle_is_pytorchs(steps: int) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1)
    # PyTorch puts the peak at share * steps - 1 and gives the final rate relative to the first.
    share = 0.3
    peak = round(share * steps)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.03, total_steps=steps, pct_start=(peak + 1) / steps, div_factor=25, final_div_factor=400
    )
    ours = [
        schedule.one_cycle(at, steps=steps, lr=0.03, warmup=share, start_factor=0.04, end_factor=0.0001)
        for at in range(steps)
    ]
    expected = []
    for _ in range(steps):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step() if len(expected) < steps else None
    assert ours == pytest.approx(expected)


@given(STEPS, st.floats(0, 0.9))
def test_cosine_rises_to_the_rate_and_falls_to_its_end(steps: int, warmup: float) -> None:
    rates = [schedule.cosine(at, steps=steps, lr=0.5, warmup=warmup, end_factor=0.01) for at in range(steps)]
    peak = round(warmup * steps)
    assert all(0 < rate <= 0.5 + 1e-12 for rate in rates)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[peak] == pytest.approx(0.5) if peak < steps else True
    if steps - peak > 1:
        assert rates[-1] == pytest.approx(0.005)


def test_cosine_without_warmup_is_pytorchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=99, eta_min=0.005)
    for at in range(100):
        assert schedule.cosine(at, steps=100, lr=0.5, warmup=0, end_factor=0.01) == pytest.approx(
            theirs.get_last_lr()[0]
        )
        optimizer.step()
        theirs.step()


def test_one_cycle_of_one_step_is_a_number() -> None:
    for warmup in (0, 0.3, 0.9):
        rate = schedule.one_cycle(0, steps=1, lr=1, warmup=warmup, start_factor=0.1, end_factor=0.1)
        assert math.isfinite(rate) and rate > 0
