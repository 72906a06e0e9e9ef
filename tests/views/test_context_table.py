import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.errors import UserError
from makemore.views import context_table
from makemore.views.context_table import ContextTable, Row
from tests.views.observe import Counts, Observed

NAMES = ["emma", "ava", "mia", "ella", "eva"]
VOCABULARY = Vocabulary.from_documents(NAMES)


def windows(names: list[str], block_size: int) -> Windows:
    return Windows.from_documents(names, VOCABULARY, block_size)


def contexts_of(names: list[str], length: int) -> set[str]:
    padded = ["." * length + name + "." for name in names]
    return {text[i : i + length] for text in padded for i in range(len(text) - length)}


def test_rows_are_counted_as_a_person_would() -> None:
    table = list(context_table.count(windows(NAMES, 3), windows(["emma", "ave"], 3), len(VOCABULARY)))
    assert [row.length for row in table] == [1, 2, 3]
    for row in table:
        assert row.possible == len(VOCABULARY) ** row.length
        assert row.seen == len(contexts_of(NAMES, row.length))


def test_a_dev_example_that_was_never_seen_is_impossible_without_smoothing() -> None:
    # Of the eight examples of 'emma.' and 'ava', with 'av' then 'e', only "ave" ends in ways that no name does.
    row = next(context_table.count(windows(NAMES, 1), windows(["emma", "ave"], 1), len(VOCABULARY)))
    assert row.unknown == 0
    pairs = {text[i : i + 2] for text in ("." + name + "." for name in NAMES) for i in range(len(text) - 1)}
    dev = [text[i : i + 2] for text in (".emma.", ".ave.") for i in range(len(text) - 1)]
    assert row.impossible == pytest.approx(1 - sum(pair in pairs for pair in dev) / len(dev))
    assert row.impossible > 0
    assert math.isfinite(row.add_one) and math.isfinite(row.kneser_ney)


def test_a_context_that_was_never_seen_is_unknown_and_does_not_count_as_possible() -> None:
    table = list(context_table.count(windows(NAMES, 3), windows(["emma", "ave"], 3), len(VOCABULARY)))
    seen = contexts_of(NAMES, 3)
    contexts = [text[i : i + 3] for text in ("...emma.", "...ave.") for i in range(len(text) - 3)]
    assert table[2].unknown == pytest.approx(sum(context not in seen for context in contexts) / len(contexts))
    for row in table:
        assert 0 <= row.unknown + row.impossible < 1


def test_on_the_training_split_no_smoothing_is_the_best() -> None:
    for row in context_table.count(windows(NAMES, 3), windows(NAMES, 3), len(VOCABULARY)):
        assert row.unknown == row.impossible == 0
        assert row.unsmoothed < min(row.add_one, row.kneser_ney)
        assert f"{row.unsmoothed:.4f}" in context_table.format_table([row])


def test_shorter_contexts_are_the_ends_of_longer_ones() -> None:
    long, short = windows(NAMES, 3), windows(NAMES, 1)
    cut = Windows(long.stream, 1)
    every = torch.arange(len(long))
    for a, b in zip(cut.gather(every), short.gather(every), strict=True):
        assert torch.equal(a, b)


def test_the_figure_shows_each_length() -> None:
    table = [Row(n, 27**n, 20 * n, 0.1, 0.05 * n, 2.0, 2.5, 2.2) for n in (1, 2, 3)]
    counts, losses = context_table.draw(table).axes
    assert [np.asarray(line.get_ydata()).tolist() for line in counts.lines] == [[27, 729, 19683], [20, 40, 60]]
    assert len(losses.lines) == 3


def test_any_run_can_have_the_table(tmp_path: Path) -> None:
    observed = Observed(tmp_path, Counts(), ContextTable()).fit()
    assert observed.files == {"context_table.json", "context_table.png"}


def test_the_block_size_is_limited() -> None:
    config: Any = SimpleNamespace(data=SimpleNamespace(block_size=13))
    with pytest.raises(UserError, match=r"data.block_size=13 .* 12"):
        ContextTable().check(config)
    config.data.block_size = 12
    ContextTable().check(config)
