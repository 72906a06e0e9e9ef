"""Tokens, which are characters or words, become ids and back; id 0 is the boundary that begins and ends a document."""

import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from makemore.config.schema import Level
from makemore.errors import UserError

Ids = np.ndarray[tuple[int], np.dtype[Any]]

# What stands for the boundary where a person reads it: the second one if the text holds the first.
BOUNDARY, OTHER_BOUNDARY = ".", "⏎"
UNKNOWN = "<unk>"
VOWELS = frozenset("aeiouyаеиоуыэюяієαεηιουω")  # Latin, Cyrillic and Greek, without accents


def is_vowel(character: str) -> bool:
    return unicodedata.normalize("NFD", character.lower())[0] in VOWELS


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model knows, by id."""

    tokens: tuple[str, ...]  # the first only stands for the boundary, which is not in the text
    level: Level = Level.char

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], level: Level, min_count: int = 1) -> "Vocabulary":
        """The tokens that occur often enough; those that do not become one, `<unk>`, if there are any.

        Characters are sorted by code point, words by how often they occur. Raises UserError if no token occurs often
        enough, or only those that are `<unk>` already.
        """
        kept = {token: count for token, count in counts.items() if count >= min_count}
        if not kept.keys() - {UNKNOWN}:
            most = max((count for token, count in counts.items() if token != UNKNOWN), default=0)
            raise UserError(f"data.min_count={min_count} leaves no {level}: the most frequent one occurs {most:,} x")
        if len(kept) < len(counts):
            rare = sum(counts.values()) - sum(kept.values())
            kept[UNKNOWN] = kept.get(UNKNOWN, 0) + rare
        tokens = sorted(kept)
        if level is Level.word:
            tokens.sort(key=lambda word: -kept[word])
        boundary = OTHER_BOUNDARY if any(BOUNDARY in token for token in counts) else BOUNDARY
        return cls((boundary, *tokens), level)

    @classmethod
    def from_documents(cls, documents: Sequence[str]) -> "Vocabulary":
        """Every character that occurs in the documents."""
        return cls.from_counts(dict.fromkeys("".join(documents), 1), Level.char)

    def __len__(self) -> int:
        return len(self.tokens)

    def __str__(self) -> str:
        """The first tokens, without the boundary, and how many there are."""
        shown = " ".join(self.label(i) for i in range(1, min(len(self), 60)))
        return f"{shown} … ({len(self) - 1:,} in all)" if len(self) > 60 else shown

    @property
    def dtype(self) -> type[np.unsignedinteger[Any] | np.signedinteger[Any]]:
        """The smallest integer type that holds every id, among those that PyTorch computes with."""
        if len(self) <= 2**8:
            return np.uint8
        return np.int16 if len(self) <= 2**15 else np.int32

    def encode(self, documents: Sequence[str]) -> Ids:
        """All documents as one stream of ids, a boundary (0) after each.

        Raises UserError for a token that the vocabulary lacks, unless it has `<unk>`.
        """
        if self.level is Level.char:
            return self._encode_characters("\0".join(documents) + "\0")
        return self._encode_words(chain.from_iterable((*document.split(), None) for document in documents))

    def encode_text(self, text: str) -> Ids:
        """A text as ids, without boundaries. Raises UserError as `encode` does."""
        return self._encode_characters(text) if self.level is Level.char else self._encode_words(text.split())

    def normalize(self, document: str) -> str:
        """A document as `decode` writes it: with one space between words."""
        return self.join(self.split(document))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, words with a space between them; each boundary ends a line."""
        text = self.join([self._texts[i] for i in ids])
        return text if self.level is Level.char else text.replace(" \n", "\n").replace("\n ", "\n")

    def join(self, tokens: Sequence[str]) -> str:
        """The text of a document's tokens."""
        return ("" if self.level is Level.char else " ").join(tokens)

    def label(self, index: int) -> str:
        """A token as a person can see it: white space and control characters by their names or escapes."""
        token = self.tokens[index].replace(" ", "␣")
        return token if token.isprintable() else token.encode("unicode_escape").decode()

    def split(self, document: str) -> Sequence[str]:
        """A document's tokens."""
        return document if self.level is Level.char else document.split()

    def find_unknown(self, documents: Sequence[str]) -> set[str]:
        """The tokens that occur in documents and have no id."""
        if self._unknown >= 0:
            return set()
        there: set[str] = set().union(*map(self.split, documents))
        return there - set(self.tokens[1:])

    def ids_in(self, other: "Vocabulary") -> Ids:
        """The id in another vocabulary of each of these tokens; that of `<unk>`, or -1, where it has none. (N,)"""
        return np.array([0, *(other._ids.get(token, other._unknown) for token in self.tokens[1:])])

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return ("\n", *self.tokens[1:])

    @cached_property
    def _ids(self) -> dict[str | None, int]:
        """The id of each token; None is the boundary."""
        return {None: 0, **{token: i for i, token in enumerate(self.tokens) if i > 0}}

    @property
    def _unknown(self) -> int:
        """The id of `<unk>`, or -1 if there is none."""
        return self._ids.get(UNKNOWN, -1)

    @cached_property
    def _id_of_code_point(self) -> Ids:
        """A table of 4 MB: many times faster than a dictionary."""
        table = np.full(sys.maxunicode + 1, self._unknown, dtype=np.int32)
        for i, token in enumerate(self.tokens[1:], start=1):
            if token != UNKNOWN:
                table[ord(token)] = i
        table[0] = 0  # NUL, which no text holds, stands between documents
        return table

    def _encode_characters(self, text: str) -> Ids:
        ids: Ids = self._id_of_code_point[np.frombuffer(text.encode("utf-32-le"), dtype="<u4")]
        if self._unknown < 0 and len(ids) and ids.min() < 0:
            raise self._refuse(text[int((ids < 0).argmax())])
        return ids.astype(self.dtype)

    def _encode_words(self, words: Iterable[str | None]) -> Ids:
        ids, unknown = self._ids, self._unknown
        try:
            found = [ids[word] for word in words] if unknown < 0 else [ids.get(word, unknown) for word in words]
        except KeyError as error:
            raise self._refuse(error.args[0]) from None
        return np.array(found, dtype=self.dtype)

    def _refuse(self, token: str) -> UserError:
        return UserError(f"{token!r} is not in the model's vocabulary, which is {self}")
