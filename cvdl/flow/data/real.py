"""Real pairs of frames: published datasets, your own folder, a video.

    pairs = open_pairs("sintel-clean")         # a dataset in CVDL_SETS; names: cvdl data
    pairs = open_pairs("my/pictures")          # a folder of image pairs, or of a sequence
    pairs = open_pairs("clip.mp4", step=2)     # frames 0 and 2, 2 and 4, …
    sample = pairs[0]                          # files are read here, not before
    sample.name, sample.image1.shape           # "alley_1/frame_0001", (3, 436, 1024)

Which files make a pair is decided in listing (published sets) and folder; a video is read in video.
"""

from collections.abc import Sequence

from cvdl.data.pictures import animation
from cvdl.data.registry import SETS
from cvdl.errors import InvalidInput, nearest
from cvdl.files import expanded, is_file, is_folder
from cvdl.flow.data.folder import PICTURES, VIDEOS, folder_files, single_video
from cvdl.flow.data.pair_lists import real_files, set_files
from cvdl.flow.data.sample import Sample, read_sample
from cvdl.flow.data.video import Video

__all__ = ["PairDataset", "Sample", "Video", "open_pairs"]


class PairDataset(Sequence):
    """A sequence of Sample, each read when it is accessed; `files` has the paths."""

    def __init__(self, files):
        self.files = list(files)

    def __len__(self):
        return len(self.files)

    def __iter__(self):
        return map(self.__getitem__, range(len(self)))  # it continues after a pair that cannot be read

    def __getitem__(self, i):
        return PairDataset(self.files[i]) if isinstance(i, slice) else read_sample(self.files[i])


def open_pairs(where, split=None, root=None, step=1, limit=None):
    """The pairs of `where` -> a sequence of Sample: len(pairs), pairs[i], for sample in pairs.

    where: name of a set (`cvdl.data.registry.SETS`), or "real" for the samples below CVDL_REAL, or a folder
    (see cvdl.flow.data.folder; one that contains a single video is read as that video), or a video, or an
    animated GIF, WebP or APNG.  A Path is never taken for a name.
    split: "train", "test" or "val", where the set has it; its first one, if not given.
    root: folder that holds the set's folder; if not given, CVDL_SETS and then CVDL_REAL/flow are searched.
    step: frames from the first to the second, in a video or a sequence.  limit: the largest number of pairs.
    Raises CourseError if something is missing, incompletely unpacked or damaged.
    """
    if step < 1 or (limit is not None and limit < 1):
        raise InvalidInput(f"step and limit must be 1 or more; they are {step} and {limit}.")
    if isinstance(where, str) and where in SETS:
        _refuse(where, step=(step, 1))
        pairs = PairDataset(set_files(where, split, root))
    elif isinstance(where, str) and where == "real":
        _refuse(where, step=(step, 1), split=(split, None), root=(root, None))
        pairs = PairDataset(real_files())
    else:
        _refuse(where, split=(split, None), root=(root, None))
        pairs = _open_path(expanded(where), step, limit)
    return pairs[:limit] if isinstance(pairs, PairDataset) else pairs


def _refuse(where, **options):
    for name, (value, default) in options.items():
        if value != default:
            raise InvalidInput(f"{name}={value!r} has no meaning for {str(where)!r}. Leave it out.")


def _open_path(path, step, limit):
    if is_folder(path):
        video = single_video(path)
        if video and (video.suffix.lower() in VIDEOS or animation(video)):
            return Video(video, step, limit)
        return PairDataset(folder_files(path, step))
    if is_file(path):
        if path.suffix.lower() in PICTURES and not animation(path):
            raise InvalidInput(
                f"{path} is a single picture. Put it and its partner into a folder, and name the folder."
            )
        return Video(path, step, limit)
    names = [*SETS, "real"]
    raise InvalidInput(
        f"{str(path)!r} is not a dataset, a folder or a video.{nearest(path, names)} Name one of {', '.join(names)}, a folder "
        "of image pairs, or a video file; `cvdl data` lists the datasets and shows which you have. `cvdl eval` also knows chairs "
        "and things."
    )
