"""A recogniser of gestures that looks on: after every frame it says what it thinks, and keeps only its memory.

recogniser = Recogniser.load("gesture")
probabilities = recogniser.recognise(frames, fps=25)  # (T, K), a row for each frame
for row in recogniser.watch(camera, fps=25):  # the same, frame by frame, for as long as one likes
    print(recogniser.classes[row.argmax()])
"""

import torch

from cvdl.errors import InvalidInput
from cvdl.gesture.clip import CLASSES
from cvdl.gesture.files import SIZE, resized
from cvdl.gesture.nets import GestureNet, TrackLSTM, newest, places


class Recogniser:
    """net: a GestureNet, which sees frames, or a TrackLSTM, which sees finger-tip tracks."""

    classes = CLASSES

    def __init__(self, net):
        self.net = net.eval()

    @classmethod
    def load(cls, name="gesture"):
        """The recogniser with weights of the zoo, or of a file of `cvdl train`.  Raises CourseError for other names."""
        from cvdl import zoo

        net = zoo.load(name)
        if not isinstance(net, (GestureNet, TrackLSTM)):
            raise InvalidInput(f"{name!r} is a {type(net).__name__}, which recognises no gestures. Take «gesture».")
        return cls(net)

    def recognise(self, frames, fps):
        """Probabilities of `classes` after each frame: (T, K), rows sum to 1.

        frames: uint8 (T, H, W, 3), RGB, a tensor or an array, of any size; for a TrackLSTM a track (T, 2) float in pixels of a
        frame of 120 × 160, NaN where the tip is not seen.  fps: frames a second.

        Causal: row t depends on frames 0 … t.  Time is resampled inside: at each of the net's ticks, RATE a second, it sees
        the newest frame, and rows between two ticks repeat the last one.  Raises CourseError for other input.
        """
        frames = torch.as_tensor(frames)
        track = isinstance(self.net, TrackLSTM)
        wanted = "a track (T, 2), float" if track else "frames (T, H, W, 3), uint8"
        fits = frames.ndim == (2 if track else 4) and frames.shape[-1] == (2 if track else 3) and len(frames)
        if not fits or (frames.dtype == torch.uint8) == track:
            raise InvalidInput(
                f"This recogniser wants {wanted}, with T at least 1; here came {frames.dtype} {tuple(frames.shape)}."
            )
        return torch.stack(list(self.watch(frames, fps)))

    @torch.inference_mode()
    def watch(self, frames, fps):
        """The same, one by one: for each frame (H, W, 3) of an iterable its row (K,).  Memory does not grow."""
        if not fps > 0:
            raise InvalidInput(f"fps is {fps}; it has to be positive: frames a second.")
        state, tick = None, 0
        for t, frame in enumerate(frames):
            while newest(tick, fps) == t:
                logits, state = self._tick(frame, state)
                tick += 1
            yield logits[0, 0].softmax(0)

    def _tick(self, frame, state):
        if isinstance(self.net, TrackLSTM):
            return self.net(places(frame.float(), SIZE)[None, None], state)
        image = resized(torch.as_tensor(frame), SIZE).permute(2, 0, 1)
        return self.net(image[None, None], state)
