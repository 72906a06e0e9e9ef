"""Characters become ids and back; id 0 is '.', the boundary that begins and ends every document."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from makemore.data.corpus import BOUNDARY
from makemore.errors import UserError

Ids = np.ndarray[tuple[int], np.dtype[Any]]


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model knows, by id.

    Attributes:
        tokens: the boundary first, then every character of the data, sorted by code point.
    """

    tokens: tuple[str, ...]

    @classmethod
    def from_documents(cls, documents: Sequence[str]) -> "Vocabulary":
        """Every character that occurs in the documents."""
        characters = set("".join(documents)) - {BOUNDARY}
        return cls((BOUNDARY, *sorted(characters)))

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _id_of_code_point(self) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
        code_points = [ord(token) for token in self.tokens]
        table = np.full(max(code_points) + 1, -1, dtype=np.int32)
        table[code_points] = np.arange(len(self.tokens))
        return table

    @property
    def dtype(self) -> type[np.unsignedinteger[Any] | np.signedinteger[Any]]:
        """The smallest integer type that holds every id, among those that PyTorch computes with."""
        return np.uint8 if len(self) <= 2**8 else np.int16 if len(self) <= 2**15 else np.int32

    def encode(self, documents: Sequence[str]) -> Ids:
        """All documents as one stream of ids, a boundary (0) after each. (characters + documents,)

        Raises:
            UserError: a character is not in the vocabulary.
            ValueError: a document holds the boundary.
        """
        if not documents:
            return np.empty(0, dtype=self.dtype)
        text = BOUNDARY.join(documents) + BOUNDARY
        code_points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        table = self._id_of_code_point
        known = code_points < len(table)
        ids = table[np.where(known, code_points, 0)]
        unknown = ~known | (ids < 0)
        if unknown.any():
            character = text[int(unknown.argmax())]
            shown = " ".join(self.label(i) for i in range(min(len(self), 60)))
            more = f" … ({len(self)} in all)" if len(self) > 60 else ""
            raise UserError(f"{character!r} is not in the model's vocabulary, which is {shown}{more}")
        if np.count_nonzero(ids == 0) != len(documents):
            raise ValueError(f"a document holds the boundary {BOUNDARY!r}")
        return ids.astype(self.dtype)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a sequence of ids."""
        return "".join(self.tokens[i] for i in ids)

    def label(self, index: int) -> str:
        """A token as a person can see it: white space and control characters by their names or escapes."""
        token = self.tokens[index].replace(" ", "␣")
        return token if token.isprintable() else token.encode("unicode_escape").decode()
