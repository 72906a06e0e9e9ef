import hashlib
from pathlib import Path

import pooch
import pytest
import requests

from makemore.config.schema import DataConfig, Source
from makemore.data import corpus
from makemore.errors import UserError


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    return path


def test_bundled_list_is_the_public_one_of_2018() -> None:
    digest = hashlib.sha256(corpus.BUNDLED.read_bytes()).hexdigest()
    assert digest == "a311634f5113663f131a60cd0c76afb8420199991dbd9045773b8a2949ada835"
    assert len(corpus.read(corpus.BUNDLED)) == 32_178


def test_lecture_list_has_32033_names_of_which_2539_occur_twice(lecture_names: Path) -> None:
    names = corpus.read(lecture_names)
    assert len(names) == 32_033
    assert len(names) - len(set(names)) == 2_539


def test_documents_are_stripped_lines_and_blank_ones_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff emma\r\n\r\n  mary ann \nzoë\r名前\u2028x\n\n".encode())
    assert corpus.read(path) == ["emma", "mary ann", "zoë", "名前\u2028x"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no documents"),
        (b" \n\n", "holds no documents"),
        (b"em\0ma", "is binary"),
        ("zoë\nj\u00f6rg".encode("latin-1"), "is not UTF-8: see line 1"),
        (b"emma\nst. ives\n", "holds '.' on line 2"),
    ],
)
def test_unusable_files_are_named_with_what_is_wrong(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UserError, match=complaint) as error:
        corpus.read(path)
    assert str(path) in str(error.value)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        corpus.read(tmp_path / "nowhere.txt")
    with pytest.raises(UserError, match="is a folder"):
        corpus.read(tmp_path)


def test_split_cuts_one_seeded_shuffle_at_80_and_90_percent() -> None:
    documents = [str(i) for i in range(10)]
    train, dev, test = corpus.split(documents, [0.8, 0.1, 0.1], seed=42)
    assert (len(train), len(dev), len(test)) == (8, 1, 1)
    assert sorted(train + dev + test) == documents
    assert corpus.split(documents, [0.8, 0.1, 0.1], seed=42) == (train, dev, test)
    assert corpus.split(documents, [0.8, 0.1, 0.1], seed=43) != (train, dev, test)


def test_shares_whose_sum_rounds_down_still_cut_at_the_right_document() -> None:
    assert 0.7 + 0.2 < 0.9  # floating point
    assert [len(part) for part in corpus.split(["x"] * 10, [0.7, 0.2, 0.1], seed=0)] == [7, 2, 1]


def test_split_that_leaves_a_part_empty_is_refused() -> None:
    with pytest.raises(UserError, match="leaves dev empty: there are 5 documents"):
        corpus.split(list("abcde"), [0.8, 0.1, 0.1], seed=42)


def test_fingerprints_tell_documents_apart_and_do_not_change_between_machines() -> None:
    prints = corpus.fingerprints(["ava", "emma", "ava"])
    assert prints[0] == prints[2] != prints[1]
    # Eight bytes of BLAKE2b, read as a little-endian integer.
    assert prints[0] == int.from_bytes(hashlib.blake2b(b"ava", digest_size=8).digest(), "little", signed=True)


class TestLectureList:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cached = tmp_path / "names.txt"
        monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path)
        self.data = DataConfig(source=Source.makemore)

    def test_offline_names_the_url_the_place_for_the_file_and_the_bundled_list(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def offline(*args: object, **kwargs: object) -> None:
            raise requests.ConnectionError

        monkeypatch.setattr(requests, "get", offline)
        with pytest.raises(UserError) as error:
            corpus.locate(self.data)
        message = str(error.value)
        assert corpus.MAKEMORE_URL in message
        assert str(self.cached) in message
        assert "data=names" in message
        assert "\n" not in message

    def test_file_put_there_by_hand_is_used_without_a_download(self, lecture_names: Path) -> None:
        self.cached.write_bytes(lecture_names.read_bytes())
        assert corpus.locate(self.data) == self.cached

    def test_another_file_in_its_place_is_refused_and_left_alone(self) -> None:
        self.cached.write_text("emma\n")
        with pytest.raises(UserError, match="is not the lecture's"):
            corpus.locate(self.data)
        assert self.cached.read_text() == "emma\n"
