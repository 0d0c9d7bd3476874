"""Exercises of notebook 00."""

import torch

from cvdl.course.exercises.case_helpers import around
from cvdl.course.exercises.scoring import Case, Exercise, Mistake


def to_unit(image):
    """An image of whole numbers 0…255 as floats in [0, 1].  image: (H, W) uint8 -> (H, W) float"""
    return image.float() / 255


def _oracle(image):
    return torch.tensor([[p / 255 for p in row] for row in image.tolist()])


def _greys(*shape):
    """Neither black nor white is among them, because an answer that uses the image's own extremes would then be right by chance."""
    return lambda generator: (torch.randint(20, 200, shape, generator=generator, dtype=torch.uint8),)


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
                "Black is 0 and must stay 0; white is 255 and must become exactly 1. What must you divide 255 by to get 1?",
                make=lambda g: (torch.tensor([[0, 255]], dtype=torch.uint8),),
            ),
            Case(
                "random greys",
                50,
                "Black and white are right, but the greys between them are not: 51 must become 0.2 and 100 must become 0.392157. If yours is 0.39, do not round. If yours is further off, do you divide by 255, or by the brightest pixel of the image?",
                make=around(_greys, 3, 5),
            ),
        ),
        mistakes=(
            Mistake(
                "whole-number division",
                "The fractions are lost, by `//` or by converting to integers after the division, as with `.long()`. Divide with `/` and leave the result as a float.",
                like=lambda image: image // 255,
            ),
            Mistake(
                "divided by 256",
                "There are 256 levels, but the highest is 255: white must become exactly 1.",
                like=lambda image: image.float() / 256,
            ),
            Mistake(
                "divided by the image's own maximum",
                "The brightest pixel of a dark image is not white. Divide by the highest possible value, not by the highest in the image.",
                like=lambda image: image.float() / image.max(),
            ),
            Mistake(
                "stretched to the whole range",
                "You stretch the image's own darkest and brightest values to 0 and 1. That changes a dark image. Divide by 255.",
                like=lambda image: (image.float() - image.min()) / (image.max() - image.min()),
            ),
            Mistake(
                "not scaled",
                "Your values still run from 0 to 255. They must end up between 0 and 1.",
                like=lambda image: image.float(),
            ),
        ),
        hints=(
            "Which number must become 1?",
            "Divide every pixel by that number.",
            "PyTorch divides a whole tensor at once: `image / number`.",
        ),
    ),
]
