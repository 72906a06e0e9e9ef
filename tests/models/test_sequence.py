"""What holds for every model that reads documents."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from makemore.config.schema import ModelConfig
from makemore.data import corpus
from makemore.data.documents import fingerprint
from makemore.data.minibatches import EvaluationBatches
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.inference import sampling
from makemore.inference.evaluation import mean_loss, read_own
from makemore.models import model_file, registry
from makemore.models.base import CACHED_ROWS, measure_losses
from makemore.models.contract import check_model
from makemore.models.model_file import TrainedModel
from makemore.models.sequence import SequenceModel, State
from makemore.training import execution
from makemore.training import run as training
from makemore.training.execution import PER_THREAD, choose_threads
from tests.helpers import QUIET, Train, build, check, composed, refused, same_state, seeded

RECURRENT: dict[str, Any] = {"emb_dim": 6, "hidden": 8, "layers": 2, "dropout": 0.0}
SMALL: dict[str, dict[str, Any]] = {
    "bow": {"emb_dim": 6, "hidden": 8},
    "rnn": RECURRENT,
    "gru": RECURRENT,
    "lstm": RECURRENT,
    "transformer": {"width": 8, "heads": 2, "layers": 2, "dropout": 0.0},
}
NAMES = corpus.read(corpus.BUNDLED)
VOCABULARY = Vocabulary.from_documents(NAMES)
every_model = pytest.mark.parametrize("name", SMALL)


def small(name: str, block_size: int = 16) -> SequenceModel:
    model = build(name, len(VOCABULARY), block_size, **SMALL[name])
    assert isinstance(model, SequenceModel)
    with torch.no_grad():
        for parameter in model.parameters():  # far from the start, where all logits are alike
            parameter.add_(torch.randn(parameter.shape, generator=seeded()), alpha=0.5)
    return model


def windows_of(documents: list[str], block_size: int = 16) -> Windows:
    return Windows.from_documents(documents, VOCABULARY, block_size)


def test_all_of_them_are_tested_here() -> None:
    reading = [name for name in registry.names() if registry.model_of(name).by_document]
    assert sorted(SMALL) == reading


@every_model
@pytest.mark.parametrize("block_size", [16, 4])
def test_losses_by_document_are_those_by_windows(name: str, block_size: int) -> None:
    """With 4 the documents do not fit into a context; then the windows decide."""
    model, windows = small(name, block_size), windows_of(NAMES[:200], block_size)
    by_document = EvaluationBatches(windows, by_document=True)
    with torch.inference_mode():
        reading = torch.cat([measure_losses(model, *batch) for batch in by_document])
        looking = torch.cat([measure_losses(model, *batch) for batch in EvaluationBatches(windows)])
    assert len(reading) == len(windows)
    torch.testing.assert_close(reading, looking, rtol=1e-4, atol=1e-5)
    assert mean_loss(model, by_document) == pytest.approx(float(looking.double().mean()), abs=1e-5)


@every_model
def test_reading_keeps_the_contract(name: str) -> None:
    check_model(small(name), *windows_of(NAMES[:2]).gather(torch.arange(6)))


@every_model
@pytest.mark.parametrize("prefix", ["", "ma"])
def test_a_state_gives_the_same_names_as_reading_everything_again(name: str, prefix: str) -> None:
    """Contexts of 4 are soon full, and then move on."""
    model = small(name, 4)
    trained = TrainedModel(model, VOCABULARY, {}, {}, 0, torch.from_numpy(fingerprint([])), [])
    kept = [drawn for drawn, _ in sampling.sample(trained, 50, seeded(), prefix=prefix, max_length=12)]
    start = torch.tensor(VOCABULARY.encode_text(prefix).tolist(), dtype=torch.int64).expand(50, -1)
    again = sampling.draw(trained.logits, start, 4, seeded(), max_length=12)
    assert kept == [VOCABULARY.join([VOCABULARY.tokens[i] for i in row]) for row in again]
    assert len({len(each) for each in kept}) > 3


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "bow"])
def test_activations_are_those_after_a_contexts_last_id(name: str) -> None:
    """A context of one letter after its boundary has the same as a whole document that begins with it."""
    model = small(name)
    contexts, _ = windows_of(["emma"]).gather(torch.arange(5))
    together = model.activations(contexts)
    assert together
    for place, context in enumerate(contexts):
        alone = model.activations(context.unsqueeze(0))
        for layer, values in alone.items():
            assert values.shape == (1, 8)
            torch.testing.assert_close(values[0], together[layer][place])


@every_model
def test_the_gradient_of_a_minibatch_is_that_of_the_mean_over_its_tokens(name: str) -> None:
    model, windows = small(name).double(), windows_of(NAMES[:7])
    (documents,) = EvaluationBatches(windows, by_document=True)
    contexts, targets = windows.gather(torch.arange(len(windows)))
    found = []
    for batch in (documents, (contexts, targets)):
        loss = model.loss_and_gradients(*batch)
        found.append(
            [loss, *(parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None)]
        )
    torch.testing.assert_close(found[0], found[1])


@every_model
def test_runs_do_not_depend_on_calls_and_can_be_taught_and_mixed(train: Train, few_names: Path, name: str) -> None:
    keys = [f"model.{key}={value}" for key, value in SMALL[name].items()]
    data = ("data=text", f"data.path={few_names}", "data.batch_size=4", "data.replacement=false", *QUIET)
    settings = (f"model={name}", *keys, *data, "optimizer=adamw", "schedule.lr=0.01", "steps=30", "eval_every=10")
    single, many = (train(*settings, f"steps_per_execution={steps}") for steps in (1, 10))
    assert same_state(single, many)
    assert single.metrics["dev_loss"] < 3
    taught = train(*settings, "distillation=0.5")
    assert not same_state(single, taught)
    mixed = train("model=mixture", f"model.members=[{single.folder},{single.folder}]", *data)
    assert mixed.metrics["dev_loss"] == pytest.approx(single.metrics["best_dev_loss"], abs=1e-5)


@pytest.mark.parametrize("block_size", [16, 20])
def test_a_mixture_of_readers_and_others_has_the_same_losses_by_document_and_by_window(
    train: Train, few_names: Path, block_size: int
) -> None:
    data = ("data=text", f"data.path={few_names}", "test=true", *QUIET)
    counts = train("model=ngram", f"data.block_size={block_size}", *data)
    reader = train("model=gru", "model.hidden=8", "steps=20", *data)
    mixed = train("model=mixture", f"model.members=[{counts.folder},{reader.folder}]", *data)
    trained = model_file.load(mixed.folder)
    assert trained.model.by_document == (block_size == 16)
    windows = Windows(read_own(trained).parts[1], trained.block_size)
    assert mean_loss(trained.model, EvaluationBatches(windows)) == pytest.approx(mixed.metrics["dev_loss"], abs=1e-6)


def test_a_teacher_knows_no_contexts_that_are_cut(few_names: Path) -> None:
    settings = ("model=rnn", "data=text", f"data.path={few_names}", "steps=5")
    training.check(check(composed(*settings, "distillation=0.5")))
    training.check(check(composed(*settings, "data.block_size=3")))
    for processes in (1, 2):
        with refused("distillation=0.5", "data.block_size=3"):
            shared = f"trainer.processes={processes}"
            training.check(check(composed(*settings, shared, "distillation=0.5", "data.block_size=3")))
    with refused("distillation=0.5", "running"):
        training.check(check(composed(*settings, "distillation=0.5", "data.layout=running")))


def test_a_minibatch_of_everything_is_shared_by_documents(few_names: Path) -> None:
    settings = ("model=gru", "data=text", f"data.path={few_names}", "data.batch_size=null", "data.overfit=3")
    training.check(check(composed(*settings, "trainer.processes=2")))
    with refused("trainer.processes=4", "3"):
        training.check(check(composed(*settings, "trainer.processes=4")))


def test_small_products_keep_one_thread(few_names: Path) -> None:
    """Threads that wait for each other at every product are many times slower where something else uses a core."""
    for name in ("lstm", "transformer"):
        config = check(composed(f"model={name}", "data=text", f"data.path={few_names}", "data.block_size=16"))
        model = registry.build(config.model, 27, 16)
        assert model.operations(32) > 2 * PER_THREAD
        assert choose_threads(model.operations_at_once(32), cores=2) == 1
    assert choose_threads(model.operations_at_once(1024), cores=2) == 2


@every_model
def test_bfloat16_products_learn_about_the_same(
    train: Train, few_names: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "lstm" and not execution.has_bfloat16(on_gpu=False):
        pytest.skip("this processor does not multiply in bfloat16, and PyTorch has no other LSTM for it")
    # Other processors multiply in bfloat16 too, but slower than in float32.
    monkeypatch.setattr(execution, "has_bfloat16", lambda **_: True)
    keys = [f"model.{key}={value}" for key, value in SMALL[name].items()]
    data = ("data=text", f"data.path={few_names}", "steps=20", "optimizer=adamw", "schedule.lr=0.01", *QUIET)
    one, other = (train(f"model={name}", *keys, *data, f"trainer.precision={p}") for p in ("float32", "bf16"))
    assert not same_state(one, other)
    assert one.metrics["dev_loss"] == pytest.approx(other.metrics["dev_loss"], abs=0.03)


def test_activations_of_gated_networks_are_those_of_their_formulas() -> None:
    (context,), _ = windows_of(["emma"]).gather(torch.tensor([4]))
    gru: Any = small("gru")
    lstm = small("lstm")
    with torch.no_grad():
        _, (c_before, *_) = gru.read(context[-5:-1].unsqueeze(0))
        _, (h, *_) = gru.read(context[-5:].unsqueeze(0))
        x, before, cell = gru.C(context[-1]), c_before[0, 0], gru.layers[0]
        r, z, n = (x @ cell.weight_ih_l0.T + cell.bias_ih_l0).split(8)
        r_h, z_h, n_h = (before @ cell.weight_hh_l0.T + cell.bias_hh_l0).split(8)
        n, z = torch.tanh(n + torch.sigmoid(r + r_h) * n_h), torch.sigmoid(z + z_h)
        torch.testing.assert_close(gru.activations(context.unsqueeze(0))["layers.0.n"][0], n)
        torch.testing.assert_close(h[0, 0], (1 - z) * n + z * before)

        _, state = lstm.read(context[-5:].unsqueeze(0))
        found = lstm.activations(context.unsqueeze(0))
        for layer in range(2):
            torch.testing.assert_close(found[f"layers.{layer}.tanh_c"], state[2 * layer + 1][:, 0].tanh())


@every_model
def test_the_diagnosis_shows_what_there_is(train: Train, few_names: Path, name: str) -> None:
    keys = [f"model.{key}={value}" for key, value in SMALL[name].items()]
    data = ("data=text", f"data.path={few_names}", "steps=3", "logger=none")
    run = train(f"model={name}", *keys, *data, "callbacks=[saturation,update_ratio,scales]")
    figures = {"update_ratio.png", "scales.png"} | ({"saturation.png"} if name != "transformer" else set())
    assert {path.name for path in run.folder.glob("*.png")} == figures


@pytest.mark.filterwarnings("error:constrained_layout")
def test_the_diagnosis_has_room_for_a_transformer_of_its_usual_size(train: Train, few_names: Path) -> None:
    data = ("data=text", f"data.path={few_names}", "data.batch_size=4", "steps=2", "logger=none")
    run = train("model=transformer", *data, "callbacks=[update_ratio,scales]")
    assert {path.name for path in run.folder.glob("*.png")} == {"update_ratio.png", "scales.png"}


def test_windows_are_evaluated_within_the_budget_for_logits() -> None:
    model, windows = small("gru", 8), windows_of(NAMES[:300], 8)
    largest = 0
    read = model.read

    def measure(ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        nonlocal largest
        largest = max(largest, ids.numel())
        return read(ids, state)

    model.read = measure  # type: ignore[method-assign]
    with torch.inference_mode():
        measure_losses(model, *windows.gather(torch.arange(len(windows))))
    assert largest <= CACHED_ROWS


class Reader(SequenceModel):
    """Counts how often each token was read so far."""

    def __init__(self) -> None:
        super().__init__(ModelConfig("bow"), vocabulary=5, block_size=4)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        before = 0 if state is None else state[0].unsqueeze(1)
        counts = before + torch.nn.functional.one_hot(ids, 5).float().cumsum(1)
        return self.scale * counts, (counts[:, -1],)


class LooksAhead(Reader):
    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        logits, state = super().read(ids, state)
        return logits + ids.sum(1)[:, None, None], state


class Forgets(Reader):
    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        return super().read(ids, None)


class RowsSecond(Reader):
    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        logits, (counts,) = super().read(ids, None if state is None else (state[0][0],))
        return logits, (counts.unsqueeze(0),)


@pytest.mark.parametrize("model", [LooksAhead(), Forgets(), RowsSecond()])
def test_a_model_that_reads_wrongly_is_refused_before_training(model: Reader) -> None:
    with refused("model.py", "read"):
        check_model(model, torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
