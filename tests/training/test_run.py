import io
import json
import logging
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image, ImageChops
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.backend_context import Context

from makemore.inference import sampling
from makemore.models import model_file
from makemore.randomness import Use, make_generator
from makemore.training import run as training
from makemore.training import schedule
from tests.helpers import QUIET, Run, Train, check, composed, refused, same_state


@pytest.fixture
def small(train: Train) -> Run:
    return train("steps=250", "steps_per_execution=30", "eval_every=100", "test=true")


def test_a_run_leaves_everything_that_it_promises(small: Run) -> None:
    left = {path.name for path in small.folder.iterdir()}
    assert {
        "config.yaml",
        "best.safetensors",
        "last.ckpt",
        "metrics.json",
        "loss.png",
        "embedding.png",
        "samples.txt",
    } <= left
    assert any(name.startswith("events.out.tfevents") for name in left)
    metrics = json.loads((small.folder / "metrics.json").read_text())
    assert set(metrics) == {
        "train_loss",
        "dev_loss",
        "best_dev_loss",
        "test_loss",
        "steps",
        "parameters",
        "fit_seconds",
        "examples_per_second",
        "seed",
        "status",
    }
    assert (metrics["steps"], metrics["parameters"], metrics["seed"]) == (250, 11_897, 2147483647)
    assert metrics["best_dev_loss"] <= metrics["dev_loss"]
    resolved = (small.folder / "config.yaml").read_text()
    assert "steps: 250" in resolved
    assert "${" not in resolved


@pytest.mark.parametrize("model", ["mlp", "ngram", "wavenet"])
def test_a_run_can_be_repeated_from_what_it_leaves(train: Train, few_names: Path, model: str) -> None:
    once = train("data=text", f"data.path={few_names}", f"model={model}", "steps=20", *QUIET)
    content = OmegaConf.load(once.folder / "config.yaml")
    assert isinstance(content, DictConfig)
    del content["defaults"]
    nodes = composed(f"model={model}")
    nodes.merge_with(content)
    again = once.folder.with_name("again")
    again.mkdir()
    assert same_state(once, Run(again, training.run(check(nodes), again)))


def test_the_learning_rate_is_the_schedules_at_every_step(train: Train, few_names: Path) -> None:
    for per_execution in (1, 7):
        run = train(
            *("data=text", f"data.path={few_names}", "model=bigram", "callbacks=none", "steps=20", "log_every=1"),
            *("schedule=exponential", f"steps_per_execution={per_execution}"),
        )
        expected = [schedule.exponential(at, steps=20, lr=0.1, end_lr=0.001) for at in range(20)]
        assert list(run.points("optimizer/learning_rate").values()) == pytest.approx(expected)


def test_minibatches_that_do_not_fit_into_memory_are_refused(train: Train, few_names: Path) -> None:
    with refused("data.batch_size=1000000000", "16,000 GB"):
        train("data=text", f"data.path={few_names}", "data.block_size=1000", "data.batch_size=1000000000", *QUIET)


def test_test_loss_is_looked_at_only_when_asked_for(train: Train) -> None:
    assert "test_loss" not in train("steps=5", *QUIET).metrics


def test_samples_are_what_sample_py_makes_of_the_best_checkpoint(small: Run) -> None:
    names = (small.folder / "samples.txt").read_text().splitlines()
    model = model_file.load(small.folder)
    again = [name for name, _ in sampling.sample(model, 20, make_generator(2147483647, Use.sampling))]
    assert names == again
    assert len(names) == 20


def test_tensorboard_has_steps_on_its_axis_and_results_with_the_hyper_parameters(small: Run) -> None:
    events = small.events
    assert list(small.points("loss/dev")) == [100, 200, 250]
    assert list(small.points("loss/train")) == [*range(12, 250, 12), 250]
    rates = small.points("optimizer/learning_rate")
    assert list(rates) == list(range(0, 250, 12))
    assert (rates[120], rates[132]) == pytest.approx((0.1, 0.01))
    for tag, result in (("best_dev", "best_dev_loss"), ("dev", "dev_loss"), ("train_split", "train_loss")):
        *_, last = events.Scalars(f"loss/{tag}")
        assert (last.step, last.value) == (250, pytest.approx(small.metrics[result], abs=1e-5))
    best = list(small.points("loss/best_dev").values())
    assert best == [min(list(small.points("loss/dev").values())[:n]) for n in (1, 2, 3)]
    speeds = small.points("optimizer/examples_per_s")
    assert list(speeds) == [100, 200, 250] and all(speed > 0 for speed in speeds.values())
    assert {tag.partition("/")[0] for tag in events.Tags()["scalars"]} == {"loss", "optimizer"}


def test_the_hparams_tab_lists_what_differs_first(train: Train, tmp_path: Path) -> None:
    for number, settings in enumerate(
        (("model.hidden=5", "schedule.drop_at=0.9"), ("model.hidden=6",), ("model=ngram", "seed=3"))
    ):
        run = train(*settings, "steps=2", "data.overfit=3", "callbacks=none")
        run.folder.rename(tmp_path / f"run-{number}")
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    context, request = Context(TBContext(data_provider=MultiplexerDataProvider(runs, str(tmp_path)))), RequestContext()
    columns = context.experiment_from_metadata(request, "", True, context.hparams_metadata(request, ""), [])
    names = [column.name for column in columns.hparam_infos]
    assert names[:5] == ["drop_at", "hidden", "model", "seed", "batch_size"]
    metrics = [metric.name.tag for metric in columns.metric_infos]
    assert metrics[:5] == [
        *("loss/best_dev", "loss/dev", "loss/train", "loss/train_split"),
        "optimizer/examples_per_s",
    ]


def test_tensorboard_has_the_figures_and_the_samples(small: Run) -> None:
    events = small.events
    assert {"pictures/loss", "pictures/embedding"} <= set(events.Tags()["images"])
    for name in ("loss", "embedding"):
        (image,) = events.Images(f"pictures/{name}")
        shown, left = Image.open(io.BytesIO(image.encoded_image_string)), Image.open(small.folder / f"{name}.png")
        assert not ImageChops.difference(shown.convert("RGB"), left.convert("RGB")).getbbox()
        assert image.step == 250
    assert "samples/text_summary" in events.Tags()["tensors"]


def test_hyper_parameters_are_flat_plain_and_of_one_type_in_all_runs(train: Train) -> None:
    types: dict[str, type] = {}
    for settings in (
        (),
        ("optimizer=adamw", "schedule=cosine", "data.batch_size=null", "distillation=0.5"),
        ("model=ngram",),
        ("model=ngram", "model.discount=0.5"),
        ("model=bigram",),
        ("model=wavenet",),
    ):
        run = train("steps=2", "data.overfit=3", *settings, *QUIET)
        described = model_file.load(run.folder).settings
        assert all(type(value) in (str, int, float) for value in described.values())
        assert described["data"] == "names, first 3"
        for name, value in described.items():
            assert (types.setdefault(name, type(value)) is str) == isinstance(value, str)
        asked = dict(setting.partition("=")[::2] for setting in settings)
        assert described["model"] == asked.get("model", "mlp")
        assert ("hidden" in described) == (described["model"] in ("mlp", "wavenet"))
        assert ("optimizer" in described) == (described["model"] != "ngram")


def test_train_loss_in_tensorboard_is_the_mean_of_the_steps_since_the_last_point(train: Train) -> None:
    points = []
    for per_execution in (1, 70):
        run = train("steps=200", f"steps_per_execution={per_execution}", "eval_every=200", "callbacks=none")
        points.append(run.points("loss/train"))
    assert points[0] == pytest.approx(points[1])
    assert list(points[0]) == list(range(10, 201, 10))


@pytest.mark.parametrize("gradients", ["compiled", "closed_form", "autograd"])
def test_a_distilled_run_reports_the_loss_of_the_next_token(train: Train, gradients: str) -> None:
    first = []
    for share in (0.0, 0.5):
        run = train("steps=1", f"model.gradients={gradients}", f"distillation={share}", "callbacks=none")
        first.append(run.points("loss/train")[1])
    assert first[1] == pytest.approx(first[0], rel=1e-6)


def test_overfitting_reaches_the_published_loss_and_no_less(train: Train) -> None:
    run = train("experiment=overfit", *QUIET)
    assert run.metrics["parameters"] == 3481
    assert run.metrics["train_loss"] == pytest.approx(0.2561, abs=1e-4)
    assert run.metrics["train_loss"] == pytest.approx(run.metrics["dev_loss"])


def test_any_unicode_trains_and_samples(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(["Zoë", "Łukasz", "名前", "😀 smile", "naïve\tone"] * 4), encoding="utf-8")
    run = train("steps=30", "data=text", f"data.path={path}")
    assert (run.folder / "embedding.png").exists()
    assert len((run.folder / "samples.txt").read_text(encoding="utf-8").split("\n")) == 21
    rows = next(run.folder.rglob("metadata.tsv")).read_text(encoding="utf-8").splitlines()
    model = model_file.load(run.folder)
    assert len(rows) == 1 + len(model.vocabulary)


def test_a_run_says_that_the_loss_of_a_short_dev_split_means_little(
    train: Train, few_names: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def reports(*settings: str) -> bool:
        caplog.clear()
        with caplog.at_level(logging.INFO, "makemore"):
            train("model=ngram", *settings, *QUIET)
        return any("says little" in message for message in caplog.messages)

    assert reports("data=text", f"data.path={few_names}")
    assert not reports()


def test_a_search_for_a_learning_rate_offers_no_model(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "makemore"):
        train("experiment=lr_range", "steps=100", "logger=none")
        assert not any("sample.py" in message for message in caplog.messages)
        train("steps=100", *QUIET)
        assert any("sample.py" in message for message in caplog.messages)


@pytest.mark.parametrize(("profiler", "timed"), [("simple", "run_training_batch"), ("advanced", "function calls")])
def test_a_profiler_leaves_its_times_in_the_runs_folder(
    train: Train, few_names: Path, profiler: str, timed: str
) -> None:
    run = train("data=text", f"data.path={few_names}", "steps=20", f"trainer.profiler={profiler}", *QUIET)
    assert timed in (run.folder / "fit-profile.txt").read_text()
