"""Recipes for the networks of chapter 04, trained on rendered clips alone.

The memory learns from tracks of the finger tip, which cost next to nothing to make ("gesture-track"); the CNN from single
frames, few of each clip, so that they differ; then the memory from whole clips, to know what the CNN makes of them.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from cvdl import zoo
from cvdl.errors import InvalidInput
from cvdl.gesture.clip import NONE
from cvdl.gesture.nets import GestureNet, TrackLSTM, heatmap_loss, places, soft_argmax, spread, ticks
from cvdl.gesture.render import PARTS, SPLITS, Gestures
from cvdl.gesture.sequences import many_to_many, many_to_one
from cvdl.train.stages import Recipe, Stage, unfreeze_all

NEAR = 0.1  # half widths of the frame: a tip is found that is no farther away, 8 of 160 pixels


class Sequences(NamedTuple):
    """A batch of B sequences of T ticks at most, and N ticks in all; those in order of time, as mask[mask] has them."""

    frames: torch.Tensor | None  # (N, 3, H, W) uint8
    points: torch.Tensor  # (N, 3), as `places` makes them
    mask: torch.Tensor  # (T, B) bool
    labels: torch.Tensor  # (T, B): the gesture that is being or was just drawn; -100 outside the mask
    kinds: torch.Tensor  # (B,): that of the last clip in each
    gain: torch.Tensor | None = None  # (B, 2), of places; with the next two what makes training harder
    offset: torch.Tensor | None = None  # (T, B, 2)
    keep: torch.Tensor | None = None  # (T, B, 1) from 0 to 1: how sure it is that the tip is there, 0 where it is lost

    def disturb(self, points):
        """Points (T, B, 3), as a CNN may tell them: bigger, smaller, elsewhere, trembling, less sure, at times not at all."""
        if self.gain is None:
            return points
        return torch.cat([points[..., :2] * self.gain + self.offset, points[..., 2:] * self.keep], 2)


@dataclass(frozen=True)
class Rendered:
    """What gives sequences by their numbers: each is a chain of clips whose classes are thrown by dice."""

    clips: Gestures
    frames: bool
    chain: int
    limit: int
    device: torch.device
    pick: int | None = None

    def pairs(self, numbers):
        return self.batch([self.sequence(number) for number in numbers])

    def sequence(self, number):
        """-> frames (T, H, W, 3) or None, points (T, 3), labels (T,), kind"""
        dice = np.random.default_rng([self.clips.seed, SPLITS.index(self.clips.split), number])
        parts = [self.part(int(i), dice) for i in dice.integers(2**31, size=self.chain)]
        frames, points, labels, kinds = zip(*parts, strict=True)
        return torch.cat(frames) if self.frames else None, torch.cat(points), torch.cat(labels), kinds[-1]

    def part(self, i, dice):
        clip = self.clips.track(i)
        seen = ticks(len(clip), clip.fps)[: self.limit]
        labels = clip.labels[seen]
        labels = torch.where((labels != NONE).cumsum(0) > 0, clip.label, NONE)  # once drawn, it stays the answer
        if self.pick:
            chosen = np.sort(dice.choice(len(seen), min(self.pick, len(seen)), replace=False))
            seen, labels = seen[chosen], labels[chosen]
        frames = self.clips.stills(i, seen) if self.frames else None
        return frames, places(clip.track[seen], self.clips.size), labels, clip.label

    def batch(self, sequences):
        frames, points, labels, kinds = zip(*sequences, strict=True)
        labels = torch.nn.utils.rnn.pad_sequence(list(labels), padding_value=-100)
        mask = labels != -100
        points, frames = (
            torch.nn.utils.rnn.pad_sequence(list(part))[mask] if part[0] is not None else None
            for part in (points, frames)
        )
        if frames is not None:
            frames = frames.permute(0, 3, 1, 2).to(self.device)
        points, mask, labels, kinds = (part.to(self.device) for part in (points, mask, labels, torch.tensor(kinds)))
        return Sequences(frames, points, mask, labels, kinds)


@dataclass(frozen=True, kw_only=True)
class GestureStage(Stage):
    """A stage on sequences of rendered clips.  Its error is a share: of frames in which the fingertip is not found, or of
    sequences that are misclassified at their end."""

    frames: bool = True  # False: fingertip tracks, which are rendered much faster
    pick: int | None = None  # frames of each clip, some of them mirrored; None: complete clips
    chain: int = 1  # clips in a sequence
    limit: int = 80  # ticks of a clip
    size: tuple = (120, 160)
    fps: tuple = (10, 20)
    fixed: tuple = ()  # what does not vary: of PARTS of cvdl.gesture.render

    def dataset(self, split, seed, device, pools, deadline=None):
        split, fixed = ("train", self.fixed) if split == "train" else ("val", ())
        clips = Gestures(split, seed, self.size, self.fps, fixed=fixed)
        return Rendered(clips, self.frames, self.chain, self.limit, device, self.pick)

    def augment_batch(self, batch, indices):
        generator = torch.Generator().manual_seed(indices[0])

        def rand(*shape):
            return torch.rand(shape, generator=generator).to(batch.points)

        if self.pick:
            if rand() < 0.5:
                return batch
            mirrored = batch.points * batch.points.new_tensor([-1, 1, 1])
            return batch._replace(frames=batch.frames.flip(3), points=mirrored)
        T, B = batch.mask.shape
        lost = rand(T, B, 1) < 0.25 * rand(B, 1)  # of some sequences nothing, of others an eighth on average
        stray = rand(T, B, 1) < 0.02
        tremble = 0.04 * rand(B, 1) * torch.randn((T, B, 2), generator=generator).to(batch.points)
        offset = (rand(B, 2) - 0.5) * 0.4 + tremble + stray * (2 * rand(T, B, 2) - 1)
        return batch._replace(gain=0.75 + 0.5 * rand(B, 2), offset=offset, keep=~lost * (0.5 + 0.5 * rand(T, B, 1)))

    def format_metric(self, error):
        return f"{error:.1%} wrong"

    def describe_data(self, dataset):
        kind = "frames" if self.pick else "clips" if self.frames else "tracks"
        return {
            "kind": f"rendered {kind}",
            "size": self.size,
            "fps": self.fps,
            "chain": self.chain,
            "fixed": self.fixed,
        }

    def summarise(self, rows):
        return super().summarise(rows) | {"sequences": len(rows)}


# How the network is called: (net, sequences) -> output.


def detect(net, batch):
    """The CNN alone, on single frames -> its heatmap scores."""
    return net.detect(batch.frames)[1]


def follow_tracks(net, batch):
    """The memory alone, on true tracks of the fingertip -> logits."""
    return getattr(net, "memory", net)(batch.disturb(spread(batch.points, batch.mask)))[0]


def follow_clips(net, batch):
    """The memory, on what the CNN sees in complete clips -> logits."""
    with torch.no_grad():
        maps, scores = net.detect(batch.frames)
    return net.remember(maps, scores, batch.mask, batch.frames.shape[2:], disturb=batch.disturb)[0]


# Losses: (output, sequences) -> loss, error


def fingertip_loss(scores, batch):
    size = batch.frames.shape[2:]
    with torch.no_grad():
        found, true = soft_argmax(scores, size), batch.points
        near = (found - true)[:, :2].norm(dim=1) <= NEAR
        right = torch.where(true[:, 2] > 0, near & (found[:, 2] > 0.5), found[:, 2] <= 0.5)
    return heatmap_loss(scores, batch.points, size), 1 - right.float().mean()


def sequence_loss(logits, batch):
    """Cross-entropy at every step, many-to-many, and once more at the last one of each sequence: many-to-one.

    With the first alone, most of what is learned is to guess early.  The error is the share of sequences that are named
    wrongly at their end.
    """
    loss = many_to_many(logits, batch.mask, batch.labels) + many_to_one(logits, batch.mask, batch.kinds)
    last = batch.mask.sum(0) - 1
    named = logits.detach()[last, torch.arange(len(last), device=last.device)].argmax(1)
    return loss, (named != batch.kinds).float().mean()


# Which part learns.


def only_cnn(net):
    net.requires_grad_(False)
    net.cnn.requires_grad_(True)


def only_memory(net):
    net.requires_grad_(False)
    net.memory.requires_grad_(True)


def memory_of_tracks(net, learns=only_memory):
    """Begin with the shipped weights "gesture-track" as the memory."""
    net.memory.load_state_dict(shipped("gesture-track").state_dict())
    learns(net)


def cnn_of_the_zoo(net):
    """The CNN of the shipped weights "gesture", which does not learn: what differs is the memory."""
    net.cnn.load_state_dict(shipped("gesture").cnn.state_dict())
    only_memory(net)


def shipped(name):
    if name not in zoo.names():
        raise InvalidInput(
            f"This network begins with a part of {name!r}, and the zoo has no such weights. Train them first."
        )
    return zoo.load(name)


before_memory = partial(memory_of_tracks, learns=only_cnn)
stage = partial(GestureStage, schedule="cosine", weight_decay=1e-4)


def stages(cnn_steps=0, track_steps=0, clip_steps=0, *, batch=(16, 64, 8), reuse=6, begin=unfreeze_all):
    """begin: what a memory begins with, and what learns then."""
    every = [
        stills(cnn_steps, batch[0]),
        stage(
            name="tracks",
            steps=track_steps,
            predict_with=follow_tracks,
            loss=sequence_loss,
            prepare=begin,
            batch=batch[1],
            steps_per_batch=reuse,
            lr=1e-3,
            frames=False,
            chain=2,
        ),
        stage(
            name="clips",
            steps=clip_steps,
            predict_with=follow_clips,
            loss=sequence_loss,
            prepare=begin,
            batch=batch[2],
            steps_per_batch=max(1, reuse // 2),
            lr=3e-4,
        ),
    ]
    return [each for each in every if each.steps]


def stills(steps, batch, prepare=only_cnn, **options):
    return stage(
        name="fingertip",
        steps=steps,
        predict_with=detect,
        loss=fingertip_loss,
        prepare=prepare,
        batch=batch,
        steps_per_batch=2,
        lr=2e-3,
        warmup=min(100, steps // 2),
        pick=4,
        **options,
    )


def recipe(title, net, quick, laptop, gpu, **options):
    """quick, laptop, gpu: steps of the stages fingertip, tracks and clips."""
    return Recipe(
        title,
        net,
        {
            "quick": stages(*quick, batch=(2, 4, 2), reuse=2, **options),
            "laptop": stages(*laptop, **options),
            "gpu": stages(*gpu, batch=(32, 128, 16), **options),
        },
    )


GESTURES = {
    "gesture-track": recipe("gestures: an LSTM on tracks", TrackLSTM, (0, 4, 0), (0, 4000, 0), (0, 12000, 0)),
    "gesture": recipe(
        "gestures: CNN and LSTM", GestureNet, (4, 0, 4), (2400, 0, 200), (12000, 0, 3000), begin=memory_of_tracks
    ),
    "gesture-convlstm": recipe(
        "gestures: its CNN, and a ConvLSTM",
        partial(GestureNet, "convlstm"),
        (0, 0, 4),
        (0, 0, 200),
        (0, 0, 4000),
        begin=cnn_of_the_zoo,
    ),
    **{
        f"gesture-{name}": recipe(
            f"gestures: its CNN, and {what}",
            partial(GestureNet, memory),
            (0, 4, 0),
            (0, 2000, 0),
            (0, 10000, 0),
            begin=cnn_of_the_zoo,
        )
        for name, memory, what in (
            ("meanpool", "mean", "the mean of all frames"),
            ("last", "last", "the last frame alone"),
        )
    },
    # What the variety of the rendered clips is worth: one part of them after the other does not vary.  The memory is the same.
    **{
        f"variety-{name}": Recipe(
            f"gestures: the finger tip, {what}",
            GestureNet,
            {
                "quick": [stills(4, 2, before_memory, fixed=fixed)],
                "laptop": [stills(200, 16, before_memory, fixed=fixed)],
                "gpu": [stills(4000, 32, before_memory, fixed=fixed)],
            },
        )
        for name, what, fixed in (
            ("all", "all parts varied", ()),
            *((f"no-{part}", f"{part} always the same", (part,)) for part in PARTS),
            ("none", "nothing varied", PARTS),
        )
    },
}
