"""Right and wrong answers to the exercises of notebook 00, as students write them."""

import torch


def _vectorised(image):
    return image / 255


def _loops(image):
    return torch.tensor([[int(p) / 255 for p in row] for row in image])


def _whole_numbers(image):
    return (image // 255).float()


def _long(image):
    return (image / 255).long()


def _stretched(image):
    return (image - image.min()) / (image.max() - image.min()).float()


def _levels(image):
    out = image.double()
    out /= 256
    return out


def _own_maximum(image):
    return image / int(image.max())


def _unchanged(image):
    return image


RIGHT = {"start.to_unit": [_vectorised, _loops]}
WRONG = {
    "start.to_unit": {
        "whole-number division": [_whole_numbers, _long],
        "divided by 256": _levels,
        "divided by the image's own maximum": _own_maximum,
        "stretched to the whole range": _stretched,
        "not scaled": _unchanged,
    }
}
