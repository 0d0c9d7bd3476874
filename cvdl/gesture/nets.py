"""Networks that follow a pointing finger and say, after every frame, which gesture it draws.

    frame ──> CNN ──> where the finger tip is ──> memory ──> a class, at every step

They differ in their memory alone, so that it can be seen what it is worth:

    "lstm"      an LSTM that reads the finger tip's track            GestureNet(), the default
    "convlstm"  a ConvLSTM that reads the CNN's maps                 GestureNet("convlstm")
    "mean"      the mean over all frames so far: no order            GestureNet("mean")
    "last"      none: the last frame alone                           GestureNet("last")

Time runs in ticks, RATE a second, whatever the camera's rate: see `ticks`.  Sequences are (T, B, …).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from cvdl.errors import InvalidInput
from cvdl.sequence.lstm import ConvLSTM, forget_bias_

RATE = 10  # ticks a second
CELL = 4  # pixels of a frame to a cell of the map of places


def ticks(count, fps):
    """The frames that a network sees: at each tick the newest one.  -> numbers of frames, (ticks,) long

    count: frames there are.  Worked example: at 25 frames a second, RATE 10, frames 0, 2, 5, 7, 10, … are seen; at 5 a
    second, frames 0, 0, 1, 1, 2, 2, …
    """
    number = math.ceil(count * RATE / fps - 1e-6)
    return torch.tensor([newest(tick, fps) for tick in range(number)])


def newest(tick, fps):
    """The newest frame at a tick."""
    return int(tick * fps / RATE + 1e-6)


def places(track, size):
    """A track in pixels (…, 2), NaN where nothing is seen -> (…, 3): x, y from -1 to 1 over the frame, and 1 or 0: seen."""
    height, width = size
    at = (track + 0.5) / track.new_tensor([width, height]) * 2 - 1
    seen = ~track.isnan().any(-1, keepdim=True)
    return torch.cat([at.where(seen, 0), seen.to(at)], -1)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(4, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(4, channels)

    def forward(self, x):
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def halve(inputs, outputs, kernel=3):
    conv = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(4, outputs), nn.ReLU(inplace=True))


class FingertipCNN(nn.Module):
    """A frame -> how likely the finger tip is at each cell of CELL × CELL pixels, or nowhere.

    cnn(images (N, 3, H, W) in [0, 1]) -> maps (N, 4 width, H/8, W/8), scores (N, 1 + H/4 · W/4); the first score is of
    «nowhere».  It sees one frame at a time.  Colour cast and exposure are taken out first, as no light is like another.
    The tip alone is a few pixels of skin: what tells it from a knuckle is the arm, so it looks at 1/16 of the size, too.
    """

    def __init__(self, width=16):
        super().__init__()
        one, two, three, four = width, 2 * width, 4 * width, 6 * width
        self.at2 = halve(3, one, 5)
        self.at4 = nn.Sequential(halve(one, two), Residual(two))
        self.at8 = nn.Sequential(halve(two, three), Residual(three))
        self.at16 = nn.Sequential(halve(three, four), Residual(four), Residual(four))
        self.to8, self.to4 = nn.Conv2d(four, three, 1), nn.Conv2d(three, two, 1)
        self.mix8, self.mix4 = Residual(three), Residual(two)
        self.score, self.nowhere = nn.Conv2d(two, 1, 1), nn.Linear(four, 1)

    def forward(self, images):
        spread, mean = torch.std_mean(images, (2, 3), keepdim=True)
        at4 = self.at4(self.at2((images - mean) / (spread + 0.05)))
        at8 = self.at8(at4)
        at16 = self.at16(at8)
        at8 = self.mix8(at8 + F.interpolate(self.to8(at16), at8.shape[2:]))
        at4 = self.mix4(at4 + F.interpolate(self.to4(at8), at4.shape[2:]))
        return at8, torch.cat([self.nowhere(at16.mean((2, 3))), self.score(at4).flatten(1)], 1).float()


def rows_and_columns(size):
    """How many cells a frame (H, W) has, those at the rim included."""
    return [-(-side // CELL) for side in size]


def cells(size, device=None):
    """Middles of the cells of a frame (H, W), row by row -> (H/4 · W/4, 2) x, y from -1 to 1"""
    y, x = ((torch.arange(n, device=device) + 0.5) / n * 2 - 1 for n in rows_and_columns(size))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)


def cell_sides(size, device=None):
    """Width and height of a cell of a frame (H, W), whose own are 2 -> (2,)"""
    rows, columns = rows_and_columns(size)
    return torch.tensor([2 / columns, 2 / rows], device=device)


def soft_argmax(scores, size, reach=3):
    """Scores (N, 1 + cells) -> (N, 3): x, y from -1 to 1, and how sure.

    The mean place over the likeliest cell and those `reach` cells around it (a local soft-argmax): a second finger, far
    away, does not draw it to the middle.  Sure is the probability of all these cells together.
    """
    grid, step = cells(size, scores.device), cell_sides(size, scores.device)
    chance = scores.softmax(1)[:, 1:]
    near = ((grid - grid[chance.argmax(1)][:, None]).abs() < (reach + 0.5) * step).all(2)
    chance = chance * near
    sure = chance.sum(1, keepdim=True)
    return torch.cat([chance @ grid / sure.clamp(min=1e-9), sure], 1)


def heatmap_loss(scores, points, size):
    """Cross-entropy of the CNN's scores (N, 1 + cells) to a Gaussian of one cell around the true place, or to «nowhere».

    points: (N, 3), as `places` makes them.
    """
    grid, step = cells(size, scores.device), cell_sides(size, scores.device)
    away = ((grid - points[:, None, :2]) / step).square().sum(2)
    target = (-away / 2).softmax(1) * points[:, 2:]
    target = torch.cat([1 - points[:, 2:], target], 1)
    return F.cross_entropy(scores, target)


class TrackLSTM(nn.Module):
    """An LSTM on the finger tip's track: the smallest recogniser, and the memory of the larger one.

    net(points (T, B, 3), state) -> logits (T, B, K), state.  points: x, y, sure.  While the tip is not seen it is taken to
    be where it was last.  What is read at each step: place, speed, and how sure.
    """

    def __init__(self, hidden=96, classes=11):
        super().__init__()
        self.hidden, self.classes = hidden, classes
        self.read = nn.Linear(5, hidden // 2)
        self.lstm = forget_bias_(nn.LSTM(hidden // 2, hidden), 1.0)
        self.write = nn.Linear(hidden, classes)

    def forward(self, points, state=None):
        at, state = (points[0, :, :2], None) if state is None else state
        read, at = self.features(points, at)
        hs, state = self.lstm(read, state)
        return self.write(hs), (at, state)

    def features(self, points, at):
        """What the LSTM reads: (T, B, H/2); and where the tip was last.  at: (B, 2), where it was before."""
        held = [at]
        for point in points:
            held.append(torch.lerp(held[-1], point[:, :2], point[:, 2:]))
        held = torch.stack(held)
        features = torch.cat([held[1:], 5 * held.diff(dim=0), points[:, :, 2:]], 2)
        return F.relu(self.read(features)), held[-1]

    def gates(self, points):
        """How open the gates are while it reads points (T, B, 3) from the beginning -> i, f, o: (T, B, H) each, 0 to 1"""
        read, _ = self.features(points, points[0, :, :2])
        hs, _ = self.lstm(read)
        before = torch.cat([torch.zeros_like(hs[:1]), hs[:-1]])
        lstm = self.lstm
        sums = F.linear(read, lstm.weight_ih_l0, lstm.bias_ih_l0) + F.linear(before, lstm.weight_hh_l0, lstm.bias_hh_l0)
        i, f, _, o = sums.chunk(4, -1)  # PyTorch's order is i f g o
        return i.sigmoid(), f.sigmoid(), o.sigmoid()

    def options(self):
        return {"hidden": self.hidden, "classes": self.classes}


class LastFrame(nn.Module):
    """What the last frame alone says; arguments as `TrackLSTM`."""

    def __init__(self, hidden=96, classes=11):
        super().__init__()
        self.read = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.write = nn.Linear(hidden, classes)

    def forward(self, points, state=None):
        return self.write(self.read(points)), None


class MeanPool(LastFrame):
    """The mean of what single frames say, over all frames so far.  It forgets the order."""

    def forward(self, points, state=None):
        total, count = state or (0, 0)
        sums = total + self.read(points).cumsum(0)
        counts = count + torch.arange(1, len(points) + 1, device=points.device)
        return self.write(sums / counts[:, None, None]), (sums[-1], counts[-1])


class MapLSTM(nn.Module):
    """A ConvLSTM on the CNN's maps: maps (T, B, C, h, w), state -> logits (T, B, K), state.

    A state that is a map can keep where something moved; how sure the CNN is of each place is one more channel.
    """

    def __init__(self, inputs, hidden=24, classes=11):
        super().__init__()
        self.read = nn.Conv2d(inputs, hidden, 1)
        self.lstm = ConvLSTM(hidden + 1, hidden)
        self.write = nn.Linear(2 * hidden, classes)

    def forward(self, maps, chances, state=None):
        T, B = maps.shape[:2]
        read = F.relu(self.read(maps.flatten(0, 1)))
        chances = F.adaptive_max_pool2d(chances.flatten(0, 1), read.shape[2:])
        hs, state = self.lstm(torch.cat([read, chances], 1).unflatten(0, (T, B)), state)
        return self.write(torch.cat([hs.mean((3, 4)), hs.amax((3, 4))], 2)), state


MEMORIES = {"lstm": TrackLSTM, "mean": MeanPool, "last": LastFrame, "convlstm": MapLSTM}


class GestureNet(nn.Module):
    """Frames in, a class at every step out: net(frames (T, B, 3, H, W), state) -> logits (T, B, K), state.

    frames: uint8, or float in [0, 1]; sides of 32 pixels or more.  Without a state it begins anew; the state is of constant
    size, so that net(second half, state after the first half) goes on.  Raises CourseError for other shapes and memories.
    """

    def __init__(self, memory="lstm", width=16, hidden=None, classes=11):
        super().__init__()
        if memory not in MEMORIES:
            raise InvalidInput(f"There is no memory {memory!r}; there are {', '.join(MEMORIES)}.")
        self.kind, self.width, self.hidden, self.classes = memory, width, hidden, classes
        first = [4 * width] if memory == "convlstm" else []
        self.cnn = FingertipCNN(width)
        self.memory = MEMORIES[memory](*first, **({"hidden": hidden} if hidden else {}), classes=classes)

    def forward(self, frames, state=None):
        if frames.ndim != 5 or frames.shape[2] != 3 or min(frames.shape[3:]) < 32 or not len(frames):
            raise InvalidInput(
                f"A GestureNet reads frames (T, B, 3, H, W) of 32 × 32 pixels or more; here came {tuple(frames.shape)}. "
                "One clip becomes a batch by clip[:, None]."
            )
        mask = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        return self.remember(*self.detect(frames.flatten(0, 1)), mask, frames.shape[3:], state)

    def detect(self, frames):
        """Frames (N, 3, H, W) -> the CNN's maps and scores"""
        return self.cnn(frames.float() / 255 if frames.dtype == torch.uint8 else frames)

    def remember(self, maps, scores, mask, size, state=None, disturb=None):
        """What the CNN saw of frames of a size -> logits (T, B, K), state

        mask: (T, B) bool, which steps these N frames are, in order of time; the others are blank.
        disturb: points (T, B, 3) -> the same, made worse, for training.
        """
        # The memory is small: full precision costs nothing.
        with torch.autocast(scores.device.type, enabled=False):
            if self.kind == "convlstm":
                chances = scores.softmax(1)[:, 1:].unflatten(1, (1, *rows_and_columns(size)))
                return self.memory(spread(maps.float(), mask), spread(chances, mask), state)
            points = spread(soft_argmax(scores, size), mask)
            return self.memory(disturb(points) if disturb else points, state)

    def options(self):
        return {"memory": self.kind, "width": self.width, "hidden": self.hidden, "classes": self.classes}


def spread(values, mask):
    """(N, …) -> (T, B, …) where mask (T, B) is True, 0 elsewhere"""
    out = values.new_zeros(*mask.shape, *values.shape[1:])
    out[mask] = values
    return out
