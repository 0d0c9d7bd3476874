"""The published sets of gestures: where each has to lie, and where to get it.  Terms and sizes: what their pages say."""

from cvdl.data.registry import Set

SETS = {
    each.name: each
    for each in (
        Set(
            "egogestar",
            "EgoGestAR, its videos",
            "EgoGestAR",
            {"val": ("testvideo",), "test": ("testvideo",)},
            {"val": None, "test": None},  # together 240
            "see its page",
            "see its page",
            "https://github.com/varunj/EgoGestAR",
            "Clone or download the repository into {}.",
        ),
        Set(
            "egogestar-tracks",
            "EgoGestAR, its finger-tip tracks",
            "EgoGestAR",
            {"train": ("train",), "test": ("test",)},
            {"train": 2_000, "test": 500},
            "see its page",
            "see its page",
            "https://github.com/varunj/EgoGestAR",
            "Clone or download the repository into {}.",
        ),
        Set(
            "egogesture",
            "EgoGesture",
            "EgoGesture",
            {split: ("images", "labels-final-revised1") for split in ("train", "val", "test")},
            {"train": None, "val": None, "test": None},  # together 24,161
            "see its page",
            "research only, on request",
            "http://www.nlpr.ia.ac.cn/iva/yfzhang/datasets/egogesture.html",
            "Ask for it there, and unpack the images and labels-final-revised1 into {}.",
        ),
        Set(
            "nvgesture",
            "NVGesture",
            "nvGesture",
            {split: ("Video_data", f"nvgesture_{split}_correct_cvpr2016_v2.lst") for split in ("train", "test")},
            {"train": 1_050, "test": 482},
            "see its page",
            "see its page",
            "https://research.nvidia.com/publication/2016-06_online-detection-and-classification-dynamic-hand-gestures-"
            "recurrent-3d",
            "Fetch all parts nvGesture_v1.7z.*, and unpack them into {}.",
        ),
        Set(
            "jester",
            "Jester",
            "jester",
            {
                "train": ("20bn-jester-v1", "jester-v1-labels.csv", "jester-v1-train.csv"),
                "val": ("20bn-jester-v1", "jester-v1-labels.csv", "jester-v1-validation.csv"),
            },
            {"train": 118_562, "val": 14_787},
            "22.8 GB",
            "research only",
            "https://www.qualcomm.com/developer/software/jester-dataset",
            "Register there, and unpack the videos and the csv files into {}.",
        ),
        Set(
            "point-history",
            "finger-tip histories of hand-gesture-recognition-using-mediapipe",
            "point_history",
            {"train": ("point_history.csv",), "test": ("point_history.csv",)},
            {"train": None, "test": None},  # together 5,296
            "1.3 MB",
            "Apache-2.0",
            "https://github.com/Kazuhito00/hand-gesture-recognition-using-mediapipe",
            "Fetch model/point_history_classifier/point_history.csv and put it into {}.",
        ),
    )
}
