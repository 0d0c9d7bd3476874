"""Chapter 04: gestures that a pointing finger draws before the wearer of a camera.

Positions are in pixels of the frame, x to the right and y down; the middle of the first pixel is 0, 0.
"""

from cvdl.lazy import lazily

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "cvdl.gesture.clip": ("CLASSES", "NONE", "GestureClip"),
        "cvdl.gesture.nets": ("GestureNet",),
        "cvdl.gesture.readers": ("open_gestures",),
        "cvdl.gesture.recogniser": ("Recogniser",),
        "cvdl.gesture.render": ("Gestures",),
    },
)
