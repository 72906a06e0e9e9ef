import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data.minibatches import Batch, EvaluationBatches
from makemore.data.spans import PADDING, Spans, to_windows
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows

DOCUMENTS = st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=20)


def spans_of(documents: list[str], block_size: int) -> Spans:
    return Spans.from_windows(Windows.from_documents(documents, Vocabulary((".", "a", "b", "c")), block_size))


def every(spans: Spans) -> Batch:
    return Batch(*spans.gather(torch.arange(len(spans))))


def test_a_span_is_a_document_or_a_piece_of_one() -> None:
    ids, targets = every(spans_of(["abc", "b", "abcab"], 4))
    assert ids.tolist() == [[0, 1, 2, 3], [0, 2, 0, 0], [0, 1, 2, 3], [1, 2, 0, 0]]
    p = PADDING
    assert targets.tolist() == [[1, 2, 3, 0], [2, 0, p, p], [1, 2, 3, 1], [2, 0, p, p]]


def test_a_running_text_is_cut_into_spans_too() -> None:
    spans = Spans.from_windows(Windows.from_text("abcabca", Vocabulary((".", "a", "b", "c")), 3))
    ids, targets = every(spans)
    assert ids.tolist() == [[0, 1, 2], [3, 1, 2], [3, 0, 0]]
    assert targets.tolist() == [[1, 2, 3], [1, 2, 3], [1, PADDING, PADDING]]
    assert not spans.whole


@settings(deadline=None)
@given(documents=DOCUMENTS, block_size=st.integers(1, 12))
def test_spans_hold_every_target_of_the_windows_once_and_in_order(documents: list[str], block_size: int) -> None:
    spans = spans_of(documents, block_size)
    batch = every(spans)
    assert torch.equal(batch.targets[batch.targets != PADDING], spans.windows.stream[1:].long())
    assert batch.count_targets() == len(spans.windows)
    assert spans.whole == all(len(document) < block_size for document in documents)


@settings(deadline=None)
@given(documents=DOCUMENTS)
def test_the_contexts_of_whole_documents_are_those_of_the_windows(documents: list[str]) -> None:
    spans = spans_of(documents, 10)
    contexts, targets = to_windows(*every(spans), 10)
    expected = spans.windows.gather(torch.arange(len(spans.windows)))
    assert torch.equal(contexts, expected[0])
    assert torch.equal(targets, expected[1])


def test_documents_are_evaluated_whole_or_as_windows() -> None:
    short, long = (spans_of(documents, 4).windows for documents in (["abc", "b"], ["abc", "abcab"]))
    assert [tuple(batch.targets.shape) for batch in EvaluationBatches(short, by_document=True)] == [(2, 4)]
    assert [tuple(batch.targets.shape) for batch in EvaluationBatches(short)] == [(6,)]
    assert [tuple(batch.contexts.shape) for batch in EvaluationBatches(long, by_document=True)] == [(10, 4)]


def test_a_process_without_a_share_has_no_spans() -> None:
    ids, targets = spans_of(["abc"], 4).gather(torch.arange(0))
    assert ids.shape == targets.shape == (0, 0)
