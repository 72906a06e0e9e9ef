"""A loss in nats per token in other units: perplexity; and bits per character, to compare kinds of tokens."""

import math

LARGEST_LOSS = 700  # whose perplexity a float64 holds


def perplexity(loss: float) -> float:
    """How many equally likely tokens a loss in nats per token stands for."""
    return math.inf if loss >= LARGEST_LOSS else math.exp(loss)


def bits_per_character(loss: float, tokens: int, characters: int) -> float:
    """A loss in nats per token, spread over the text: comparable between models of characters and of words."""
    return loss * tokens / characters / math.log(2)
