# %% [markdown]
# # 0 · Start here
#
# **15 minutes.** Afterwards you know what the course is about, that your machine is ready for it, and how
# exercises work. You need some Python, and a first idea of what a neural network is.
#
# This is a notebook: run the cells one after the other, from the top, with Shift+Enter.

# %% tags=["bootstrap"]

# %% [markdown]
# If you saw a line with versions above, the course is installed. If you saw `ModuleNotFoundError`, this
# notebook runs in the wrong Python: close it, and in the folder of the course type `make lab`
# (on Windows: see `README.md`).

# %% [markdown]
# ## The way through the course
#
# A video is a **sequence** of pictures. This course takes its two halves one after the other:
# how networks deal with *sequences*, and how they see *motion* between two pictures. It accompanies a lecture on
# computer vision (SJK02, Universitat Jaume I); where the notebooks speak of «the lecture», they mean that one.

# %%
from cvdl import check, exercise, hint, progress, show, use_library
from cvdl.course.notebook import course_map

show(
    course_map.picture(),
    "The way through the course in two rows. Sequences: 1 RNN from scratch, 2 "
    "backpropagation through time, 3 LSTM, 4 first-person gestures. Optical flow: 5 FlowNet "
    "and correlation, 6 FlowNet 2.0, 7 SPyNet, 8 LikeNet. Chapters without a notebook yet "
    "are drawn in grey.",
)

# %% [markdown]
# Each box is a notebook, and builds on those to its left. For the second row you need notebook 1 of the first. A
# grey box is still being written.

# %% [markdown]
# ## Is the machine ready?
#
# The next cell looks at versions, memory and data. Where something is wrong it says what to do.
# In a terminal, `cvdl doctor` does the same.

# %%
from cvdl.course.workspace.doctor import doctor

doctor()

# %% [markdown]
# ## How exercises work
#
# An exercise is a function with a hole: a line of three dots. You replace the dots, run the cell, and run
# the check below it. Here is a very small one.

# %% [markdown]
# > **Exercise 1 · `start.to_unit`** · easy · 3 minutes · 100 points
# >
# > A picture is stored as whole numbers from 0 (black) to 255 (white). Networks like numbers from 0 to 1.
# > Write the conversion.
# >
# > *The check says* «every grey becomes 0»? Look up the difference between `/` and `//` in Python.


# %%
@exercise("start.to_unit", points=100)
def to_unit(image):
    """A picture of whole numbers 0…255 as numbers in [0, 1].

    image: (H, W) uint8 -> (H, W) float
    """
    ### BEGIN SOLUTION
    return image / 255
    ### END SOLUTION


# %%
check("start.to_unit")

# %% tags=["expect"]
import torch

to_unit(torch.tensor([[0, 51, 255]], dtype=torch.uint8))

# %% [markdown]
# As long as the dots stand there, nothing breaks: the check says *not attempted*, and every later cell goes
# on with the course's own version. So you may skip an exercise, run the whole notebook first, or come back
# later.
#
# As soon as you write an answer, the cells below use *yours*, right or wrong.

# %% [markdown]
# ### A wrong answer
#
# A check of a wrong answer does not stop the notebook. Here is one, judged as yours would be.

# %%
from cvdl.course.exercises.api import judged


def too_many_levels(image):
    return image / 256


judged("start.to_unit", too_many_levels)

# %% [markdown]
# Each line is one case with its points. The hint speaks about the mistake that was made.
#
# Three more tools:
#
# - `hint("start.to_unit")` gives a hint; call it again for the next one.
# - `use_library("start.to_unit")` goes on with the course's version although you wrote your own. This is the way out
#   when your answer breaks the cells below.
# - `progress()` shows your points in this notebook.

# %%
hint("start.to_unit")

# %%
progress()

# %% [markdown]
# <details><summary>My kernel hangs in a check.</summary>
#
# A check stops your function after 10 seconds and says so. If a cell outside a check does not end, press
# the square button (■) in the toolbar.
# </details>
#
# <details><summary>The cell with my answer shows a red <code>SyntaxError</code>.</summary>
#
# Then Python could not read it, and the old version is still in force. Mind the indentation: the answer
# starts four spaces from the left, where the dots were.
# </details>
#
# <details><summary>I want the notebook back as it was.</summary>
#
# Rename yours, and run `make lab` again (or `cvdl lab`): a fresh copy of each missing notebook is put into
# `work/`. What you wrote is never overwritten.
# </details>

# %% [markdown]
# ## Three sizes
#
# Every notebook runs in three sizes, called *profiles*. `laptop` is the one you have unless there is a CUDA
# GPU, then it is `gpu`; `quick` is for a first look and for automatic tests. To choose one yourself, set the
# environment variable `CVDL_PROFILE` before you start, `CVDL_PROFILE=quick make lab`, or run `%env CVDL_PROFILE=quick` in the
# first cell of a notebook.

# %%
from cvdl import budget

print("training steps in this profile:", budget(quick=50, laptop=2000, gpu=2000))

# %% [markdown]
# ## What to take away
#
# - Replace `...`, run, `check`. If you are stuck: `hint`, then `use_library`.
# - Points are given case by case, and a wrong answer comes with its reason.
# - `cvdl doctor` looks after the machine.
#
# Go on with [01_rnn_from_scratch.ipynb](01_rnn_from_scratch.ipynb).
