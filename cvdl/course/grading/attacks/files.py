"""Attacks by files: zips, links, and notebooks that are none."""

import io
import os
import stat
import zipfile

from cvdl.course.grading.attacks.base import Attack, answer, notebook, put

MINE = notebook(answer("return image / 256"))


def attack(name, tries, make, seen, **more):
    return Attack(name, tries, make, seen, **more)


def zipped(members):
    """A zip as bytes; members: [(name or ZipInfo, data)]."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def link(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def one(data, name="mine.ipynb"):
    """A student's only file."""

    def make(folder, trap):
        put(folder / "mallory" / name, data() if callable(data) else data)

    return make


def class_zip(*members):
    """The zip of a class, anna's right hand-in in it."""

    def make(folder, trap):
        told = [(n.format(**trap.known) if isinstance(n, str) else n, d) for n, d in members]
        put(folder / "all.zip", zipped([*told, ("anna/mine.ipynb", notebook(answer()))]))
        return folder / "all.zip"

    return make


def linked(*targets):
    def make(folder, trap):
        (folder / "mallory").mkdir()
        for number, target in enumerate(targets):
            (folder / "mallory" / f"{number}.ipynb").symlink_to(target.format(**trap.known))
        put(folder / "anna" / "mine.ipynb", notebook(answer()))

    return make


def pipe(folder, trap):
    (folder / "mallory").mkdir()
    os.mkfifo(folder / "mallory" / "mine.ipynb")


def sparse(folder, trap):
    """1 GB that takes no room on the disk."""
    put(folder / "mallory" / "mine.ipynb", MINE)
    os.truncate(folder / "mallory" / "mine.ipynb", 1 << 30)


def named(*names):
    """Hand-ins of students with such names, the first of them a notebook."""

    def make(folder, trap):
        put(folder / "all.zip", zipped([(f"{name}/mine.ipynb", MINE if name == names[0] else b"1") for name in names]))
        return folder / "all.zip"

    return make


def many():
    return zipped([(f"{n}.ipynb", b"{}") for n in range(20_000)])


ATTACKS = [
    attack("names out of a zip", "path traversal", class_zip(("../../written", b"mine"), ("mallory/../../written.ipynb", MINE), ("{folder}/x.ipynb", MINE), ("..\\..\\written.ipynb", MINE)), "points outside the zip"),
    attack("link in a zip", "to /etc/passwd", class_zip((link("mallory/mine.ipynb"), "/etc/passwd")), "link in a zip"),
    attack("zip bomb", "256 MB of zeros", one(lambda: zipped([("mine.ipynb", bytes(1 << 28))]), "mine.zip"), "grows|the limit"),
    attack("zip in zip in zip", "bombs deeper down", class_zip(("mallory/a.zip", zipped([("b.zip", zipped([("mine.ipynb", MINE)]))]))), "no notebook"),
    attack("zip of 20 000 notebooks", "many small ones", one(many, "mine.zip"), "a zip with more than 200 notebooks"),
    attack("zip that lies about sizes", "a member is larger than it says", one(lambda: zipped([("mine.ipynb", b"0" * 10**6)]).replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little")), "mine.zip"), "."),
    attack("broken zip", "half of one", one(zipped([("mine.ipynb", MINE)])[:200], "mine.zip"), "cannot be unzipped"),
    attack("links in a folder", "to another's hand-in, to a device, to itself", linked("{folder}/others/anna.ipynb", "/dev/zero", "/mallory", "."), "not an ordinary file"),
    attack("named pipe", "a file that never ends", pipe, "not an ordinary file"),
    attack("1 GB notebook", "too large to read", sparse, "the limit is 64 MB"),
    attack("notebook of 60 MB", "just below the limit, all digits", one(lambda: MINE[:-1] + b', "x": ' + b"7" * (60 << 20) + b"}"), "."),
    attack("broken JSON", "half a notebook", one(MINE[: len(MINE) // 2]), "no notebook"),
    attack("deep JSON", "a list in a list in a list", one(MINE[:-1] + b', "x": ' + b"[" * 10**6 + b"}"), "no notebook"),
    attack("huge number in JSON", "of a million digits", one(MINE[:-1] + b', "x": ' + b"7" * 10**6 + b"}"), "no notebook"),
    attack("not UTF-8", "Latin-1 and stray bytes", one(MINE.replace(b"256", b"256 # \xe9\xff\xfe")), "not in UTF-8"),
    attack("UTF-16", "and so on", one(MINE.decode().encode("utf-16")), "no notebook|contains no exercise"),
    attack("no cells", "JSON, but a number", one(b'1'), "no list of cells|no notebook"),
    attack("cells of another kind", "dicts for lists, numbers for text", one(b'{"cells": [{"cell_type": "code", "source": {"exercise(\\"start.to_unit\\")": 1}}, 7, null]}'), "no list of cells|no notebook"),
    attack("names", "formulas, markup, folders and codes for names", named("=cmd|' /C calc'!A0", "<script>alert(1)</script>", "..\\..\\x", "\x1b[2J", "a" * 200, "CON", "😀", "-rf", "out"), "divided|differ|wrong"),
]  # fmt: skip
