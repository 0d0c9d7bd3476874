"""Unforeseen wrong answers to the exercises of notebook 00."""

from tests.unforeseen import Collection

WRONG = Collection()


@WRONG.add("start.to_unit", "from -1 to 1")
def _(image):
    """Scaled to -1 … 1, as many networks on the web expect, instead of 0 … 1."""
    return image / 127.5 - 1


@WRONG.add("start.to_unit", "contrast stretched")
def _(image):
    """The darkest pixel present becomes 0 and the brightest 1 (min-max normalisation)."""
    image = image.float()
    return (image - image.min()) / (image.max() - image.min())


@WRONG.add("start.to_unit", "rounded")
def _(image):
    """Rounded to two digits."""
    return (image / 255 * 100).round() / 100


@WRONG.add("start.to_unit", "digits of 255 transposed")
def _(image):
    """A typing error: 225 for 255."""
    return image / 225


@WRONG.add("start.to_unit", "inverted")
def _(image):
    """White becomes 0 and black 1."""
    return 1 - image / 255
