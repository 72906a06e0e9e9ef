import torch

from makemore.config.schema import Level, ModelConfig
from makemore.data.vocabulary import Vocabulary
from makemore.inference.neighbours import find_neighbours, format_neighbours, list_common_words, measure_neighbours
from makemore.models.base import LanguageModel
from makemore.models.model_file import TrainedModel
from tests.helpers import build, refused

VOCABULARY = Vocabulary((".", "king", ",", "queen", "apple", "<unk>"), Level.word)
C = torch.tensor([[1.0, 1.0], [1.0, 0.1], [0.0, -1.0], [2.0, 0.4], [-1.0, 1.0], [0.0, 3.0]])


def trained(model: LanguageModel) -> TrainedModel:
    return TrainedModel(model, VOCABULARY, {"model": "x"}, {}, 0, torch.empty(0), [])


def test_neighbours_are_ordered_by_the_cosine_of_their_angle_whatever_their_length() -> None:
    found = find_neighbours(C, VOCABULARY, ["king", "apple"])
    assert [word for word, _ in found["king"]] == ["queen", ",", "apple"]  # `<unk>` is no word
    expected = torch.cosine_similarity(C[[1]], C[[3, 2, 4]])
    torch.testing.assert_close(torch.tensor([cosine for _, cosine in found["king"]]), expected)
    assert found["apple"][0][0] == "queen"
    assert "queen 1.00" in format_neighbours(found).splitlines()[0]


def test_a_model_without_vectors_and_an_unknown_word_are_refused() -> None:
    with refused("neighbours=['king']", "x"):
        measure_neighbours(trained(LanguageModel(ModelConfig("x"), 6, 2)), ["king"])
    model = trained(build("wavenet", 6, 2, emb_dim=2, hidden=3))
    with refused("neighbours=[pear]", "king , queen"):
        measure_neighbours(model, ["king", "pear"])
    assert set(measure_neighbours(model, ["king"])) == {"king"}


def test_common_words_are_words_in_the_order_of_the_vocabulary() -> None:
    assert list_common_words(VOCABULARY, 2) == ["king", "queen"]
    assert list_common_words(Vocabulary((".", "a", "b")), 2) == []
