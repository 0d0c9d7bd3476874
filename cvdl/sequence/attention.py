"""Attention: a decoder that looks back at all states of the encoder, and a small transformer encoder.

The attention itself is torch's.  Time comes first, as everywhere in `cvdl.sequence`: ids are (T, B).
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cvdl.sequence.rnn import teacher_inputs
from cvdl.sequence.tasks import one_hot, valid


def attend(query, keys, values, mask):
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1) of one query per sample.

    query: (B, H), keys: (B, T, H), values: (B, T, R), mask: (B, T) bool, True where a step counts
    -> context (B, R), weights (B, T)
    """
    scores = torch.einsum("bh,bth->bt", query, keys) / query.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return torch.einsum("bt,btr->br", weights, values), weights


def positions(length, width):
    """Sines and cosines of rising wavelength, 2π … 10,000 · 2π (Vaswani et al. 2017, section 3.5).

    -> (length, width): even columns sine, odd ones cosine; width is even.
    """
    angle = torch.arange(length)[:, None] * 1e4 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


class Speller(nn.Module):
    """Letters in, phonemes out: a bidirectional LSTM reads, another LSTM speaks.

    With `attention`, each step of the decoder also looks at the states of the encoder (Bahdanau et al. 2015; the
    query is the decoder's state *after* the step, as in Luong et al. 2015, so that all steps of a training go at once).
    The last symbol of each alphabet is its end.

    net(letters, lengths, sounds) -> logits (S, B, sounds), weights (B, S, T) or None; letters: (T, B), lengths: (B,),
    sounds: (S, B), padded with tasks.PAD.  hidden is even.
    """

    def __init__(self, letters, sounds, hidden, attention=True):
        super().__init__()
        self.letters, self.sounds = letters, sounds
        self.encoder = nn.LSTM(letters, hidden // 2, bidirectional=True)
        self.decoder = nn.LSTM(sounds, hidden)
        self.attention = nn.MultiheadAttention(hidden, 1, batch_first=True) if attention else None
        self.out = nn.Linear(hidden * (1 + attention), sounds)

    def encode(self, letters, lengths):
        """-> states (T, B, H), mask (T, B), and the decoder's first state."""
        packed = pack_padded_sequence(one_hot(letters, self.letters), lengths, enforce_sorted=False)
        hs, state = self.encoder(packed)
        first = tuple(s.transpose(0, 1).reshape(1, len(lengths), -1) for s in state)  # both directions side by side
        return pad_packed_sequence(hs)[0], valid(lengths), first

    def decode(self, said, memory, mask, state):
        """said: (S, B) ids -> logits (S, B, K), weights (B, S, T) or None, the decoder's state"""
        hs, state = self.decoder(one_hot(said, self.sounds), state)
        if self.attention is None:
            return self.out(hs), None, state
        query, memory = hs.transpose(0, 1), memory.transpose(0, 1)
        context, weights = self.attention(query, memory, memory, key_padding_mask=~mask.T)
        return self.out(torch.cat([hs, context.transpose(0, 1)], -1)), weights, state

    def forward(self, letters, lengths, sounds):
        return self.decode(teacher_inputs(sounds, self.sounds - 1), *self.encode(letters, lengths))[:2]

    @torch.no_grad()
    def say(self, letters, lengths, longest=10):
        """The likeliest sound at each step -> ids (longest, B), weights (B, longest, T) or None"""
        memory, mask, state = self.encode(letters, lengths)
        sound, said, looked = torch.full((1, letters.shape[1]), self.sounds - 1), [], []
        for _ in range(longest):
            logits, weights, state = self.decode(sound, memory, mask, state)
            sound = logits.argmax(-1)
            said.append(sound)
            looked.append(weights)
        return torch.cat(said), None if self.attention is None else torch.cat(looked, 1)


class Transformer(nn.Module):
    """A small transformer encoder (Vaswani et al. 2017) from torch's own layers: one answer for each step.

    net(xs, mask) -> (T, B, classes); xs: (T, B, inputs), mask: (T, B) bool, True where a step counts.  Each step sees
    all steps of its sequence, before and after.  width is even, and a multiple of heads.
    """

    def __init__(self, inputs, classes, width=32, heads=4, layers=2):
        super().__init__()
        self.embed = nn.Linear(inputs, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, classes)

    def forward(self, xs, mask):
        place = positions(len(xs), self.embed.out_features).to(xs)
        hs = self.encoder(self.embed(xs) + place[:, None], src_key_padding_mask=~mask.T)
        return self.out(hs)
