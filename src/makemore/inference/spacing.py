"""Words and punctuation marks, each a token of its own, become text as it is printed."""

import re

# Marks that stand close to the word before them, or to the one after; quotation marks as the Brown corpus writes them.
# That corpus has each ; ? and ! twice, so repeated ones are printed once.
RULES = (
    (r"(^| )([;?!])(?: \2)+(?= |$)", r"\1\2"),
    (r"(^| )`` ?", r"\1“"),
    (r" ?''( |$)", r"”\1"),
    (r" ([.,;:?!%)\]}]+)(?= |$|”)", r"\1"),
    (r"([(\[{$]) (?=\S)", r"\1"),
)


def space_words(text: str) -> str:
    """A text whose tokens stand apart, with the spaces of print."""
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    return text
