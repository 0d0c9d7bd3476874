"""Exercises of notebook 00."""

import torch

from cvdl.course.cases import around
from cvdl.course.judge import Case, Exercise, Mistake


def to_unit(image):
    """A picture of whole numbers 0…255 as floats in [0, 1].  image: (H, W) uint8 -> (H, W) float"""
    return image.float() / 255


def _oracle(image):
    return torch.tensor([[p / 255 for p in row] for row in image.tolist()])


def _greys(*shape):
    return lambda generator: (torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),)


EXERCISES = [
    Exercise(
        id="start.to_unit",
        title="pixels to numbers",
        library=to_unit,
        oracle=_oracle,
        axes=("row", "column"),
        cases=(
            Case(
                "black and white",
                50,
                "Black is 0 and has to stay 0; white is 255 and has to become 1.",
                make=lambda g: (torch.tensor([[0, 255]], dtype=torch.uint8),),
            ),
            Case(
                "random greys",
                50,
                "Every grey in between keeps its proportion: 51 is a fifth of 255, so it becomes 0.2.",
                make=around(_greys, 3, 5),
            ),
        ),
        mistakes=(
            Mistake(
                "whole-number division",
                "`//` throws the fraction away, so that every grey becomes 0. You want `/`.",
                like=lambda image: image // 255,
            ),
            Mistake(
                "divided by 256",
                "There are 256 levels, but the highest is 255: white has to become exactly 1.",
                like=lambda image: image.float() / 256,
            ),
            Mistake(
                "divided by the picture's own maximum",
                "The brightest pixel of a dark picture is not white. Divide by the highest possible value, not by the highest present.",
                like=lambda image: image.float() / image.max(),
            ),
            Mistake(
                "not scaled",
                "The values still run from 0 to 255. They have to end in 0 to 1.",
                like=lambda image: image.float(),
            ),
        ),
        hints=(
            "Which number has to become 1?",
            "Divide every pixel by that number.",
            "PyTorch divides a whole tensor at once: `image / number`.",
        ),
    ),
]
