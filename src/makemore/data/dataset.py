"""The examples of one run: the windows of its train, dev and test documents."""

from dataclasses import dataclass
from functools import cached_property

from makemore.data.documents import Documents
from makemore.data.spans import Spans
from makemore.data.windows import Windows


@dataclass(frozen=True)
class Dataset(Documents):
    """Everything that a model may learn from or be measured on: the documents of a run, and their windows."""

    train: Windows
    dev: Windows  # to choose models by
    test: Windows  # for the final evaluation

    @classmethod
    def from_documents(cls, documents: Documents, block_size: int) -> "Dataset":
        train, dev, test = (Windows(part, block_size) for part in documents.parts)
        return cls(**vars(documents), train=train, dev=dev, test=test)

    @cached_property
    def spans(self) -> Spans:
        """The training examples by document."""
        return Spans.from_windows(self.train)
