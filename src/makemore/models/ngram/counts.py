"""The count-based n-gram model, of order block_size + 1: the contexts that were seen as a trie, in flat tensors.

The distribution p of the token w after a context h is mixed with that after h', which is h without its oldest token,
and so on down to the empty context, below which stands the uniform distribution:

    p(w | h) = a(h, w) + b(h) p(w | h')        sum_w a(h, w) + b(h) = 1;  a = 0 and b = 1 after a context not seen

With c(h, w) how often w follows h, c(h) = sum_w c(h, w) and V the size of the vocabulary, a and b are

    none          a = c(h, w) / c(h)            b = 0
    add_k         a = c(h, w) / (c(h) + k V)    b = k V / (c(h) + k V)    so that p = (c(h, w) + k) / (c(h) + k V)
    kneser_ney    a = (c(h, w) - D) / c(h)      b = sum_w D / c(h)        over the w that follow h
    jelinek_mercer    a = (1 - b) c(h, w) / c(h)      b by c(h) / N(h), fitted to dev

The first two know only contexts of full length, and the uniform distribution stands straight below those. After a
context that was not seen all tokens are equally likely; for `none` this is a choice: what `add_k` tends to as k falls.

Kneser-Ney (Kneser and Ney, "Improved backing-off for m-gram language modeling", 1995), in the interpolated form of
Chen and Goodman ("An empirical study of smoothing techniques for language modeling", TR-10-98, 1998), knows contexts
of every length. For one of full length c(h, w) is how often w follows. For a shorter one it is a continuation count:
how many distinct tokens stand before "h w" in the text. A shorter context is asked where longer ones have seen too
little, so what counts is in how many places w follows it, not how often. Nothing stands before a document: where h
begins with its boundary, c(h, w) is how often w follows, however short h is, and more boundaries in front of h tell
nothing more, a = 0 and b = 1. D is one given number, or, in Chen and Goodman's modified form, three for each length of
context (`estimate_discounts`).

Deleted interpolation (Jelinek and Mercer, "Interpolated estimation of Markov source parameters from sparse data", 1980)
mixes the plain relative frequencies of all lengths. How far those after h can be trusted depends on how often each of
them was seen: for each length of context, the contexts with about equal c(h) / N(h), the average count of the N(h)
tokens that followed h, share one b (`fit_backoffs`). Bins by c(h) alone mix contexts that are nearly certain with those
after which anything may come; Chen and Goodman found the average better, and so it is here (`docs/experiments.md`).
"""

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from makemore.data.windows import Windows
from makemore.models.ngram.config import Smoothing

# Examples counted at a time, at first: 2**20 take about 100 MiB.
BLOCK = 2**20
# D where a text is too small to estimate it: a usual choice for any text.
FALLBACK = 0.75
# Of average counts, for each factor of two.
BINS = 5
# Of expectation-maximization, after which b no longer moves in its fourth digit.
ROUNDS = 100


class Trie(NamedTuple):
    """A trie of contexts that grows from the most recent token to the oldest, and the targets seen after each context.

    Node 0 is the empty context. The others are numbered from short contexts to long, those of one length by parent and
    then by token, a node's parent being its context without the oldest token. So all keys are sorted, and the key of a
    context of any length fits in 64 bits. Node i's targets and values are those from starts[i] up to starts[i + 1].
    """

    V: Tensor  # () int64 the size of the vocabulary
    keys: Tensor  # (nodes - 1,) int64, of nodes 1, 2, ...: parent * V + oldest token
    backoff: Tensor  # (nodes,) float64 b
    starts: Tensor  # (nodes + 1,) int64
    targets: Tensor  # (pairs,) ids, sorted within a node, in the type of the windows' stream
    values: Tensor  # (pairs,) float64 a


class Pairs(NamedTuple):
    """The distinct pairs of a context and a target, for contexts of one length."""

    nodes: Tensor  # (pairs,) int64 contexts, sorted
    targets: Tensor  # (pairs,) ids, sorted for each context
    counts: Tensor  # (pairs,) int64


def fit(
    windows: Windows,
    vocabulary: int,
    smoothing: Smoothing,
    *,
    k: float = 1.0,
    discount: float | None = None,
    dev: Windows | None = None,
) -> Trie:
    """Counts the examples and smooths the counts.

    `k` is of add_k, `discount` D of kneser_ney, None to estimate it, and `dev` what jelinek_mercer is fitted to.
    """
    at, counts = distinct_ngrams(windows, vocabulary)
    keys, nodes = number_contexts(windows, vocabulary, at)
    levels = [Pairs(nodes, windows.stream[at], counts)]  # from long contexts to short
    if smoothing is Smoothing.kneser_ney:
        for _ in range(windows.block_size):
            stay, shorter = shorten(levels.pop(), keys, vocabulary)
            levels += [stay, shorter]
    else:
        discount = 0.0
    if smoothing is Smoothing.jelinek_mercer:
        for _ in range(windows.block_size):
            levels.append(add_up(levels[-1], keys, vocabulary))
    taken = []
    for level in levels:
        D1, D2, D3 = estimate_discounts(level.counts) if discount is None else (discount, discount, discount)
        taken.append(torch.tensor([0.0, D1, D2, D3], dtype=torch.float64)[level.counts.clamp(max=3)])  # (pairs,)
    nodes, targets, counts = map(torch.cat, zip(*reversed(levels), strict=True))  # (pairs,) each, in the nodes' order
    D = torch.cat(taken[::-1])  # (pairs,)

    size = len(keys) + 1
    added = k * vocabulary if smoothing is Smoothing.add_k else 0.0
    total = torch.bincount(nodes, counts, minlength=size) + added  # (nodes,)
    left_over = torch.bincount(nodes, D, minlength=size) + added  # (nodes,)
    followers = torch.bincount(nodes, minlength=size)  # (nodes,)
    trie = Trie(
        V=torch.tensor(vocabulary),
        keys=keys,
        # Where no target is known, everything is passed on: after short contexts without Kneser-Ney, and with it after
        # those that have more than one boundary in front.
        backoff=torch.where(followers > 0, left_over / total, 1.0),
        starts=F.pad(followers.cumsum(0), (1, 0)),
        targets=targets,
        values=(counts - D) / total[nodes],
    )
    if smoothing is not Smoothing.jelinek_mercer:
        return trie
    assert dev is not None
    backoff = fit_backoffs(trie, total, dev)
    return trie._replace(backoff=backoff, values=trie.values * (1 - backoff[nodes]))


def distinct_ngrams(windows: Windows, vocabulary: int) -> tuple[Tensor, Tensor]:
    """One place for each distinct n-gram, a context with its target, and how often it occurs.

    The examples are merged into the table block by block. A block is as long as the table when that has outgrown it, so
    memory is what the table takes, or one block, and no more than twice the examples are sorted in all.

    Returns:
        (n-grams,) int64 position of a target, and (n-grams,) int64 count, sorted by context, most recent token first,
        and then by target.
    """
    at = counts = torch.empty(0, dtype=torch.int64)
    first = 0
    while first < len(windows):
        last = first + max(BLOCK, len(at))
        new = torch.arange(first, min(last, len(windows))) + 1
        at, counts = torch.cat([at, new]), torch.cat([counts, torch.ones_like(new)])  # (table + block,) each
        ranks, order = sort_keys(windows, vocabulary, at).sort(stable=True)
        _, which, repeats = torch.unique_consecutive(ranks, return_inverse=True, return_counts=True)
        at = at[order[repeats.cumsum(0) - repeats]]  # (n-grams,) where each was found first
        counts = torch.zeros_like(at).index_add_(0, which, counts[order])  # (n-grams,)
        first = last
    return at, counts


def sort_keys(windows: Windows, vocabulary: int, at: Tensor) -> Tensor:
    """Numbers that sort as the n-grams do whose targets stand at these positions. (rows,) -> (rows,) int64

    An n-gram's tokens are the digits of a number to base V. Before it grows beyond 64 bits its rank takes its place.
    """
    keys, bound = torch.zeros_like(at), 1
    for tokens in itertools.chain(windows.before(at), [windows.stream[at]]):
        if bound * vocabulary > torch.iinfo(torch.int64).max:
            distinct, keys = torch.unique(keys, return_inverse=True)
            bound = len(distinct)
        keys.mul_(vocabulary).add_(tokens)
        bound *= vocabulary
    return keys


def number_contexts(windows: Windows, vocabulary: int, at: Tensor) -> tuple[Tensor, Tensor]:
    """The contexts of sorted n-grams, whose targets are `at`, and all shorter ones.

    Returns:
        (nodes - 1,) the keys of a `Trie`, and (n-grams,) int64 the node of each n-gram's context.
    """
    levels = []
    nodes, size = torch.zeros_like(at), 1
    for tokens in windows.before(at):
        # The n-grams' order is also that of their shorter contexts, so equal ones are neighbours.
        keys, which = torch.unique_consecutive(nodes * vocabulary + tokens, return_inverse=True)
        levels.append(keys)
        nodes = which + size  # (n-grams,)
        size += len(keys)
    return torch.cat(levels), nodes


def shorten(level: Pairs, keys: Tensor, vocabulary: int) -> tuple[Pairs, Pairs]:
    """The pairs of one length of context shared out to it and to the contexts that are a token shorter.

    Returns:
        those that stay, and the shorter ones. A pair whose shorter context begins with a boundary moves there with its
        count. Of the others all stay, and the shorter ones get continuation counts: how many of the longer end in each.
    """
    parents = keys[level.nodes - 1] // vocabulary  # (pairs,)
    moves = (parents > 0) & (keys[parents - 1] % vocabulary == 0)  # (pairs,)
    pairs, which = torch.unique(parents * vocabulary + level.targets, return_inverse=True)
    counts = torch.zeros_like(pairs).index_add_(0, which, torch.where(moves, level.counts, 1))
    stay = Pairs(*(part[~moves] for part in level))
    return stay, Pairs(pairs // vocabulary, (pairs % vocabulary).to(level.targets.dtype), counts)


def add_up(level: Pairs, keys: Tensor, vocabulary: int) -> Pairs:
    """The pairs of a length of context, counted again for contexts that are a token shorter."""
    parents = keys[level.nodes - 1] // vocabulary  # (pairs,)
    pairs, which = torch.unique(parents * vocabulary + level.targets, return_inverse=True)
    counts = torch.zeros_like(pairs).index_add_(0, which, level.counts)
    return Pairs(pairs // vocabulary, (pairs % vocabulary).to(level.targets.dtype), counts)


def fit_backoffs(trie: Trie, total: Tensor, dev: Windows) -> Tensor:
    """The b of each node that makes dev most likely, for a model of relative frequencies. (nodes,) float64

    From short contexts to long, each with what is below it fixed. `total` (nodes,) are the contexts' counts. One b for
    each bin of average counts is found by expectation-maximization: its new value is the mean share that the shorter
    context has in the probability of the dev tokens after such contexts. One token for and one against it are added,
    so that none is certain.
    """
    contexts, targets = dev.gather(torch.arange(len(dev)))  # (N, block_size), (N,)
    nodes = lookup(trie, contexts)  # (N, block_size + 1)
    average = total / trie.starts.diff().clamp(min=1)  # (nodes,)
    bins = (average.clamp(min=1).log2() * BINS).floor().long()  # (nodes,)
    backoff = torch.ones_like(total)  # (nodes,)
    p = total.new_full((len(dev),), 1 / int(trie.V))  # (N,) by all shorter contexts
    first, last = 0, 1  # the nodes of one length of context
    for node in nodes.unbind(1):
        seen = node >= 0
        own, below, which = find_values(trie, node, targets)[seen], p[seen], bins[node[seen]]
        b = total.new_full((int(bins.max()) + 1,), 0.5)
        seen_in = torch.bincount(which, minlength=len(b))
        for _ in range(ROUNDS):
            share = b[which] * below / ((1 - b[which]) * own + b[which] * below)  # (seen,)
            b = (torch.bincount(which, share, minlength=len(b)) + 1) / (seen_in + 2)
        p[seen] = (1 - b[which]) * own + b[which] * below
        backoff[first:last] = b[bins[first:last]]
        # Keys are sorted by parent, so the next length ends before the first node whose parent is `last` or later.
        first, last = last, 1 + int(torch.searchsorted(trie.keys, last * trie.V))
    return backoff


def estimate_discounts(counts: Tensor) -> tuple[float, float, float]:
    """D for counts of 1, of 2, and of 3 or more, from how many of the counts (pairs,) are 1, 2, 3 and 4.

    With n_1 to n_4 the counts of counts, Chen and Goodman (1998) estimate

        D_1 = n_1 / (n_1 + 2 n_2)        D_2 = 2 - 3 D_1 n_3 / n_2        D_3 = 3 - 4 D_1 n_4 / n_3

    Without counts of 1 or of 2, D_1 would be 0 or 1 and leave unseen or seen tokens nothing; it is `FALLBACK` then. D_2
    and D_3 are at least as large as the one before, as what is discounted grows with the count.
    """
    n1, n2, n3, n4 = torch.bincount(counts.clamp(max=5), minlength=6)[1:5].tolist()
    D1 = n1 / (n1 + 2 * n2) if n1 and n2 else FALLBACK
    D2 = max(D1, 2 - 3 * D1 * n3 / n2) if n2 and n3 else D1
    D3 = max(D2, 3 - 4 * D1 * n4 / n3) if n3 and n4 else D2
    return D1, D2, D3


def logits(trie: Trie, contexts: Tensor) -> Tensor:
    """Log-probabilities of the next token. (B, block_size) int64 -> (B, vocabulary) float32"""
    return probabilities(trie, contexts).log_().float()


def probabilities(trie: Trie, contexts: Tensor) -> Tensor:
    """The next token's distribution. (B, block_size) -> (B, vocabulary) float64

    Unrolled, p(w | h) is a sum over the lengths of context: each a, times the b of all longer contexts.
    """
    vocabulary, block_size = int(trie.V), contexts.shape[1]
    nodes = lookup(trie, contexts)  # (B, block_size + 1)
    seen = nodes >= 0
    nodes = nodes.clamp(min=0)
    b = trie.backoff[nodes].masked_fill(~seen, 1.0)  # (B, block_size + 1)
    weights = F.pad(b[:, 1:], (0, 1), value=1.0).flip(1).cumprod(1).flip(1)  # (B, block_size + 1) by length

    # What follows the empty context is the same for all rows, and dense.
    empty = (trie.backoff[0] / vocabulary).repeat(vocabulary)  # (vocabulary,)
    known = trie.targets[: int(trie.starts[1])].long()
    empty[known] += trie.values[: len(known)]
    p = weights[:, :1] * empty  # (B, vocabulary)

    # What follows longer contexts is sparse: every pair of every node is added at its place in p.
    nodes, weights, seen = (part[:, 1:].flatten() for part in (nodes, weights, seen))  # (B * block_size,) each
    followers = (trie.starts[nodes + 1] - trie.starts[nodes]) * seen  # (B * block_size,)
    which = torch.repeat_interleave(followers)  # (F,) into the nodes, F = followers of all nodes together
    first = trie.starts[nodes] - (followers.cumsum(0) - followers)  # (B * block_size,)
    pairs = first[which] + torch.arange(len(which), device=which.device)  # (F,)
    places = which // block_size * vocabulary + trie.targets[pairs]  # (F,)
    p.view(-1).index_add_(0, places, trie.values[pairs] * weights[which])
    return p


def target_probabilities(trie: Trie, contexts: Tensor, targets: Tensor) -> Tensor:
    """The probability of each target (B,) alone. (B, block_size) -> (B,) float64"""
    p = trie.values.new_full((len(targets),), 1 / int(trie.V))
    for node in lookup(trie, contexts).unbind(1):
        p = find_values(trie, node, targets) + torch.where(node >= 0, trie.backoff[node.clamp(min=0)], 1) * p
    return p


def find_values(trie: Trie, nodes: Tensor, targets: Tensor) -> Tensor:
    """The a of each target (N,) after the contexts of these nodes, 0 where it was not seen. (N,) -> (N,) float64

    A binary search in each node's targets, for all at once.
    """
    known, last = nodes.clamp(min=0), len(trie.targets) - 1
    low, end = trie.starts[known], trie.starts[known + 1]  # (N,) each
    high = end
    for _ in range(int((end - low).max()).bit_length()):
        middle = (low + high) // 2
        below = (low < high) & (trie.targets[middle.clamp(max=last)] < targets)
        low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
    place = low.clamp(max=last)
    return trie.values[place] * ((nodes >= 0) & (low < end) & (trie.targets[place] == targets))


def lookup(trie: Trie, contexts: Tensor) -> Tensor:
    """The nodes of each context's last 0, 1, ... tokens, -1 if unseen. (B, block_size) -> (B, block_size + 1) int64"""
    nodes = [contexts.new_zeros(len(contexts))]
    for token in contexts.flip(1).unbind(1):
        keys = nodes[-1] * trie.V + token  # (B,) negative where already the shorter context is unseen
        at = torch.searchsorted(trie.keys, keys).clamp_(max=len(trie.keys) - 1)
        nodes.append(torch.where(trie.keys[at] == keys, at + 1, -1))
    return torch.stack(nodes, dim=1)
