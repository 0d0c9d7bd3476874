"""Attacks by which one hand-in ends the run of a class, or holds it up."""

import json
import os
import random
import struct
import zipfile
import zlib

from cvdl.course.grading.attacks.base import RNN, answer, notebook, put
from cvdl.course.grading.attacks.classes import GOOD, WRONG, ClassAttack, anna, calls_of, grade, short
from cvdl.course.grading.attacks.files import zipped
from cvdl.course.grading.attacks.judge import FRAMES


def attack(name, tries, make, through=lambda seen: (), **more):
    return ClassAttack(name, tries, make, through, **more)


def beside(write):
    """`make` of a class of anna, and of what `write(folder)` puts beside her."""

    def make(folder):
        anna(folder)
        return write(folder)

    return make


def mallory(data, name="mine.ipynb"):
    return beside(lambda folder: put(folder / "mallory" / name, data() if callable(data) else data))


def named_in(seen, *students):
    """What is wrong unless each of these has a row of the tables."""
    for student in students:
        if student not in seen.students():
            yield f"{student!r} is in no table"


def told_of_mallory(seen):
    yield from named_in(seen, "mallory")
    if "mallory" not in seen.said[-1] and not any(r["notes"] for r in seen.of("mallory")):
        yield "nothing is told of mallory"


def too_long(seen, seconds):
    """What is wrong if the run took more processor time than this, by whichever process."""
    if seen.cpu > seconds:
        yield f"it took {seen.cpu:.0f} seconds of processor time"


# --- zips and files that are damaged ----------------------------------------------------------------------


def damaged():
    """A zip whose compressed data no decompressor can read."""
    data = bytearray(zipped([("mine.ipynb", WRONG)]))
    start = 30 + len("mine.ipynb")
    data[start : start + 40] = b"\xff" * 40
    return bytes(data)


def no_calendar(folder):
    stamp = b"9999-12-31 23:59:59.999999 Etc/GMT+12\n"
    put(folder / "mallory" / "mine.zip", zipped([("timestamp.txt", stamp), ("mine.ipynb", WRONG)]))


def far_future(folder):
    put(folder / "mallory" / "mine.ipynb", WRONG)
    year = 31_556_952
    os.utime(folder / "mallory" / "mine.ipynb", (0, (30_000 - 1970) * year))


def flipped(folder, count=1500):
    """Zips of many students, each with one to eight bytes changed."""
    dice, whole = random.Random(21), zipped([("a.ipynb", b'{"cells": []}' * 9), ("timestamp.txt", b"2026-01-01 1:1:1")])
    for number in range(count):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        put(folder / f"mallory {number}" / "mine.zip", bytes(data))


def all_are_there(seen, count=1500):
    there = sum(name.startswith("mallory") for name in seen.students())
    if there < count:
        yield f"{there} of {count} are in the tables"


def raw_zip(members):
    """A zip by hand: members are [(name, data, method, sizes that the directory claims or None)]."""
    body, directory = bytearray(), bytearray()
    for name, data, method, claimed in members:
        packed = zlib.compress(data, 9)[2:-4] if method == 8 else data
        crc, sizes = zlib.crc32(data), claimed or (len(packed), len(data))
        head = struct.pack("<HHHHHLLLHH", 20, 0x800, method, 0, 0x5B21, crc, *sizes, len(name), 0)
        directory += b"PK\1\2" + struct.pack("<H", 20) + head + struct.pack("<HHHLL", 0, 0, 0, 0, len(body)) + name
        body += b"PK\3\4" + head + name + packed
    end = struct.pack("<HHHHLLH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory) + b"PK\5\6" + end


def twice(folder):
    """Two members of one name."""
    import warnings

    with warnings.catch_warnings(action="ignore"):
        put(folder / "mallory" / "mine.zip", zipped([("mine.ipynb", WRONG), ("mine.ipynb", b"{")]))


def overlapping():
    """Many entries of the directory that point to one and the same member."""
    data = zipped([("mine.ipynb", WRONG)])
    begin, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    entry, count = data[begin:end], 150
    return (
        data[:begin]
        + entry * count
        + b"PK\5\6"
        + struct.pack("<HHHHLLH", 0, 0, count, count, len(entry) * count, begin, 0)
    )


def zip64_lie():
    """A field for large sizes that claims 2^62 bytes."""
    info = zipfile.ZipInfo("mine.ipynb")
    data = bytearray(zipped([(info, WRONG)]))
    at = data.index(b"PK\1\2")
    extra = struct.pack("<HHQQ", 1, 16, 1 << 62, 1 << 62)
    data[at + 20 : at + 28] = b"\xff" * 8
    data[at + 30 : at + 32] = struct.pack("<H", len(extra))
    data[at + 46 + 10 : at + 46 + 10] = extra
    tail = data.rindex(b"PK\5\6")
    data[tail + 12 : tail + 16] = struct.pack("<L", tail - at)
    return bytes(data)


def method_99():
    return raw_zip([(b"mine.ipynb", WRONG, 99, None)])


def lzma_bomb():
    """A member packed by LZMA with a dictionary of 4 GB."""
    data = struct.pack("<BBHBL", 9, 4, 5, 0x5D, 0xFFFFFFFF) + b"\0" * 64
    return raw_zip([(b"mine.ipynb", data, 14, (len(data), 1000))])


def odd_names():
    """Members whose names are empty, a NUL, only dots, 65,000 characters long, or not text."""
    names = (b"", b"\0.ipynb", b"...", b"a" * 65_000 + b".ipynb", b"\xff\xfe.ipynb", b"/", b"//.ipynb", b"a\nb.ipynb")
    return raw_zip([(name, WRONG, 8, None) for name in names])


def far_directory():
    """A directory whose offsets point behind the end of the file."""
    data = bytearray(zipped([("mine.ipynb", WRONG)]))
    at = data.index(b"PK\1\2")
    data[at + 42 : at + 46] = struct.pack("<L", 0x7FFFFFF0)
    return bytes(data)


def slow_zip(folder, count=100, size=60 << 20):
    """Many members of 60 MB, each just below the limits, in a zip of 58 MB."""
    dice = random.Random(1)
    data = dice.randbytes(size // 190) + b'{"cells": [' + b" " * (size - size // 190)
    packed = zlib.compress(data, 1)[2:-4]
    path = folder / "mallory" / "mine.zip"
    path.parent.mkdir()
    offset, directory = 0, b""
    with open(path, "wb") as file:
        for number in range(count):
            name = b"%03d.ipynb" % number
            head = struct.pack(
                "<HHHHHLLLHH", 20, 0, 8, 0, 0x5B21, zlib.crc32(data), len(packed), len(data), len(name), 0
            )
            directory += b"PK\1\2\x14\0" + head + struct.pack("<HHHLL", 0, 0, 0, 0, offset) + name
            offset += file.write(b"PK\3\4" + head + name + packed)
        file.write(directory + b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, count, count, len(directory), offset, 0))


def closed_folder(folder):
    put(folder / "mallory" / "inner" / "mine.ipynb", WRONG)
    (folder / "mallory" / "inner").chmod(0)


def long_path(folder):
    """A path that is longer than the system takes in one piece."""
    put(folder / "mallory" / "mine.ipynb", WRONG)
    here = os.open(folder / "mallory", os.O_RDONLY)
    try:
        for _ in range(18):
            os.mkdir("x" * 230, dir_fd=here)
            deeper = os.open("x" * 230, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        os.close(os.open("mine.ipynb", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    finally:
        os.close(here)


# --- notebooks of odd forms ------------------------------------------------------------------------------


def odd_notebooks(folder):
    """Notebooks that are JSON, and little else, one for each student."""
    whole = json.loads(WRONG)
    forms = {
        "a list": [whole],
        "no cells": {"cells": None},
        "cells are a dict": {"cells": {"a": 1}},
        "source of numbers": {"cells": [{"cell_type": "code", "source": [1, 2]}]},
        "source is null": {"cells": [{"cell_type": "code", "source": None}]},
        "a cell is a number": whole | {"cells": [1, *whole["cells"]]},
        "metadata is text": whole | {"metadata": "x"},
        "language is a list": whole | {"metadata": {"language_info": ["3.12"]}},
        "version without end": whole | {"metadata": {"language_info": {"version": "9" * 5000 + "." + "9" * 5000}}},
        "format 3": {"nbformat": 3, "worksheets": [{"cells": [{**c, "input": c["source"]} for c in whole["cells"]]}]},
        "worksheets are none": {"nbformat": 3, "worksheets": []},
        "cell type is a list": {"cells": [{"cell_type": ["code"], "source": answer()}]},
    }
    for name, form in forms.items():
        put(folder / f"mallory, {name}" / "mine.ipynb", json.dumps(form).encode())
    text = WRONG.decode()
    put(folder / "mallory, keys twice" / "mine.ipynb", ('{"cells": [], ' + text[1:]).encode())
    put(folder / "mallory, nan" / "mine.ipynb", ('{"x": NaN, "y": 1e999, "z": "\\ud800", ' + text[1:]).encode())


def all_forms(seen):
    there = sum(name.startswith("mallory") for name in seen.students())
    if there < 14:
        yield f"{there} of 14 odd notebooks are in the tables"


def tangle(count=1300):
    """Statements that need one another, and exercises that end their process each."""

    def make(folder):
        anna(folder)
        lines = ["a0 = 1"] + [
            f"a{n} = [a{n - 1}]; a{n // 2}.append(a{n - 1})" if n > 2 else f"a{n} = [a{n - 1}]" for n in range(1, count)
        ]
        lines = [line.replace("a1.append", "a2.append") for line in lines]
        cells = ["\n".join(lines)]
        from cvdl.course.exercises import chapters

        cells += [answer(f"a{count - 1}\nimport os\nos._exit(0)", id) for id in chapters.chapter("rnn")]
        put(folder / "mallory" / "mine.ipynb", notebook(*cells, stem=RNN))

    return make


def sleeps(folder):
    """Each call sleeps as long as it may, without using the processor."""
    anna(folder)
    from cvdl.course.exercises import chapters

    cells = [answer("import time\ntime.sleep(50)\nreturn None", id) for id in chapters.chapter("rnn")]
    put(folder / "mallory" / "mine.ipynb", notebook(*cells, stem=RNN))


# --- answers whose text takes long ------------------------------------------------------------------------

MATCH = '"machine translation"'


def matched(body, before=""):
    """A class of anna, and of one who answers the question about shapes of networks like this."""
    return mallory(lambda: notebook(before, answer(body, "rnn.match"), stem=RNN))


# --- what others share ------------------------------------------------------------------------------------

FILLS = """
import os, signal, time
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kept, block = [], bytes(1 << 20)
for _ in range(100):
    kept.append(os.memfd_create("x"))
    try:
        for _ in range(8): os.write(kept[-1], block)
    except OSError:
        pass
time.sleep(20)
return image / 256
"""


def neighbours(folder):
    """Anna's answer takes a while, and mallory, who is judged meanwhile, fills shared memory."""
    anna(folder, notebook(answer("import time\ntime.sleep(6)\nreturn image / 255")))
    put(folder / "mallory" / "mine.ipynb", notebook(answer(FILLS)))
    return [grade(folder, "--workers", "2")]


def fifo_for_file(folder, over):
    """Exchange the hand-in for a pipe that nobody writes to, again and again."""
    place, other = folder / "mallory" / "mine.ipynb", folder / "mallory" / ".pipe"
    os.mkfifo(other)
    regular = folder / "mallory" / ".file"
    put(regular, WRONG)
    while not over.wait(0.0005):
        for source in (other, regular):
            link = folder / "mallory" / ".new"
            os.link(source, link)
            os.replace(link, place)


def many_of(write, count):
    def make(folder):
        anna(folder)
        for number in range(count):
            write(folder, number)

    return make


def second_download(folder):
    """Anna is judged; then the same hand-ins are downloaded again, and her file arrives damaged."""
    anna(folder)
    again = folder.parent / "again"
    put(again / "anna" / "mine.ipynb", GOOD[:500])
    put(again / "berta" / "mine.ipynb", GOOD)
    return [grade(folder), grade(again)]


def likeness(folder):
    """Answers whose syntax trees are deep, compared with others of the class."""
    anna(folder)
    for number, term in enumerate(
        ("-" * 20_000 + "1", "(" * 180 + "1" + ")" * 180, "+".join(["1"] * 20_000), "x" + ".y" * 30_000)
    ):
        put(folder / f"mallory {number}" / "mine.ipynb", notebook(answer(f"return image / 256\n{term}")))
    return [grade(folder, "--against", "OUT")]


def damaged_result(folder):
    """A hand-in is graded while an earlier result in the folder is half written, as by a full disk."""
    anna(folder)
    place = folder.parent / "marks" / "results" / "bob"
    put(place / "00_start_here.json", b'{"format": 1, "student": "bo')
    return calls_of(None, folder)


TENSOR = "import torch\nreturn {" + MATCH + ": torch.zeros((6,) * 9, dtype=torch.uint8)}"
KEYS = (
    """
import os, sys, torch, json, struct, safetensors.torch
raw = safetensors.torch.save({"0": torch.zeros(1)})
one = {"tensor": "0", "strides": [1]}
text = json.dumps({"dict": [["token", token(sys._getframe())], ["lacks", ""], ["answer", {"dict": [[{"tuple": [one] * 60000}, 1]]}]]}, separators=(",", ":")).encode()
send(struct.pack(">II", len(text), len(raw)) + text + raw)
return None
""",
    FRAMES,
)

ATTACKS = short(
    [
        attack("damaged deflate", "a zip whose compressed data cannot be read", mallory(damaged, "mine.zip"), told_of_mallory),
        attack("no calendar", "a timestamp.txt in a student's zip for a time that no calendar holds", beside(no_calendar), lambda seen: named_in(seen, "mallory")),
        attack("year 30,000", "a file whose time lies in the year 30,000", beside(far_future), lambda seen: named_in(seen, "mallory")),
        attack("changed bytes", "1,500 zips with one to eight bytes changed", beside(flipped), all_are_there),
        attack("two members of one name", "a zip that holds the same name twice", beside(twice), lambda seen: named_in(seen, "mallory")),
        attack("overlapping entries", "150 entries of a zip that share one member", mallory(overlapping, "mine.zip"), lambda seen: named_in(seen, "mallory")),
        attack("zip64 lie", "a member that claims 2^62 bytes", mallory(zip64_lie, "mine.zip"), told_of_mallory),
        attack("unknown packing", "a member packed by method 99", mallory(method_99, "mine.zip"), told_of_mallory),
        attack("dictionary of 4 GB", "a member packed by LZMA that asks for a dictionary of 4 GB", mallory(lzma_bomb, "mine.zip"), told_of_mallory),
        attack("odd member names", "members called nothing, NUL, dots, or 65,000 letters", mallory(odd_names, "mine.zip"), lambda seen: named_in(seen, "mallory")),
        attack("directory out of the file", "a zip whose offsets point behind its end", mallory(far_directory, "mine.zip"), told_of_mallory),
        attack("slow zip", "100 members of 60 MB, each below the limits", beside(slow_zip), lambda seen: too_long(seen, 40)),
        attack("closed folder", "a folder that may not be read", beside(closed_folder), lambda seen: named_in(seen, "mallory"), user=True),
        attack("long path", "a path of 4,100 characters", beside(long_path), told_of_mallory),
        attack("odd notebooks", "14 notebooks that are JSON of other forms", beside(odd_notebooks), all_forms, allowed=("mallory, format 3", "mallory, cell type is a list")),
        attack("tangle", "statements that need one another, cut out again for each of eight exercises", tangle(), lambda seen: too_long(seen, 60)),
        attack("sleeps", "each call sleeps 50 seconds, which counts as no processor time", sleeps, limits={"ALL": 60}),
        attack("text of a tensor", "a tensor of nine axes where a word is asked for", matched(TENSOR)),
        attack("key of 60,000 tensors", "a key made of one tensor 60,000 times, written to the wire", matched(*KEYS)),
        attack("neighbours' memory", "fills shared memory while another is judged", neighbours, limits={"MEMORY": 1 << 30}),
        attack("pipe for a file", "the hand-in becomes a pipe while the run goes on", many_of(lambda folder, n: put(folder / ("mallory" if not n else f"z{n}") / "mine.ipynb", WRONG if not n else b"{}"), 300), meanwhile=fifo_for_file),
        attack("damaged second download", "a file arrives damaged after it was judged", second_download, honest={"anna": 100, "berta": 100}),
        attack("deep answers compared", "answers of deep syntax, with --against", likeness),
        attack("half a result", "an earlier result that is half written", damaged_result),
    ],
    "damaged deflate",
    "damaged second download",
)  # fmt: skip
