import hashlib
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore.config.schema import DataConfig, Layout, Level, Source
from makemore.data import brown, corpus
from makemore.data import documents as documents_module
from makemore.data.dataset import Dataset
from makemore.data.documents import Documents, fingerprint, prepare
from makemore.data.split import split
from makemore.data.vocabulary import UNKNOWN, Vocabulary
from tests.helpers import REFERENCE, refused

TEXT = "the cat sat .\nthe dog sat .\n\n the cat ran .\na dog ran !\nthe end\n"


def prepared(path: Path, text: str = TEXT, **keys: Any) -> Documents:
    path = path / "text.txt"
    path.write_text(text)
    defaults: dict[str, Any] = {"splits": [0.6, 0.2, 0.2], "split_seed": 42, "unique": False, "overfit": None}
    return prepare([path], DataConfig(source=Source.text, path=str(path), **defaults | keys))


def hashed(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def decoded(documents: Documents) -> list[str]:
    return [documents.vocabulary.decode(part[1:].tolist()) for part in documents.parts]


@given(st.lists(st.text("ab. \t⏎", min_size=1), min_size=3), st.sampled_from(Level))
def test_documents_are_shuffled_and_cut_as_strings_are(lines: list[str], level: Level) -> None:
    documents = [line.strip() for line in lines if line.strip()]
    if len(documents) < 3:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "read_lines", lambda _: iter([documents[:1], documents[1:]]))
        found = prepare(
            [Path()],
            DataConfig(
                source=Source.text,
                path="x",
                splits=[0.34, 0.33, 0.33],
                split_seed=7,
                unique=False,
                overfit=None,
                level=level,
            ),
        )
    expected = split(documents, [0.34, 0.33, 0.33], 7)
    normal = [[found.vocabulary.normalize(document) for document in part] for part in expected]
    assert decoded(found) == ["".join(document + "\n" for document in part) for part in normal]
    assert found.characters == tuple(sum(len(document) + 1 for document in part) for part in normal)
    assert found.held_out == [hashed("\n".join(part)) for part in normal[1:]]
    assert found.known.tolist() == sorted(set(fingerprint(normal[0]).tolist()))


def test_a_running_text_is_split_in_order_and_has_no_boundaries(tmp_path: Path) -> None:
    words = TEXT.split()
    found = prepared(tmp_path, level=Level.word, layout=Layout.running, splits=[10, 4])
    assert decoded(found) == [" ".join(part) for part in (words[:10], words[10:14], words[14:])]
    assert found.characters == tuple(
        sum(len(word) + 1 for word in part) for part in (words[:10], words[10:14], words[14:])
    )
    assert all((part[1:] > 0).all() for part in found.parts)
    characters = prepared(tmp_path, layout=Layout.running)
    assert "".join(decoded(characters)) == TEXT


def test_contexts_of_a_running_text_cross_lines(tmp_path: Path) -> None:
    found = prepared(tmp_path, level=Level.word, layout=Layout.running, splits=[10, 4])
    contexts, targets = Dataset.from_documents(found, 2).train.gather(torch.tensor([0, 4, 5]))
    tokens = found.vocabulary.tokens
    assert [
        [tokens[i] for i in (*context, target)]
        for context, target in zip(contexts.tolist(), targets.tolist(), strict=True)
    ] == [
        ["⏎", "⏎", "the"],
        ["sat", ".", "the"],
        [".", "the", "dog"],
    ]


def test_rare_tokens_become_one(tmp_path: Path) -> None:
    counts = Counter(TEXT.split())
    found = prepared(tmp_path, level=Level.word, layout=Layout.running, min_count=2)
    tokens = found.vocabulary.tokens
    assert set(tokens[1:]) == {word for word, count in counts.items() if count >= 2} | {UNKNOWN}
    assert tokens[1:3] == ("the", ".")  # by how often they occur
    assert [word if counts[word] >= 2 else UNKNOWN for word in TEXT.split()] == " ".join(decoded(found)).split()


def test_own_splits_are_files_in_their_order(tmp_path: Path) -> None:
    paths: dict[str, Any] = {}
    for name, text in (("path", "ab\nba\nab\n"), ("dev_path", "c\nab"), ("test_path", "d.\n")):
        paths[name] = str(tmp_path / name)
        Path(paths[name]).write_text(text)
    data = DataConfig(source=Source.text, splits=[0.8, 0.1, 0.1], split_seed=1, unique=False, overfit=None, **paths)
    found = prepare(corpus.locate(data), data)
    assert decoded(found) == ["ab\nba\nab\n", "c\nab\n", "d.\n"]
    assert found.vocabulary.tokens == ("⏎", ".", "a", "b", "c", "d")


def test_repeated_documents_are_dropped_before_the_split(tmp_path: Path) -> None:
    found = prepared(tmp_path, "a\nb\na\nc\nb\nd\n", unique=True)
    assert sorted("".join(decoded(found)).split()) == ["a", "b", "c", "d"]
    assert found.documents == 4


def test_overfitting_takes_the_first_documents_for_all(tmp_path: Path) -> None:
    assert decoded(prepared(tmp_path, overfit=2)) == ["the cat sat .\nthe dog sat .\n"] * 3
    with refused("data.overfit=6", 5):
        prepared(tmp_path, overfit=6)


def test_fingerprints_tell_documents_apart_and_do_not_change_between_machines() -> None:
    prints = fingerprint(["ava", "emma", "ava"])
    assert prints[0] == prints[2] != prints[1]
    # Eight bytes of BLAKE2b, read as a little-endian integer.
    assert prints[0] == int.from_bytes(hashlib.blake2b(b"ava", digest_size=8).digest(), "little", signed=True)


def test_pieces_do_not_change_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [prepared(tmp_path, level=level, layout=layout) for level in Level for layout in Layout]
    monkeypatch.setattr(corpus, "PIECE", 3)
    monkeypatch.setattr(documents_module, "PIECE", 3)
    pieces = [prepared(tmp_path, level=level, layout=layout) for level in Level for layout in Layout]
    for a, b in zip(whole, pieces, strict=True):
        assert (a.vocabulary, a.characters, a.held_out) == (b.vocabulary, b.characters, b.held_out)
        assert all(map(torch.equal, a.parts, b.parts))


def archive(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(f"brown/{name}", text)
    return path


def test_texts_of_brown_lose_their_tags_and_are_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brown, "TEXTS", 2)
    path = archive(
        tmp_path / "brown.zip", cb01="\n\tTwo/cd ./.\n", ca02="``/`` 1-1/2/cd ''/''", README="none/nn", cats="x/y"
    )
    assert "".join(brown.read(path)).split() == ["``", "1-1/2", "''", "Two", "."]
    whole = path.read_bytes()
    texts = whole.index(b"brown/cb01") + len("brown/cb01")
    encrypted = whole.replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0")
    other_method = whole.replace(b"PK\x01\x02\x14\x03\x14\0\0\0\0\0", b"PK\x01\x02\x14\x03\x14\0\0\0\x63\0")
    assert len({whole, encrypted, other_method}) == 3
    damaged = whole[:texts] + b"x" + whole[texts + 1 :]
    other = archive(tmp_path / "other.zip", cb01="x/y").read_bytes()
    for content in (b"PK\x03\x04", b"a text", whole[:-30], damaged, encrypted, other_method, other):
        path.write_bytes(content)
        with refused(path):
            list(brown.read(path))


def test_brown_has_the_published_numbers_of_words() -> None:
    path = REFERENCE / "brown.zip"
    if not path.is_file():
        pytest.skip(f"the Brown corpus is neither in ../shared/data nor where MAKEMORE_DATA points ({REFERENCE})")
    counts = Counter(word for text in brown.read(path) for word in text.split())
    assert (counts.total(), len(counts)) == (1_161_192, 56_057)
    vocabulary = Vocabulary.from_counts(counts, Level.word, 4)
    assert len(vocabulary) == 17_906 and vocabulary.dtype is np.int16


def test_a_part_of_a_running_text_without_tokens_is_refused(tmp_path: Path) -> None:
    for name, text in (("full", "a b c\n"), ("blank", " \n\n")):
        (tmp_path / name).write_text(text)
    paths = [tmp_path / name for name in ("full", "full", "blank")]
    with refused(paths[2]):
        prepare(paths, DataConfig(source=Source.text, level=Level.word, layout=Layout.running, overfit=None))


def test_a_vocabulary_without_tokens_is_refused() -> None:
    with refused("data.min_count=3", "2"):
        Vocabulary.from_counts({"a": 2, "b": 1}, Level.char, 3)
