"""Chapters 05–09: optical flow.

Conventions, the same in every file of this folder:

- An image is RGB, float in [0, 1]: (B, 3, H, W).
- A flow is in pixels, float: (B, 2, H, W).  Channel 0 is x, to the right; channel 1 is y, *down*.  It
  leads from frame 1 to frame 2: the point at p in frame 1 is at p + flow(p) in frame 2.
- `valid` says where the flow is known: bool, (B, 1, H, W).
- `warp(image2, flow)` samples backward and bilinearly; pixel centres have integer coordinates.  Zero
  flow returns the image exactly, whole-numbered flow an exact shift.
- `read_flow` gives one flow (2, H, W) and its mask (H, W).  Metrics and figures take it as it is: they
  accept any number of leading dimensions, and a mask with or without its dimension of size one.
- Metrics and losses select by mask and never multiply by it, so NaN at unknown pixels does no harm.
- A net in eval mode turns two images of any size into the flow at that size, in its pixels.  In train
  mode it gives a list of flows, finest first, each at its own resolution, in pixels of the full-size
  input.  Losses divide by FLOW_SCALE = 20.
- Bad input gets a ValueError that says what was expected, what came, and what to do.
"""

# `correlation` and `warp` are also names of modules.  Imported here and now, the functions win.
from cvdl.flow.correlation import correlation
from cvdl.flow.io import read_flow, write_flow
from cvdl.flow.metrics import angular_error, epe, fl_all
from cvdl.flow.warp import in_frame, warp
from cvdl.lazy import lazily

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "cvdl.flow.colours": ("flow_to_image",),
        "cvdl.flow.estimate": ("compute",),
        "cvdl.flow.models.flownet": ("FlowNetC", "FlowNetS"),
        "cvdl.flow.models.flownet2": (
            "FlowNet2",
            "FlowNet2CS",
            "FlowNet2CSS",
            "FlowNet2SD",
            "FlowNet2SS",
            "FlowNetStack",
            "fusion_input",
            "stack_input",
        ),
        "cvdl.flow.models.likenet": ("LikeNet",),
        "cvdl.flow.models.ported": ("load_published",),
        "cvdl.flow.models.spynet": ("SPyNet",),
    },
    eager=[f.__name__ for f in (angular_error, correlation, epe, fl_all, in_frame, read_flow, warp, write_flow)],
)
