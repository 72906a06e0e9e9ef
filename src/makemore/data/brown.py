"""The Brown corpus (Francis and Kučera 1964), as NLTK packs it: 500 texts of 1961 in American English, 1,161,192 words.

For non-commercial use only, so it is no part of this project: it is downloaded, or a file named by hand.
"""

import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from makemore.errors import FileError

URL = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/brown.zip"
SHA256 = "9b275f9b3b95d7bd66ccfb7cd259f445a13bbe5d1f4107aba09fd3e8364bafa6"
TEXTS = 500
TEXT = re.compile(r"(.*/)?c[a-r]\d\d")


def read(path: Path) -> Iterator[str]:
    """The texts in the order of their names, a sentence a line, words and punctuation marks without their tags.

    Raises UserError if the archive is damaged or another one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if TEXT.fullmatch(name))
            if len(names) != TEXTS:
                raise FileError(path, f"is an archive without the Brown corpus's {TEXTS} texts; name NLTK's brown.zip")
            for name in names:
                # A token is word/tag, and a word may have slashes of its own, as 1/2 does.
                yield re.sub(r"/[^\s/]+(?=\s)", "", archive.read(name).decode("latin-1") + "\n")
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RuntimeError,
    ) as error:  # the last one if it is encrypted
        raise FileError(path, f"cannot be read as an archive ({error}); name NLTK's brown.zip") from None
