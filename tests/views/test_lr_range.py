import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore.errors import UserError
from makemore.views import lr_range
from makemore.views.lr_range import LRRange, analyze
from makemore.views.style import Values
from tests.views.observe import Network, Observed

RATES = np.logspace(-3, 0, 1000)


def valley(at: float, noise: float = 0.0, rates: Values = RATES) -> Values:
    """Losses that are lowest, at 3, where the rate is `at`: a parabola over the exponent."""
    chance = np.random.default_rng(0).normal(size=len(rates))
    losses: Values = 3 + (np.log10(rates) - math.log10(at)) ** 2 + noise * chance
    return losses


@given(st.floats(-1e6, 1e6), st.integers(2, 200), st.floats(1, 100))
def test_an_average_of_a_constant_is_that_constant(value: float, count: int, reach: float) -> None:
    assert lr_range.average(np.full(count, value), reach)[0] == pytest.approx(np.full(count, value))


def test_an_average_is_what_its_weights_say() -> None:
    values = np.array([5.0, 1.0, 7.0, 2.0])
    weights = np.exp(-np.abs(np.arange(4)[:, None] - np.arange(4)) / 1.5)
    assert lr_range.average(values, 1.5)[0] == pytest.approx(weights @ values / weights.sum(axis=1))


def test_an_average_does_not_move_a_valley() -> None:
    assert lr_range.average(valley(0.1), 40)[0].argmin() == valley(0.1).argmin()


def test_the_standard_error_is_the_deviation_of_averages_of_chance() -> None:
    chance = np.random.default_rng(0).normal(size=(400, 200))
    averages, errors = zip(*(lr_range.average(row, 8.0) for row in chance), strict=True)
    assert np.mean([row[100] for row in errors]) == pytest.approx(np.std([row[100] for row in averages]), rel=0.1)


@pytest.mark.parametrize("at", [0.01, 0.1])
def test_the_suggestion_for_a_curve_without_chance_is_its_minimum(at: float) -> None:
    assert analyze(RATES, valley(at)).suggestion == pytest.approx(at, rel=0.05)


def test_with_chance_the_suggestion_is_the_smallest_rate_that_is_as_good_as_the_best() -> None:
    found = analyze(RATES, valley(0.1, noise=0.5))
    assert found.suggestion is not None
    assert 0.04 < found.suggestion < 0.1
    assert f"schedule.lr={lr_range.round_rate(found.suggestion)}" in found.verdict


def test_a_rate_is_written_as_a_person_would() -> None:
    rates = (0.11739, 1000.0, 0.0001, 1e-6, 12.0)
    assert list(map(lr_range.round_rate, rates)) == ["0.12", "1000", "0.0001", "1e-06", "12"]


def test_an_explosion_does_not_move_the_suggestion() -> None:
    calm, wild = valley(0.1, noise=0.1), valley(0.1, noise=0.1)
    wild[900:] = 10.0 ** np.arange(100)
    broken = wild.copy()
    broken[950:] = [math.inf, *[math.nan] * 49]
    suggested = [analyze(RATES, losses).suggestion for losses in (calm, wild, broken)]
    assert suggested[0] is not None
    assert suggested[1:] == pytest.approx([suggested[0]] * 2, rel=0.1)


@pytest.mark.parametrize(
    ("losses", "advice"),
    [
        (valley(100.0, noise=0.1), "schedule.end_lr=10"),
        (valley(1e-5, noise=0.1), "schedule.lr=1e-06"),
        (3 + 0 * RATES, "schedule.end_lr=1000"),
        (3 + np.random.default_rng(1).normal(size=1000), "schedule.end_lr=1000"),
        (np.array([3.0, 9.0, 1e30, math.nan]), "smaller rates"),
        (np.array([math.inf]), "smaller rates"),
        (valley(0.1, rates=RATES[::50]), "more steps"),
    ],
)
def test_without_a_valley_there_is_advice_and_no_suggestion(losses: Values, advice: str) -> None:
    found = analyze(RATES[: len(losses)], losses)
    assert found.suggestion is None
    assert advice in found.verdict
    lr_range.draw(found).draw_without_rendering()


def test_chance_alone_gets_a_suggestion_from_hardly_any_seed() -> None:
    curves = [np.random.default_rng(seed).normal(3, 1, size=1000) for seed in range(100)]
    assert sum(analyze(RATES, losses).suggestion is not None for losses in curves) <= 1


def test_the_figure_marks_what_was_found() -> None:
    found = analyze(RATES, valley(0.1, noise=0.1))
    assert found.suggestion is not None
    axes = lr_range.draw(found).axes[0]
    marked = {str(line.get_label()): line.get_xdata() for line in axes.lines}
    suggested = marked[f"suggested: {lr_range.round_rate(found.suggestion)}"]
    assert suggested == pytest.approx([found.suggestion] * 2)
    assert axes.get_xscale() == "log"
    assert len(marked) == 3


def test_each_loss_is_kept_with_the_rate_of_its_step(tmp_path: Path) -> None:
    view = LRRange()
    observed = Observed(tmp_path, Network(), view)
    for rates, losses in (([1e-3, 1e-2], [3.0, 2.0]), ([0.1, 1.0], [math.nan])):
        observed.run.learning_rates = rates
        observed.call("on_train_batch_end", {"losses": np.array(losses)}, None, 0)
    observed.call("on_train_end")
    assert view._rates == [1e-3, 1e-2, 0.1]
    assert observed.files == {"lr_range.json", "lr_range.png"}
    written = json.loads((tmp_path / "lr_range.json").read_text())
    assert (written["rates"], written["losses"]) == ([1e-3, 1e-2], [3.0, 2.0])


def growing(lr: float, end_lr: float, fitted: bool = False) -> Any:
    target = "makemore.training.schedule.exponential"
    schedule = {"_target_": target, "_partial_": True, "lr": lr, "end_lr": end_lr}
    return SimpleNamespace(schedule=schedule, steps=100, model=SimpleNamespace(name="some", fitted=fitted))


def test_only_a_growing_rate_of_a_model_that_takes_steps_can_be_examined() -> None:
    LRRange().check(growing(0.001, 1))
    for config, key in ((growing(2, 1), "schedule.lr"), (growing(1, 1), "schedule.lr")):
        with pytest.raises(UserError, match=key):
            LRRange().check(config)
    with pytest.raises(UserError, match="model=some"):
        LRRange().check(growing(0.001, 1, fitted=True))
