"""Attention against torch's, and the two networks built on it."""

import math

import torch
import torch.nn.functional as F

from cvdl.sequence import attention, tasks


def test_attend_agrees_with_torch():
    torch.manual_seed(0)
    query, keys, values = torch.randn(3, 4), torch.randn(3, 6, 4), torch.randn(3, 6, 5)
    mask = tasks.valid(torch.tensor([6, 1, 4])).T
    context, weights = attention.attend(query, keys, values, mask)
    wanted = F.scaled_dot_product_attention(query[:, None], keys, values, mask[:, None])[:, 0]
    assert (context - wanted).abs().max() < 1e-6
    assert (weights.sum(1) - 1).abs().max() < 1e-6 and (weights[~mask] == 0).all()


def test_positions_are_the_papers():
    p = attention.positions(50, 8)
    assert p.shape == (50, 8)
    for t, k in ((0, 0), (7, 3), (49, 6)):
        angle = t / 10000 ** (2 * (k // 2) / 8)
        assert abs(p[t, k] - (math.cos(angle) if k % 2 else math.sin(angle))) < 1e-5


def batch(words, alphabet):
    return tasks.pad([alphabet.encode(word) for word in words])


def test_speller_does_not_see_padding():
    torch.manual_seed(0)
    alphabet, words, said = tasks.Alphabet(), ["knight", "to", "tea"], ["ait", "tu", "ti"]
    sounds = batch(said, alphabet)[0]
    for with_attention in (True, False):
        net = attention.Speller(27, 27, 16, with_attention)
        logits, weights = net(*batch(words, alphabet), sounds)
        assert logits.shape == (4, 3, 27)
        alone, looked = net(*batch(words[1:2], alphabet), sounds[:, 1:2])
        assert (alone[:3, 0] - logits[:3, 1]).abs().max() < 1e-5
        if with_attention:
            assert weights.shape == (3, 4, 7) and (weights.sum(-1) - 1).abs().max() < 1e-5
            assert (weights[1, :, 3:] == 0).all() and (looked[0] - weights[1, :, :3]).abs().max() < 1e-5
        else:
            assert weights is None


def test_saying_is_reading_ones_own_words():
    torch.manual_seed(0)
    alphabet = tasks.Alphabet()
    net = attention.Speller(27, 27, 16)
    letters, lengths = batch(["knight", "to"], alphabet)
    said, weights = net.say(letters, lengths, longest=5)
    logits, looked = net(letters, lengths, said)
    assert torch.equal(logits.argmax(-1), said) and (weights - looked).abs().max() < 1e-5


def test_speller_learns_through_the_attention():
    net = attention.Speller(5, 4, 8)
    logits, _ = net(torch.tensor([[0], [1]]), torch.tensor([2]), torch.tensor([[0], [3]]))
    logits.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_transformer_knows_places_and_ignores_padding():
    torch.manual_seed(0)
    net = attention.Transformer(3, 5, width=8, heads=2).eval()
    xs, mask = torch.randn(6, 2, 3), tasks.valid(torch.tensor([6, 4]))
    out = net(xs, mask)
    assert out.shape == (6, 2, 5)
    assert (net(xs[:4, 1:], mask[:4, 1:]) - out[:4, 1:]).abs().max() < 1e-5
    same = net(xs[:1].expand(6, 2, 3), mask)
    assert (same[0] - same[1]).abs().max() > 1e-3  # without positions all steps would be alike
    changed = torch.cat([xs[:-1], xs[-1:] + 1])
    assert (net(changed, mask)[0, 0] - out[0, 0]).abs().max() > 1e-5  # the first step sees the last
