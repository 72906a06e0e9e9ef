from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from makemore.config.status import Status
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.views import heat_map
from tests.views.observe import VOCABULARY, Counts, Observed


class Bigrams(Counts):
    def pairs(self, train: Windows) -> Tensor:
        return torch.ones(len(VOCABULARY), len(VOCABULARY)) / len(VOCABULARY)


@pytest.mark.parametrize(
    ("pairs", "numbers"),
    [
        (torch.tensor([[0, 12], [3, 4]]), ["0", "12", "3", "4"]),
        (torch.tensor([[0.0, 1.0], [0.123, 0.877]]), ["0", "100.0", "12.3", "87.7"]),
    ],
)
def test_every_cell_has_its_pair_and_its_number(pairs: Tensor, numbers: list[str]) -> None:
    texts = [text.get_text() for text in heat_map.draw(pairs, Vocabulary((".", "$"))).axes[0].texts]
    assert texts[::2] == ["..", ".$", "$.", "$$"]
    assert texts[1::2] == numbers


@pytest.mark.parametrize(
    ("settings", "files"),
    [
        ({}, {"bigram.png"}),
        ({"block_size": 2}, set()),
        ({"status": Status.diverged}, set()),
        ({"vocabulary": Vocabulary((".", *map(chr, range(97, 97 + 64))))}, set()),
    ],
)
def test_one_token_and_few_different_ones_can_be_drawn(
    tmp_path: Path, settings: dict[str, Any], files: set[str]
) -> None:
    observed = Observed(tmp_path, Bigrams(), heat_map.HeatMap())
    vars(observed.run).update({"block_size": 1} | settings)
    assert observed.fit().files == files
