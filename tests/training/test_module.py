from pathlib import Path
from typing import Any

import pytest
import torch

from makemore.config.schema import Init
from makemore.models.mlp import formulas as mlp
from makemore.sweeps.folder import loss_of
from makemore.training import module
from tests.helpers import QUIET, Run, Train


def same_weights(a: Run, b: Run) -> bool:
    return all(torch.equal(a.parameters[name], b.parameters[name]) for name in mlp.Parameters._fields)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("model.dropout=0.3", "model.distillation=0.5", "optimizer=adamw", "schedule=one_cycle", "schedule.lr=0.01"),
        ("data.replacement=false", "data.batch_size=7", "optimizer.momentum=0.9", "schedule.lr=0.01"),
        ("model.gradients=closed_form",),
        ("model.gradients=autograd", "schedule=cosine"),
    ],
)
def test_weights_do_not_depend_on_steps_per_execution(train: Train, settings: tuple[str, ...]) -> None:
    one = train("steps=120", "steps_per_execution=1", "eval_every=120", *settings, *QUIET)
    fifty = train("steps=120", "steps_per_execution=50", "eval_every=40", *settings, *QUIET)
    assert same_weights(one, fifty)
    assert one.metrics["dev_loss"] == fifty.metrics["dev_loss"]
    assert one.metrics["train_loss"] == fifty.metrics["train_loss"]


@pytest.mark.parametrize(
    "optimizer", [("optimizer=sgd",), ("optimizer=adamw", "schedule.lr=0.01", "model.dropout=0.2")]
)
def test_formulas_and_autograd_train_the_same_model(train: Train, optimizer: tuple[str, ...]) -> None:
    by_autograd = train("steps=300", "model.gradients=autograd", *optimizer, *QUIET)
    for how in ("compiled", "closed_form"):
        run = train("steps=300", f"model.gradients={how}", *optimizer, *QUIET)
        assert run.metrics["train_loss"] == pytest.approx(by_autograd.metrics["train_loss"], abs=1e-3)
        for name in mlp.Parameters._fields:
            torch.testing.assert_close(run.parameters[name], by_autograd.parameters[name], atol=2e-3, rtol=0)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(train: Train) -> None:
    a, b, c = (train("steps=50", f"seed={seed}", *QUIET) for seed in (1, 1, 2))
    assert same_weights(a, b)
    assert not same_weights(a, c)


def test_global_step_counts_optimizer_steps(train: Train) -> None:
    run = train("steps=230", "steps_per_execution=50", "eval_every=100", *QUIET)
    content = torch.load(run.folder / "last.ckpt", weights_only=True)
    assert content["global_step"] == run.metrics["steps"] == content["makemore"]["step"] == 230


def test_plain_sgd_takes_the_optimizers_own_step() -> None:
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(50, generator=generator) for _ in range(2)]
    gradients = [torch.randn(50, generator=generator) for _ in range(2)]
    stepped = []
    for update in (module.optimizer_step, module.descend):
        parameters = [torch.nn.Parameter(value.clone()) for value in values]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer = torch.optim.SGD(parameters, lr=1)
        assert module.is_plain_sgd(optimizer)
        update(optimizer, 0.1)
        stepped.append(torch.cat([parameter.detach() for parameter in parameters]))
    assert torch.equal(*stepped)


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"weight_decay": 0.1}, {"maximize": True}])
def test_any_other_sgd_is_not_plain(settings: dict[str, Any]) -> None:
    assert not module.is_plain_sgd(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1, **settings))


def test_losses_of_a_run_are_means_over_whole_splits(train: Train, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["emma", "ava", "mia", "amelia", "ella", "eva", "liam", "lia", "ali", "mila"] * 3))
    run = train("steps=5", "test=true", "data=text", f"data.path={names}", "model.hidden=9", *QUIET)
    from makemore.data import corpus
    from makemore.data.vocabulary import Vocabulary
    from makemore.data.windows import Windows

    documents = corpus.read(names)
    vocabulary = Vocabulary.from_documents(documents)
    p = mlp.Parameters(**run.parameters)
    for name, part in zip(("train", "dev", "test"), corpus.split(documents, [0.8, 0.1, 0.1], 42), strict=True):
        windows = Windows.from_documents(part, vocabulary, 3)
        expected = mlp.loss(p, *windows.gather(torch.arange(len(windows)))).item()
        assert run.metrics[f"{name}_loss"] == pytest.approx(expected, abs=1e-5)


def test_evaluation_holds_few_logits_at_a_time_and_its_loss_does_not_depend_on_it(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("steps=3", "model.gradients=closed_form", "model.hidden=9", *QUIET)
    at_once = train(*settings)
    seen: list[int] = []

    def counting(p: mlp.Parameters, contexts: torch.Tensor) -> torch.Tensor:
        z = logits(p, contexts)
        seen.append(z.numel())
        return z

    logits = mlp.logits
    monkeypatch.setattr(mlp, "logits", counting)
    monkeypatch.setattr(module, "LOGITS_BUDGET", 2000)
    in_pieces = train(*settings)
    assert max(seen) <= 2000
    for name in ("train_loss", "dev_loss"):
        assert in_pieces.metrics[name] == pytest.approx(at_once.metrics[name], abs=1e-6)


def test_a_diverged_run_stops_says_so_and_counts_as_the_worst(train: Train) -> None:

    settings = ("steps=2000", "schedule=constant", "schedule.lr=1e38", "eval_every=500", "logger=none")
    runs = [train(*settings, f"steps_per_execution={k}") for k in (1, 100)]
    for run in runs:
        assert run.metrics["status"] == "diverged"
        assert run.metrics["steps"] == runs[0].metrics["steps"] < 100
        assert loss_of(run.metrics) == float("inf")
        assert '"dev_loss": null' in (run.folder / "metrics.json").read_text()
        assert not (run.folder / "best.ckpt").exists()
        assert (run.folder / "last.ckpt").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use on this machine")
def test_a_gpu_trains_the_same_model(train: Train) -> None:
    cpu, gpu = (train("steps=200", f"trainer={kind}", *QUIET) for kind in ("cpu", "gpu"))
    assert gpu.metrics["train_loss"] == pytest.approx(cpu.metrics["train_loss"], abs=1e-2)


def test_initial_weights_are_the_lectures(train: Train) -> None:
    run = train("steps=1", "schedule.lr=1e-30", *QUIET)
    drawn = mlp.initial(27, 3, 10, 200, Init.normal, torch.Generator().manual_seed(2147483647))
    for name, value in drawn._asdict().items():
        assert torch.equal(run.parameters[name], value)
