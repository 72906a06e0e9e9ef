from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore.config.schema import DataConfig, Source
from makemore.data import datamodule
from makemore.data.datamodule import CHUNK_BUDGET, EvaluationBatches, Minibatches, WindowDataModule
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.errors import UserError

NAMES = ["emma", "olivia", "ava", "isabella", "sophia"]
WINDOWS = Windows.from_documents(NAMES, Vocabulary.from_documents(NAMES), 3)


def minibatches(**changes: Any) -> Minibatches:
    settings: dict[str, Any] = {
        "batch_size": 4,
        "replacement": True,
        "steps": 30,
        "steps_per_execution": 7,
        "eval_every": 10,
        "seed": 1,
    }
    return Minibatches(WINDOWS, **settings | changes)


def drawn(items: Minibatches) -> tuple[torch.Tensor, torch.Tensor]:
    """All minibatches of a run: contexts (steps, B, block_size), targets (steps, B)."""
    batches = list(items)
    return torch.cat([batch.contexts for batch in batches]), torch.cat([batch.targets for batch in batches])


def data(tmp_path: Path, names: list[str], **changes: Any) -> WindowDataModule:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    settings: dict[str, Any] = {
        "source": Source.text,
        "path": str(path),
        "block_size": 3,
        "batch_size": 32,
        "splits": [0.8, 0.1, 0.1],
        "split_seed": 42,
        "unique": False,
        "replacement": True,
        "overfit": None,
    }
    module = WindowDataModule(DataConfig(**settings | changes), steps=10, steps_per_execution=5, eval_every=10, seed=1)
    module.prepare_data()
    module.setup()
    return module


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 70), st.booleans(), st.sampled_from([1, 4, 32, 50, None]))
def test_what_is_drawn_does_not_depend_on_steps_per_execution(
    per_execution: int, eval_every: int, steps: int, replacement: bool, batch_size: int | None
) -> None:
    same = {"steps": steps, "replacement": replacement, "batch_size": batch_size}
    one_at_a_time = drawn(minibatches(steps_per_execution=1, eval_every=steps, **same))
    in_chunks = minibatches(steps_per_execution=per_execution, eval_every=eval_every, **same)
    for a, b in zip(one_at_a_time, drawn(in_chunks), strict=True):
        assert torch.equal(a, b)
    sizes = [len(batch.targets) for batch in in_chunks]
    assert len(in_chunks) == len(sizes)
    ends = torch.tensor(sizes).cumsum(0).tolist()
    # Evaluations fall between Lightning's batches, the same number of them apart.
    due = list(range(eval_every, steps + 1, eval_every))
    assert set(due) <= set(ends)
    assert [ends.index(at) + 1 for at in due] == [in_chunks.items_per_evaluation * i for i in range(1, len(due) + 1)]


def test_shuffled_epochs_use_every_example_equally_often() -> None:
    everything = Windows(WINDOWS.stream, WINDOWS.positions, 3)
    assert len(everything) == 32
    contexts, targets = drawn(minibatches(replacement=False, batch_size=5, steps=32))
    expected_contexts, expected_targets = everything.gather(torch.arange(32).repeat(5))
    rows = torch.cat([contexts.flatten(0, 1), targets.flatten().unsqueeze(1)], dim=1)
    expected = torch.cat([expected_contexts, expected_targets.unsqueeze(1)], dim=1)
    assert sorted(rows.tolist()) == sorted(expected.tolist())
    # Each epoch is a permutation of its own.
    assert rows[:32].tolist() != rows[32:64].tolist()
    assert sorted(rows[:32].tolist()) == sorted(rows[32:64].tolist())


def test_full_batch_is_every_example_in_order() -> None:
    contexts, targets = drawn(minibatches(batch_size=None, steps=2))
    assert torch.equal(contexts[0], contexts[1])
    assert torch.equal(targets[0], WINDOWS.gather(torch.arange(32))[1])


def test_lightning_batches_stay_within_their_budget() -> None:
    windows = Windows(WINDOWS.stream, WINDOWS.positions, 3)
    items = Minibatches(
        windows, batch_size=2**20, replacement=True, steps=9, steps_per_execution=100, eval_every=9, seed=1
    )
    assert items.steps_per_execution * 2**20 * 3 <= CHUNK_BUDGET


def test_evaluation_covers_every_example_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datamodule, "EVALUATION_ROWS", 5)
    batches = EvaluationBatches(WINDOWS)
    contexts = torch.cat([batch.contexts for batch in batches])
    assert torch.equal(contexts, WINDOWS.gather(torch.arange(32))[0])
    assert len(batches) == 7


def test_unique_leaves_no_dev_document_in_train(tmp_path: Path) -> None:
    names = [f"{c}{i % 50}" for i in range(100) for c in "ab"]
    assert data(tmp_path, names).number == 200
    module = data(tmp_path, names, unique=True)
    assert module.number == 100
    assert len(module.known) == 80


def test_overfitting_uses_the_files_first_documents_everywhere_and_its_whole_vocabulary(tmp_path: Path) -> None:
    module = data(tmp_path, [*NAMES, "zoe"], overfit=5)
    assert [len(module.train), len(module.dev), len(module.test)] == [32, 32, 32]
    assert "z" in module.vocabulary.tokens
    with pytest.raises(UserError, match=r"data\.overfit=7 is more than the 6 documents"):
        data(tmp_path, [*NAMES, "zoe"], overfit=7)


def test_lecture_split_through_the_data_module(lecture_names: Path) -> None:
    settings = DataConfig(Source.text, str(lecture_names), 3, 32, [0.8, 0.1, 0.1], 42, False, True, None)
    module = WindowDataModule(settings, steps=1, steps_per_execution=1, eval_every=1, seed=1)
    module.setup()
    assert [len(module.train), len(module.dev), len(module.test)] == [182_625, 22_655, 22_866]
    settings.unique = True
    without = WindowDataModule(settings, steps=1, steps_per_execution=1, eval_every=1, seed=1)
    without.setup()
    assert without.number == 32_033 - 2_539
