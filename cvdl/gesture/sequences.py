"""What is done with sequences of frames, one small function each; notebook 04 has them as exercises.

Sequences are (T, B, …), time first.  A mask (T, B) bool is True at a clip's real steps, which come first; nothing that stands
at the other steps, the padding, has an effect.
"""

import torch
import torch.nn.functional as F

from cvdl.gesture.nets import RATE, ticks
from cvdl.sequence.tasks import valid


def frames_seen(count, fps, rate):
    """The frames of a clip that a network sees which ticks `rate` times a second: the newest one at each tick -> list of int

    count: frames there are; fps: frames a second.

        >>> frames_seen(12, fps=25, rate=10), frames_seen(3, fps=5, rate=10)
        ([0, 2, 5, 7, 10], [0, 0, 1, 1, 2, 2])
    """
    return ticks(count, fps * RATE / rate).tolist()  # as many frames to a tick as there are at RATE


def soft_argmax(scores):
    """Scores (N, h, w) -> (N, 2): mean column x and row y, in cells from 0, the softmax of a map being each cell's probability.

    (Nibali et al., *Numerical coordinate regression with convolutional neural networks*, 2018; `nets.soft_argmax` looks only
    near the likeliest cell.)
    """
    y, x = torch.meshgrid(*map(torch.arange, scores.shape[1:]), indexing="ij")
    grid = torch.stack([x, y], -1).flatten(0, 1).to(scores)  # (h · w, 2)
    return scores.flatten(1).softmax(1) @ grid


def pad(sequences):
    """Sequences, a list of (T_i, D) -> padded (T, B, D) with zeros behind the shorter ones, and mask (T, B)"""
    mask = valid(torch.tensor([len(sequence) for sequence in sequences]))
    padded = sequences[0].new_zeros(*mask.T.shape, sequences[0].shape[1])
    padded[mask.T] = torch.cat(sequences)
    return padded.transpose(0, 1), mask


def many_to_one(logits, mask, labels):
    """Mean cross-entropy at the last real step of each clip.  logits: (T, B, K), mask: (T, B), labels: (B,) long -> scalar"""
    ends = mask & ~torch.cat([mask[1:], torch.zeros_like(mask[:1])])
    return F.cross_entropy(logits[ends], labels.expand(mask.shape)[ends])


def many_to_many(logits, mask, labels):
    """Mean cross-entropy over all real steps of the batch.  logits: (T, B, K), mask: (T, B), labels: (T, B) long -> scalar"""
    return -logits[mask].log_softmax(1).gather(1, labels[mask][:, None]).mean()


def first_decision(probabilities, threshold, hold):
    """The first step at which one class has led for `hold` steps in a row, each time with at least `threshold`.

    probabilities: (T, K), the last class being «none», which is never decided for -> (class, step); if there is no such step,
    («none», T).

        >>> first_decision(torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.8, 0.2]]), threshold=0.65, hold=2)
        (0, 3)
    """
    T, none = len(probabilities), probabilities.shape[1] - 1
    chance, leader = probabilities.max(1)
    leads = (leader[:, None] == torch.arange(none, device=leader.device)) & (chance >= threshold)[:, None]  # (T, K - 1)
    held = F.pad(leads, (0, 0, hold - 1, 0)).unfold(0, hold, 1).all(-1)  # a window ends at each step
    for step, kind in held.nonzero().tolist():
        return kind, step
    return none, T
