from collections.abc import Collection

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore.data import minibatches
from makemore.data.minibatches import EvaluationBatches, Minibatches
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows

NAMES = ["emma", "olivia", "ava", "isabella", "sophia"]
WINDOWS = Windows.from_documents(NAMES, Vocabulary.from_documents(NAMES), 3)
EXAMPLES = 32


def make(
    counts: Collection[int], batch_size: int | None = 4, replacement: bool = True, per_step: int = 1
) -> Minibatches:
    return Minibatches(WINDOWS, batch_size, replacement, counts, seed=1, per_step=per_step)


def draw(items: Minibatches) -> tuple[torch.Tensor, torch.Tensor]:
    """All minibatches of a run: contexts (steps, B, block_size), targets (steps, B)."""
    batches = list(items)
    return torch.cat([batch.contexts for batch in batches]), torch.cat([batch.targets for batch in batches])


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
    st.booleans(),
    st.sampled_from([1, 4, 32, 50, None]),
    st.integers(1, 3),
)
def test_what_is_drawn_does_not_depend_on_how_many_are_drawn_at_a_time(
    counts: list[int], replacement: bool, batch_size: int | None, per_step: int
) -> None:
    one_at_a_time = draw(make([1] * sum(counts), batch_size, replacement, per_step))
    in_chunks = make(counts, batch_size, replacement, per_step)
    for a, b in zip(one_at_a_time, draw(in_chunks), strict=True):
        assert torch.equal(a, b)
    again = make(counts, batch_size, replacement, per_step)
    assert [len(batch.targets) for batch in again] == counts
    assert len(again) == len(counts)


def test_shuffled_epochs_use_every_example_equally_often() -> None:
    assert len(WINDOWS) == EXAMPLES
    contexts, targets = draw(make([7, 20, 5], batch_size=5, replacement=False))
    expected_contexts, expected_targets = WINDOWS.gather(torch.arange(EXAMPLES).repeat(5))
    rows = torch.cat([contexts.flatten(0, 1), targets.flatten().unsqueeze(1)], dim=1)
    expected = torch.cat([expected_contexts, expected_targets.unsqueeze(1)], dim=1)
    assert sorted(rows.tolist()) == sorted(expected.tolist())
    # Each epoch is a permutation of its own.
    assert rows[:32].tolist() != rows[32:64].tolist()
    assert sorted(rows[:32].tolist()) == sorted(rows[32:64].tolist())


def test_several_minibatches_in_a_step_have_shuffled_epochs_of_their_own() -> None:
    contexts, targets = draw(make([7, 20, 5], batch_size=5, replacement=False, per_step=2))
    first, second = (
        torch.cat([c.flatten(0, 1), t.reshape(-1, 1)], 1).tolist()
        for c, t in zip(contexts.chunk(2, 1), targets.chunk(2, 1), strict=True)
    )
    assert first != second
    for epoch in range(5):
        assert sorted(first[32 * epoch :][:32]) == sorted(second[32 * epoch :][:32]) == sorted(first[:32])


def test_full_batch_is_every_example_in_order() -> None:
    contexts, targets = draw(make([2], batch_size=None))
    assert torch.equal(contexts[0], contexts[1])
    assert torch.equal(targets[0], WINDOWS.gather(torch.arange(EXAMPLES))[1])


def test_evaluation_covers_every_example_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minibatches, "EVALUATION_ROWS", 5)
    batches = EvaluationBatches(WINDOWS)
    contexts = torch.cat([batch.contexts for batch in batches])
    assert torch.equal(contexts, WINDOWS.gather(torch.arange(EXAMPLES))[0])
    assert len(batches) == 7
