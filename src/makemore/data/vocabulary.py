"""Characters become ids and back; id 0 is '.', the boundary that begins and ends every document."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from makemore.data.corpus import BOUNDARY
from makemore.errors import UserError

Ids = np.ndarray[tuple[int], np.dtype[Any]]


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model knows, by id."""

    tokens: tuple[str, ...]  # the boundary first, then every character of the data, sorted by code point

    @classmethod
    def from_documents(cls, documents: Sequence[str]) -> "Vocabulary":
        """Every character that occurs in the documents."""
        characters = set("".join(documents)) - {BOUNDARY}
        return cls((BOUNDARY, *sorted(characters)))

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def dtype(self) -> type[np.unsignedinteger[Any] | np.signedinteger[Any]]:
        """The smallest integer type that holds every id, among those that PyTorch computes with."""
        if len(self) <= 2**8:
            return np.uint8
        return np.int16 if len(self) <= 2**15 else np.int32

    def encode(self, documents: Sequence[str]) -> Ids:
        """All documents as one stream of ids, a boundary (0) after each; raises UserError for an unknown character."""
        text = BOUNDARY.join(documents) + BOUNDARY
        id_of_code_point = np.full(sys.maxunicode + 1, -1, dtype=np.int32)
        id_of_code_point[[ord(token) for token in self.tokens]] = np.arange(len(self))
        ids: Ids = id_of_code_point[np.frombuffer(text.encode("utf-32-le"), dtype="<u4")]
        unknown = ids < 0
        if unknown.any():
            character = text[int(unknown.argmax())]
            shown = " ".join(self.label(i) for i in range(min(len(self), 60)))
            more = f" … ({len(self)} in all)" if len(self) > 60 else ""
            raise UserError(f"{character!r} is not in the model's vocabulary, which is {shown}{more}")
        return ids.astype(self.dtype)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.tokens[i] for i in ids)

    def label(self, index: int) -> str:
        """A token as a person can see it: white space and control characters by their names or escapes."""
        token = self.tokens[index].replace(" ", "␣")
        return token if token.isprintable() else token.encode("unicode_escape").decode()
