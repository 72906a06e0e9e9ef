import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from makemore.config import check as config
from makemore.errors import UserError
from makemore.views import lr_range, plots
from makemore.views.lr_range import Values
from tests.helpers import Train, composed

RATES = np.logspace(-3, 0, 1000)


def valley(at: float, noise: float = 0.0, rates: Values = RATES) -> Values:
    """Losses that are lowest, at 3, where the rate is `at`: a parabola over the exponent."""
    chance = np.random.default_rng(0).normal(size=len(rates))
    losses: Values = 3 + (np.log10(rates) - math.log10(at)) ** 2 + noise * chance
    return losses


@given(st.floats(-1e6, 1e6), st.integers(1, 200), st.floats(1, 100))
def test_an_average_of_a_constant_is_that_constant(value: float, count: int, reach: float) -> None:
    constant = np.full(count, value)
    assert lr_range.centred_average(constant, reach) == pytest.approx(constant)
    assert lr_range.trailing_average(constant, reach) == pytest.approx(constant)


def test_an_average_is_what_its_weights_say() -> None:
    values = np.array([5.0, 1.0, 7.0, 2.0])
    distance = np.abs(np.arange(4)[:, None] - np.arange(4))
    weights = np.exp(-distance / 1.5)
    assert lr_range.centred_average(values, 1.5) == pytest.approx(weights @ values / weights.sum(axis=1))


def test_an_average_on_both_sides_does_not_move_a_valley() -> None:
    losses = valley(0.1)
    reach = 40
    assert lr_range.centred_average(losses, reach).argmin() == losses.argmin()
    assert lr_range.trailing_average(losses, reach).argmin() > losses.argmin() + reach / 2


def test_the_standard_error_is_the_deviation_of_averages_of_chance() -> None:
    chance = np.random.default_rng(0).normal(size=(400, 200))
    middles = np.array([lr_range.centred_average(row, 8.0)[100] for row in chance])
    told = np.array([lr_range.standard_error(row, 8.0)[100] for row in chance])
    assert np.mean(told) == pytest.approx(np.std(middles), rel=0.1)


@pytest.mark.parametrize("at", [0.01, 0.1])
def test_the_suggestion_for_a_curve_without_chance_is_its_minimum(at: float) -> None:
    found = lr_range.examined(RATES, valley(at))
    assert found.suggestion == pytest.approx(at, rel=0.05)
    assert found.divergence == pytest.approx(at, rel=0.05)


def test_with_chance_the_suggestion_is_the_smallest_rate_that_is_as_good_as_the_best() -> None:
    found = lr_range.examined(RATES, valley(0.1, noise=0.5))
    assert found.suggestion is not None and found.divergence is not None
    assert 0.04 < found.suggestion < 0.1 < found.divergence < 0.4
    assert f"python train.py schedule.lr={lr_range.short(found.suggestion)}" in found.verdict


def test_the_steepest_fall_is_measured_against_the_exponent() -> None:
    # Against the exponent a logistic fall is steepest in its middle, 0.01; against the rate it is earlier.
    exponents = np.log10(RATES)
    losses = 3 + 10 / (1 + np.exp(8 * (exponents + 2))) + 50 * np.maximum(0, exponents + 0.5)
    assert lr_range.examined(RATES, losses).steepest == pytest.approx(0.01, rel=0.1)
    assert RATES[np.gradient(losses, RATES).argmin()] < 0.009


def test_a_rate_is_written_as_a_person_would() -> None:
    assert list(map(lr_range.short, (0.11739, 1000.0, 0.0001, 1e-6, 12.0))) == ["0.12", "1000", "0.0001", "1e-06", "12"]


def test_an_explosion_does_not_move_the_suggestion() -> None:
    calm, wild = valley(0.1, noise=0.1), valley(0.1, noise=0.1)
    wild[900:] = 10.0 ** np.arange(100)
    broken = wild.copy()
    broken[950:] = [math.inf, *[math.nan] * 49]
    suggested = [lr_range.examined(RATES, losses).suggestion for losses in (calm, wild, broken)]
    assert suggested[0] is not None
    assert suggested[1:] == pytest.approx([suggested[0]] * 2, rel=0.1)


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        (valley(100.0, noise=0.1), "had not begun to rise at 1; try larger rates, schedule.end_lr=10"),
        (valley(1e-5, noise=0.1), "the loss only rose; try smaller rates: schedule.lr=1e-06"),
        (3 + 0 * RATES, "the loss never fell; try larger rates: schedule.end_lr=1000"),
        (3 + np.random.default_rng(1).normal(size=1000), "the loss never fell"),
        (np.array([3.0, 9.0, 1e30, math.nan]), "the loss only rose"),
        (np.array([math.inf]), "the first loss was not a number"),
        (valley(0.1, rates=RATES[::50]), "too few steps to tell (20)"),
    ],
)
def test_where_there_is_no_valley_there_is_a_reason_and_no_suggestion(losses: Values, reason: str) -> None:
    found = lr_range.examined(RATES[: len(losses)], losses)
    assert found.suggestion is None
    assert found.verdict.startswith("the first" if "first" in reason else "no suggestion, because ")
    assert reason in found.verdict
    plots.lr_range(found).draw_without_rendering()


def test_chance_alone_gets_a_suggestion_from_hardly_any_seed() -> None:
    curves = [np.random.default_rng(seed).normal(3, 1, size=1000) for seed in range(100)]
    assert sum(lr_range.examined(RATES, losses).suggestion is not None for losses in curves) <= 1


def test_the_figure_marks_what_was_found() -> None:
    found = lr_range.examined(RATES, valley(0.1, noise=0.1))
    assert found.suggestion is not None
    axes = plots.lr_range(found).axes[0]
    marked = {str(line.get_label()): line.get_xdata() for line in axes.lines}
    assert marked[f"suggested: {lr_range.short(found.suggestion)}"] == pytest.approx([math.log10(found.suggestion)] * 2)
    assert {label.split()[0] for label in marked} == {"minibatch", "average", "falls", "suggested:", "rises"}
    assert "log10" in axes.get_xlabel()


@pytest.mark.parametrize("network", [("model.emb_dim=2", "model.hidden=100"), ()])
def test_the_lectures_search_finds_the_lectures_rate(
    train: Train, caplog: pytest.LogCaptureFixture, network: tuple[str, ...]
) -> None:
    with caplog.at_level(logging.INFO, logger="makemore"):
        run = train("experiment=lr_range", *network)
    written = json.loads((run.folder / "lr_range.json").read_text())
    assert 0.05 <= written["suggestion"] <= 0.2
    assert written["steepest"] < written["suggestion"] < written["divergence"]
    assert written["rates"] == pytest.approx(RATES.tolist())
    assert len(written["losses"]) == 1000
    assert f"try python train.py schedule.lr={lr_range.short(written['suggestion'])}" in caplog.text
    assert (run.folder / "lr_range.png").read_bytes().startswith(b"\x89PNG")
    events = EventAccumulator(str(run.folder))
    events.Reload()
    assert "lr_range" in events.Tags()["images"]


def test_a_test_that_diverges_still_says_what_it_saw(train: Train) -> None:
    run = train(
        "experiment=lr_range", "optimizer=adamw", "schedule.lr=1e-5", "schedule.end_lr=1e30", "model.init=kaiming"
    )
    assert run.metrics["status"] == "diverged"
    written = json.loads((run.folder / "lr_range.json").read_text())
    assert 1e-3 < written["suggestion"] < 1e-2
    assert all(map(math.isfinite, written["losses"]))


def test_the_curve_does_not_depend_on_steps_in_one_call(train: Train) -> None:
    read = [
        json.loads((train("experiment=lr_range", "steps=150", each).folder / "lr_range.json").read_text())
        for each in ("steps_per_execution=1", "steps_per_execution=40")
    ]
    assert read[0]["rates"] == read[1]["rates"]
    assert read[0]["losses"] == pytest.approx(read[1]["losses"], rel=1e-4)


@pytest.mark.parametrize("settings", [("schedule.lr=2",), ("schedule.lr=1", "schedule.end_lr=1")])
def test_a_rate_that_does_not_grow_is_refused(settings: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="needs a rate that grows from step to step"):
        config.checked(composed("experiment=lr_range", *settings))


def test_only_a_run_whose_rate_grows_can_be_examined() -> None:
    with pytest.raises(UserError, match=r"schedule=exponential with schedule.end_lr above schedule.lr=0.1"):
        config.checked(composed("callbacks.lr_range=true"))
    config.checked(composed("callbacks.lr_range=true", "schedule=exponential", "schedule.end_lr=1"))


def test_a_range_test_leaves_no_samples(train: Train) -> None:
    left: set[Path] = set(train("experiment=lr_range", "steps=3").folder.iterdir())
    assert {"lr_range.png", "lr_range.json", "metrics.json"} <= {path.name for path in left}
    assert "samples.txt" not in {path.name for path in left}
