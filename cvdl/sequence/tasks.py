"""Five small real tasks, one for each way to feed a recurrent network, two made-up ones, and their batching.

    digits()          image -> digit                              one to one
    names()           family name -> language, and back           many to one, one to many
    digit_strips()    columns of handwriting -> digit in each     many to many, in step
    spellings()       letters -> phonemes                         many to many, encoder-decoder
    adding_problem(), copy_memory()                               made up, to ask for a long memory

Time comes first: ids are (T, B) long, inputs (T, B, D) float, lengths (B,) long, masks (T, B) bool.
"""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from cvdl.errors import InvalidInput
from cvdl.settings import data_path

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAD = -1  # no symbol: one_hot turns it into zeros, and no mask counts it


class Task(NamedTuple):
    """Two lists (or tensors) of examples that share none, and the names of the classes or symbols."""

    train: list
    test: list
    symbols: list


class Alphabet:
    """Symbols <-> ids 0 … n-1, and one id more, `end`, that closes a sequence.

    As an input the same id says "nothing said yet", so it is also what a decoder starts from.
    """

    def __init__(self, symbols=LETTERS):
        self.symbols = list(symbols)
        self.end = len(self.symbols)
        self._ids = {symbol: i for i, symbol in enumerate(self.symbols)}

    def __len__(self):
        return self.end + 1

    def encode(self, sequence):
        """'abc' -> [0, 1, 2, end]"""
        return [self._ids[symbol] for symbol in sequence] + [self.end]

    def decode(self, ids):
        """[0, 1, 2, end, …] -> ['a', 'b', 'c']; what follows the first end is dropped."""
        ids = [int(i) for i in ids]
        return [self.symbols[i] for i in ids[: ids.index(self.end) if self.end in ids else None]]


def pad(sequences):
    """Lists of ids of different lengths -> ids (T, B), PAD behind the shorter ones, and lengths (B,)."""
    sequences = [torch.as_tensor(s, dtype=torch.long) for s in sequences]
    lengths = torch.tensor([len(s) for s in sequences])
    return torch.nn.utils.rnn.pad_sequence(sequences, padding_value=PAD), lengths


def valid(lengths):
    """The steps that count.  lengths: (B,) -> mask (T, B), T = the longest"""
    return torch.arange(int(lengths.max()))[:, None] < lengths


def one_hot(ids, size):
    """ids: (…,) -> (…, size) float; PAD gives zeros."""
    return F.one_hot(ids.clamp(min=0), size).float() * (ids != PAD)[..., None]


def batches(count, size, steps, generator):
    """Yield `steps` index tensors (size,), running through shuffled data as often as it takes."""
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < size:
            order = torch.cat([order, torch.randperm(count, generator=generator)])
        yield order[:size]
        order = order[size:]


def digits():
    """scikit-learn's digits.  Task of (images (N, 8, 8) in [0, 1], labels (N,)) pairs.

    The file holds one writer's sheet after another; the last three sheets are the test, so that it
    is read in other hands than the net has learned from.
    """
    path = data_path("digits", "digits.npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels = torch.from_numpy(file["images"]) / 16, torch.from_numpy(file["labels"]).long()
        if images.shape != (1797, 8, 8) or labels.shape != (1797,):
            raise ValueError("wrong shape")
    except Exception as broken:  # np.load raises many kinds on a damaged zip
        raise damaged(path) from broken
    cut = 1415
    return Task((images[:cut], labels[:cut]), (images[cut:], labels[cut:]), list("0123456789"))


def digit_strips(images, labels, count, digits_each, generator):
    """Set random digits side by side and read them column by column.

    images: (N, 8, 8), labels: (N,), digits_each: (least, most) digits in a strip
    -> columns (T, B, 8), targets (T, B) with PAD behind, lengths (B,); B = count, T <= 8 * most.
    """
    least, most = digits_each
    lengths = torch.randint(least, most + 1, (count,), generator=generator)
    chosen = torch.randint(len(images), (most, count), generator=generator)
    columns = images[chosen].transpose(-1, -2)  # (most, B, column, row)
    columns = columns.transpose(1, 2).reshape(most * 8, count, 8)
    targets = labels[chosen].repeat_interleave(8, dim=0)
    lengths = 8 * lengths
    mask = valid(lengths)
    columns, targets = columns[: len(mask)], targets[: len(mask)]
    return columns * mask[..., None], targets.masked_fill(~mask, PAD), lengths


def names():
    """Task of (name, language) pairs of strings; `symbols` lists the languages in order."""
    train, test = table("names.tsv", 3)
    return Task(train, test, sorted({language for _, language in train}))


def spellings():
    """Task of (word, phonemes) pairs: a string and a tuple; `symbols` lists the phonemes in order."""
    train, test = table("pronunciations.tsv", 3)
    train, test = ([(word, tuple(said.split())) for word, said in rows] for rows in (train, test))
    return Task(train, test, sorted({phoneme for _, said in train for phoneme in said}))


def table(name, columns):
    """Rows of data/text/`name`, without the header and the last column, as (train, test)."""
    path = data_path("text", name)
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="ascii").splitlines()[1:]]
    except UnicodeDecodeError as broken:
        raise damaged(path) from broken
    if not rows or any(len(row) != columns or row[-1] not in ("train", "test") for row in rows):
        raise damaged(path)
    return [[tuple(row[:-1]) for row in rows if row[-1] == part] for part in ("train", "test")]


def damaged(path):
    return InvalidInput(f"{path} cannot be read: it is damaged. Restore it with `git checkout -- data`.")


def edit_distance(a, b):
    """Fewest insertions, deletions and substitutions that turn sequence a into b (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def phoneme_error_rate(said, truth):
    """Edit distances over all pairs, divided by the number of true phonemes.  Can exceed 1."""
    pairs = list(zip(said, truth, strict=True))
    return sum(edit_distance(a, b) for a, b in pairs) / sum(len(b) for _, b in pairs)


def letter_by_letter(spelling):
    """A baseline without a network: each letter of a test word becomes its most frequent phoneme.

    Letters and phonemes of the training words are paired by their place in the word, in proportion.
    """
    heard = {letter: Counter() for letter in LETTERS}
    for word, said in spelling.train:
        for i, letter in enumerate(word):
            heard[letter][said[int((i + 0.5) / len(word) * len(said))]] += 1
    return [[heard[letter].most_common(1)[0][0] for letter in word] for word, _ in spelling.test]


ADDING_BASELINE = 1 / 6  # the variance of a sum of two uniform numbers (Le et al. 2015 print 0.1767, a misprint)


def adding_problem(T, count, generator):
    """Add the two numbers that are marked, one in each half (Hochreiter & Schmidhuber 1997, in Le et al.'s form).

    -> inputs (T, B, 2): a number in [0, 1) and a mark 0 or 1; sums (B,).  B = count, T >= 2.  Who always
    says 1 has the mean squared error ADDING_BASELINE.
    """
    numbers = torch.rand(T, count, generator=generator)
    first = torch.randint(0, T // 2, (count,), generator=generator)
    second = torch.randint(T // 2, T, (count,), generator=generator)
    marks = F.one_hot(first, T).T + F.one_hot(second, T).T  # (T, B)
    return torch.stack([numbers, marks.float()], -1), (numbers * marks).sum(0)


def copy_memory(lag, count, generator, symbols=8, length=10):
    """Read some symbols, wait, and say them on a signal (Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016).

    -> ids (T, B), targets (T, B) long with T = lag + 2 * length and B = count.  Ids 0 … symbols - 1 are to be
    remembered; the id `symbols` is blank; `symbols + 1`, the signal, is an input only.  From a symbol to its
    repetition it is lag + length steps.
    """
    said = torch.randint(0, symbols, (length, count), generator=generator)
    ids = torch.full((lag + 2 * length, count), symbols)
    targets = ids.clone()
    ids[:length], targets[-length:] = said, said
    ids[length + lag - 1] = symbols + 1
    return ids, targets


def copying_baseline(lag, symbols=8, length=10):
    """Cross-entropy per step of who knows when to speak, and guesses what: length * ln(symbols) / T."""
    return length * math.log(symbols) / (lag + 2 * length)
