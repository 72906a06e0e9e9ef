"""The examples of one run: the windows of its train, dev and test documents."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from makemore.data.split import Documents
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows


@dataclass(frozen=True)
class Dataset:
    """Everything that a model may learn from or be measured on.

    Attributes:
        path: the file that holds the documents.
        documents: how many there are.
        vocabulary: the tokens of the whole file, so that a run on its first few documents has the same network.
        known: (distinct documents,) int64 fingerprints of the training documents.
        held_out: digests of the dev and of the test documents.
        train: the training examples.
        dev: the examples to choose models by.
        test: the examples for the final evaluation.
    """

    path: Path
    documents: int
    vocabulary: Vocabulary
    known: Tensor
    held_out: list[str]
    train: Windows
    dev: Windows
    test: Windows

    @classmethod
    def from_documents(cls, documents: Documents, block_size: int) -> "Dataset":
        """The examples of documents that have been split."""
        train, dev, test = (Windows.from_documents(part, documents.vocabulary, block_size) for part in documents.parts)
        return cls(*documents[:-1], train, dev, test)
