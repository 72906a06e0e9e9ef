import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from makemore.config import check as config
from makemore.data.datamodule import Batch, WindowDataModule
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.models.mlp import formulas as mlp
from makemore.training import execution
from makemore.training import run as training
from makemore.training.models import MLP
from makemore.training.module import LanguageModule
from makemore.views import diagnostics, plots
from tests.helpers import Train, composed

SMALL = ("model.hidden=5", "model.emb_dim=3", "logger.log_every=1")


def made(*overrides: str) -> tuple[MLP, WindowDataModule]:
    """A model and its data, before training."""
    nodes = composed(*overrides)
    settings = config.checked(nodes)
    data = training.prepare(settings)
    module = training.make_module(settings, nodes, data, execution.choose(settings, data))
    assert isinstance(module, MLP)
    return module, data


def charts(folder: Path) -> dict[str, dict[int, float]]:
    """TensorBoard's scalars: tag -> step -> value."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: {point.step: point.value for point in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_saturation_is_counted_as_by_hand() -> None:
    h = torch.tensor([[0.5, -0.99, 0.98], [0.96, 0.99, 0.0], [-0.9701, -1.0, 1.0]])
    flat = diagnostics.saturated(h)
    assert flat.tolist() == [[False, True, True], [False, True, False], [True, True, True]]
    assert diagnostics.share(flat) == pytest.approx(6 / 9)
    assert diagnostics.dead(flat).tolist() == [False, True, False]


def test_units_forced_into_saturation_are_found_dead() -> None:
    module, data = made(*SMALL, "model.init=kaiming")
    with torch.no_grad():
        module.b1[3] = 50.0
        module.W1[:, 0] *= 1e4  # beyond the bound on both sides, and as little to be learned from
    contexts = diagnostics.probe(data.train, 200).contexts
    flat = diagnostics.saturated(mlp.hidden_layer(module.p, contexts))
    assert diagnostics.dead(flat).tolist() == [True, False, False, True, False]
    axes = plots.saturation({"now": flat}, diagnostics.SATURATED).axes[0]
    assert axes.get_title().endswith("2 of 5 units dead")
    assert list(axes.lines[0].get_xdata()) == [0, 3]  # type: ignore[arg-type]


def test_the_examples_looked_at_are_spread_over_the_split() -> None:
    _, data = made(*SMALL)
    contexts, targets = diagnostics.probe(data.train, 5)
    at = torch.linspace(0, len(data.train) - 1, 5).long()
    assert torch.equal(targets, data.train.gather(at)[1])
    assert contexts.shape == (5, 3)
    assert len(diagnostics.probe(data.dev, 10**9).targets) == len(data.dev)


def test_gradients_are_those_of_the_formulas() -> None:
    module, data = made(*SMALL)
    batch = diagnostics.probe(data.train, 32)
    found = diagnostics.gradients(module, batch)
    p = mlp.Parameters(*(parameter.detach() for parameter in module.p))
    expected = mlp.Parameters(*map(torch.zeros_like, p))
    mlp.loss_and_gradients(p, batch.contexts, batch.targets, expected)
    for name, gradient in expected._asdict().items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize(
    ("settings", "optimizer"),
    [
        ((), lambda p: torch.optim.SGD(p, lr=0.1)),
        (("optimizer.weight_decay=0.3",), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.3)),
        (("optimizer=adamw",), lambda p: torch.optim.AdamW(p, lr=0.1)),
    ],
)
def test_the_update_ratio_is_that_of_the_step_that_was_taken(
    train: Train, settings: tuple[str, ...], optimizer: Any
) -> None:
    run = train("experiment=diagnose", "steps=1", "schedule=constant", *SMALL, *settings)
    module, data = made("experiment=diagnose", "steps=1", "schedule=constant", *SMALL, *settings)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    contexts, targets = (part[0] for part in next(iter(data.minibatches)))
    gradients = diagnostics.gradients(module, Batch(contexts, targets))
    for name, parameter in module.named_parameters():
        parameter.grad = gradients[name]
    optimizer(module.parameter_groups()).step()
    measured = charts(run.folder)
    for name in ("C", "W1", "b1", "W2", "b2"):
        update = module.get_parameter(name).detach() - before[name]
        expected = math.log10(float(update.std() / before[name].std()))
        assert measured[f"update_ratio_log10/{name}"] == pytest.approx({1: expected}, abs=1e-3)
        if not settings:  # plain SGD: lr * gradient
            lecture = math.log10(0.1 * float(gradients[name].std() / before[name].std()))
            assert expected == pytest.approx(lecture, abs=1e-3)


def test_a_step_without_spread_has_no_ratio() -> None:
    weights = torch.tensor([[1.0, 2.0]])
    assert math.isnan(diagnostics.log10_update_ratio(weights, weights))
    assert math.isnan(diagnostics.log10_update_ratio(torch.ones(1, 2), weights))
    assert math.isnan(diagnostics.log10_update_ratio(weights, weights * math.nan))


def test_single_steps_are_what_the_update_ratio_needs() -> None:
    with pytest.raises(UserError, match=r"measures single steps, .* add steps_per_execution=1$"):
        config.checked(composed("callbacks.update_ratio=true", "steps_per_execution=50"))
    settings = config.checked(composed("callbacks.update_ratio=true"))
    assert execution.choose(settings, training.prepare(settings)).steps_per_execution == 1


def test_a_diagnosed_run_leaves_its_figures_and_charts(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="makemore"):
        run = train("experiment=diagnose", "steps=450", *SMALL)
    assert {"saturation.png", "update_ratio.png", "scales.png"} <= {path.name for path in run.folder.iterdir()}
    assert "saturation of 5 hidden units: before training " in caplog.text
    measured = charts(run.folder)
    looks = list(range(0, 450, 22))
    assert list(measured["saturation/share"]) == [*looks, 450]
    assert list(measured["update_ratio_log10/W1"]) == list(range(1, 451, 2))
    assert list(measured["gradient_scale/b2"]) == list(measured["weight_scale/b2"]) == list(range(0, 451, 2))
    module, data = made(*SMALL)
    flat = diagnostics.saturated(mlp.hidden_layer(module.p, diagnostics.probe(data.train, 200).contexts))
    assert measured["saturation/share"][0] == pytest.approx(float(flat.float().mean()))
    assert measured["weight_scale/W1"][0] == pytest.approx(float(module.W1.detach().square().mean().sqrt()))
    events = EventAccumulator(str(run.folder))
    events.Reload()
    assert {"saturation", "update_ratio", "scales"} <= set(events.Tags()["images"])


def test_looking_changes_nothing(train: Train) -> None:
    settings = ("steps=60", "steps_per_execution=1", "model.dropout=0.1", *SMALL)
    watched, alone = train("experiment=diagnose", *settings), train("callbacks=none", *settings)
    assert all(torch.equal(watched.parameters[name], alone.parameters[name]) for name in alone.parameters)


def test_what_does_not_need_single_steps_looks_between_calls_of_many(train: Train) -> None:
    settings = ("steps=300", "steps_per_execution=40", "eval_every=100", *SMALL)
    measured = charts(train("callbacks.scales=true", "callbacks.saturation=true", *settings).folder)
    assert list(measured["weight_scale/C"]) == [0, 40, 80, 100, 140, 180, 200, 240, 280, 300]
    assert list(measured["saturation/dead_units"]) == [0, 100, 200, 300]


def test_of_a_run_that_diverged_the_last_numbers_are_shown(train: Train) -> None:
    run = train("experiment=diagnose", "steps=50", "schedule.lr=1e38", *SMALL)
    assert run.metrics["status"] == "diverged"
    assert {"saturation.png", "update_ratio.png", "scales.png"} <= {path.name for path in run.folder.iterdir()}


class Unigram(LanguageModule):
    """The same logits after every context; with parameters or without any."""

    def __init__(self, learns: bool) -> None:
        super().__init__(Vocabulary((".", "a", "b")), {})
        self.bias = nn.Parameter(torch.zeros(3), requires_grad=True) if learns else torch.zeros(3)

    def forward(self, contexts: Tensor) -> Tensor:
        return self.bias.expand(*contexts.shape[:-1], 3)


@pytest.mark.parametrize(("learns", "left"), [(False, set()), (True, {"scales.png", "update_ratio.png"})])
def test_models_that_have_not_what_is_looked_at_are_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, learns: bool, left: set[str]
) -> None:
    (tmp_path / "words.txt").write_text("ab\nba\naa\n")
    path = f"data.path={tmp_path / 'words.txt'}"
    _, data = made("data=text", path, "data.overfit=3", "steps=2", *SMALL)
    trainer: Any = SimpleNamespace(datamodule=data, loggers=[], default_root_dir=tmp_path / "run")
    trainer.default_root_dir.mkdir()
    module = Unigram(learns)
    with caplog.at_level(logging.INFO, logger="makemore"):
        for callback in (diagnostics.Saturation(), diagnostics.UpdateRatio(), diagnostics.Scales()):
            callback.on_train_start(trainer, module)
            callback.on_train_batch_start(trainer, module, None, 0)
            callback.on_train_batch_end(trainer, module, None, None, 0)
            callback.on_validation_end(trainer, module)
            callback.on_train_end(trainer, module)
    assert {path.name for path in trainer.default_root_dir.iterdir()} == left
    assert "saturation: nothing to show, because this model has no hidden layer" in caplog.text
    assert ("update ratio: nothing to show" in caplog.text) is not learns
    assert ("scales: nothing to show" in caplog.text) is not learns


@pytest.mark.parametrize("units", [1, 5, 1000, 3000])
@pytest.mark.parametrize("examples", [1, 200])
def test_the_picture_of_any_layer_can_be_drawn(units: int, examples: int, tmp_path: Path) -> None:
    flat = torch.rand(examples, units, generator=torch.Generator().manual_seed(0)) > 0.3
    figure = plots.saturation({"before training": flat, "after 9 steps": ~flat}, 0.97)
    plots.save(figure, tmp_path / "saturation.png")
    image, histogram = figure.axes[0].images[0], figure.axes[2]
    assert image.get_array().shape == (examples, min(units, 2000))  # type: ignore[union-attr]
    assert sum(bar.get_height() for bar in histogram.patches) >= units  # type: ignore[attr-defined]


def test_figures_of_parameters_name_each_and_keep_their_colors() -> None:
    ratios = {"C": [-3.0, math.nan], "W2": [-2.0, -2.5]}
    axes = plots.update_ratio([1, 5], ratios).axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    assert lines["W2"].get_ydata() == pytest.approx([-2, -2.5])
    assert list(lines["a thousandth: about right"].get_ydata()) == [-3, -3]  # type: ignore[arg-type]
    tensors = {name: torch.randn(4, 3) for name in ("C", "W2", "mine", "yours")} | {"C": torch.full((4, 3), math.nan)}
    sizes = {name: [1.0, 0.1] for name in tensors}
    figure = plots.scales([0, 5], sizes, sizes, tensors, tensors)
    figure.draw_without_rendering()
    curves = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert curves["W2"].get_color() == lines["W2"].get_color()
    assert len({line.get_color() for line in curves.values()}) == 4
    assert curves["mine"].get_ydata() == pytest.approx([0, -1])
    assert [each.get_title() for each in figure.axes[2:6]] == [f"{name}: entries at the end" for name in tensors]
