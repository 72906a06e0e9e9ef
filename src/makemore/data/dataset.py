"""The examples of one run: the windows of its train, dev and test documents."""

from dataclasses import dataclass

from makemore.data.split import Documents
from makemore.data.windows import Windows
from makemore.memory import check_memory


@dataclass(frozen=True)
class Dataset(Documents):
    """Everything that a model may learn from or be measured on: the documents of a run, and their windows."""

    train: Windows
    dev: Windows  # to choose models by
    test: Windows  # for the final evaluation

    @classmethod
    def from_documents(cls, documents: Documents, block_size: int) -> "Dataset":
        examples = sum(len(document) + 1 for part in documents.parts for document in part)
        tokens = examples + block_size * sum(map(len, documents.parts))
        # A stream of one byte for each token, and a position for each example.
        what = f"data.block_size={block_size} with {documents.documents:,} documents"
        check_memory(tokens + 4 * examples, what, "choose a smaller one")
        windows = (Windows.from_documents(part, documents.vocabulary, block_size) for part in documents.parts)
        return cls(*vars(documents).values(), *windows)
