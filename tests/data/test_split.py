from makemore.data.split import cut, split
from tests.helpers import refused


def test_split_cuts_one_seeded_shuffle_at_80_and_90_percent() -> None:
    documents = [str(i) for i in range(10)]
    train, dev, test = split(documents, [0.8, 0.1, 0.1], seed=42)
    assert (len(train), len(dev), len(test)) == (8, 1, 1)
    assert sorted(train + dev + test) == documents
    assert split(documents, [0.8, 0.1, 0.1], seed=42) == (train, dev, test)
    assert split(documents, [0.8, 0.1, 0.1], seed=43) != (train, dev, test)


def test_shares_whose_sum_rounds_down_still_cut_at_the_right_document() -> None:
    assert 0.7 + 0.2 < 0.9  # floating point
    assert [len(part) for part in split(["x"] * 10, [0.7, 0.2, 0.1], seed=0)] == [7, 2, 1]


def test_split_that_leaves_a_part_empty_is_refused() -> None:
    with refused("data.splits=[0.8,0.1,0.1]", "dev", 5):
        split(list("abcde"), [0.8, 0.1, 0.1], seed=42)


def test_sizes_of_train_and_dev_leave_the_rest_to_test() -> None:
    assert cut(10, [5, 3]) == (5, 8)
    with refused("data.splits=[5,5]", "test", 10):
        cut(10, [5, 5])
