"""The one form in which gestures come, rendered or read from files."""

from dataclasses import dataclass

import torch

from cvdl.errors import InvalidInput

# The ten gestures of EgoGestAR, made for *DrawInAir* (Garg et al., ECCV Workshops 2018), and none of them.
CLASSES = ("left", "right", "up", "down", "square", "circlecc", "tick", "carret", "del", "star", "none")
NONE = CLASSES.index("none")


@dataclass
class GestureClip:
    """A clip of T frames.  It has frames, or a track, or both.

    x is to the right and y down, in pixels of the frame; the middle of the first pixel is 0, 0.
    Raises CourseError where parts do not fit together.
    """

    frames: torch.Tensor | None  # (T, H, W, 3) uint8, RGB
    track: torch.Tensor | None  # (T, 2) float32: x, y of the finger tip; NaN where it is out of view
    fps: float  # frames a second
    label: int  # number of the class in `classes`
    labels: torch.Tensor | None  # (T,) long: `label` while the stroke is drawn, NONE before and after; None: not known
    who: str  # subject or session: clips with the same one never stand in two splits
    classes: tuple = CLASSES  # of its set

    def __post_init__(self):
        parts = [part for part in (self.frames, self.track, self.labels) if part is not None]
        if self.frames is None and self.track is None:
            raise InvalidInput("A GestureClip needs frames or a track, and it has neither. Give one of them.")
        if len({len(part) for part in parts}) != 1:
            raise InvalidInput(
                f"The parts of a GestureClip have {' and '.join(str(len(part)) for part in parts)} frames; they need "
                "equally many. Cut all of them at the same places."
            )
        if self.frames is not None and (
            self.frames.dtype != torch.uint8 or self.frames.dim() != 4 or self.frames.shape[3] != 3
        ):
            raise InvalidInput(
                f"frames is {self.frames.dtype} of shape {tuple(self.frames.shape)}; it has to be uint8 (T, H, W, 3). "
                "Multiply floats by 255, and put the colours last."
            )
        if not 0 <= self.label < len(self.classes):
            raise InvalidInput(f"label is {self.label}; it has to be a number of classes, 0 … {len(self.classes) - 1}.")
        if not self.fps > 0:
            raise InvalidInput(
                f"fps is {self.fps}; it has to be positive. Many files lie about it: look at their makers' notes."
            )

    def __len__(self):
        return len(self.frames if self.track is None else self.track)
