r"""Names: whose hand-in a file is, as its learning platform writes it, and how strangers' text is shown.

    Moodle     Name_12345_assignsubmission_file_/any.ipynb
    Canvas     lastnamefirst_123_456_any.ipynb, or lastnamefirst_LATE_123_456_any.ipynb; anonymously, anon_Ab3_456_any.ipynb
               or LATE_anon_Ab3_456_any.ipynb
    Blackboard gradebook_COURSE_ASSIGNMENT_user_attempt_2026-01-31-12-00-00_any.ipynb, each attempt a version
    nbgrader   submitted/STUDENT/ASSIGNMENT/any.ipynb, with timestamp.txt beside it
    others     STUDENT/…/any.ipynb, or STUDENT.ipynb

Students choose the end of such names (`any`), and all names inside their own zips.  The outermost name alone counts, and
it is read from its beginning, which the platform writes.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cvdl.course.chapters import stems

MOODLE = re.compile(r"(.+?)_(\d+)_assignsubmission_(?:file|onlinetext)(?:_.*)?", re.S)
CANVAS = re.compile(r"([^_]+)(_LATE)?_(\d+)_(\d+)_(.+)", re.S)
ANONYMOUS = re.compile(r"(LATE_)?(anon_[A-Za-z0-9]+)_(\d+)_(.+)", re.S)  # Canvas, too
BLACKBOARD = re.compile(r"gradebook_(.+?)_attempt_(\d{4}(?:-\d\d){5})(?:_.*|\.\w+)?", re.S)
NOTEBOOK = re.compile(r"\.ipynb(?:[._ -]?(?:json|txt|html?|download))?(?: ?\(\d+\))?$", re.I)
NBGRADER = {"nbgrader_config.py", "gradebook.db", "source", "release"}  # what may lie beside its `submitted`
LONGEST = 200  # characters of a name
# Characters that are not seen although they count as letters, marks or symbols.
BLANK = {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810)}
BLANK |= {*range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000)}
LETTERS = {"Lo", "Mn", "Mc"}  # of scripts that join letters, or have variants of them


class Owner(NamedTuple):
    """Whose a hand-in is, as the platform says: platform and number are empty where it does not."""

    name: str
    platform: str = ""
    number: str = ""
    late: bool = False


def owner(names):
    """The Owner of a file; names: of folders and file, from the outermost one."""
    first = names[0]
    if match := MOODLE.fullmatch(first):
        return Owner(bounded(match[1]), "moodle", match[2])
    if len(names) == 1:
        if match := ANONYMOUS.fullmatch(first):
            return Owner(match[2], "canvas", "", bool(match[1]))
        if match := CANVAS.fullmatch(first):
            return Owner(bounded(match[1]), "canvas", match[3], bool(match[2]))
        stem = re.sub(r"\.zip$", "", NOTEBOOK.sub("", first), flags=re.I)
        for notebook in stems().values():
            stem = stem.replace(notebook, "")
        first = stem.strip(" _-.()") or first
    return Owner(bounded(first))


def platform(names):
    """Does a learning platform name hand-ins like this one?"""
    return bool(owner(names).platform or BLACKBOARD.fullmatch(names[0]))


def first_edition(file):
    """Platform and number of the student, for a result that has only the path of the file."""
    disk, *inside = file.split("!")
    for names in (*((p,) for p in Path(disk).parts), tuple(inside[0].split("/")) if inside else ()):
        if names and (found := owner(names)).platform:
            return {"platform": found.platform, "number": found.number}
    return {"platform": "", "number": ""}


def composed(name):
    """The name with accents as parts of their letters: Macs write them as characters of their own."""
    return unicodedata.normalize("NFC", name)


def bounded(name):
    """The composed name; the end of a very long one is its SHA-256."""
    name = composed(name)
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 80]}… {hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def blackboard_users(names):
    """{COURSE_ASSIGNMENT_user: user} for the names of Blackboard's files, which do not show where the user begins.

    The user is what follows the last _.  If that would be the same for two, it is everything that is not common to all names.
    """
    middles = {m[1] for m in map(BLACKBOARD.fullmatch, names) if m}
    common = os.path.commonprefix(sorted(middles)).rpartition("_")[0]  # noqa: RUF071 (they are no paths)
    last = Counter(m.rpartition("_")[2] for m in middles)
    users = {m: m.rpartition("_")[2] for m in middles}
    return {m: bounded(u if last[u] == 1 else m[len(common) :].strip("_") or m) for m, u in users.items()}


def attempted(text):
    """The time of an attempt in Blackboard, "2026-01-31-12-00-00", in this machine's zone, or None."""
    with suppress(ValueError, OverflowError):
        return datetime(*map(int, text.split("-"))).astimezone()


def told_apart(owners):
    """A name for each of these Owners that no other one has -> {owner: name}.

    Where names look alike, the platform's numbers follow them.
    """
    called = {o: o.name for o in owners}
    for _ in range(3):
        same, alike = Counter(called.values()), Counter(map(key, called.values()))
        for o, name in list(called.items()):
            if alike[key(name)] > 1 and o.number and not name.endswith(f" ({o.number})"):
                called[o] = f"{name} ({o.number})"
            elif same[name] > 1 and not o.number:
                called[o] = f"{name} (without a number)"
    return called


def alike(names):
    """Names that cannot be told apart by looking at them -> list of lists."""
    groups = defaultdict(set)
    for name in names:
        groups[key(name)].add(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def key(name):
    """The name for comparing: without what is not seen, and without case."""
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if not unseen(c))
    return " ".join(unicodedata.normalize("NFKC", seen.casefold()).split())


def unseen(c):
    """Is this character one that is not seen, or that changes the direction of others?"""
    return unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or ord(c) in BLANK


def shown(text, keep="", most=10_000):
    r"""Strangers' text as it may be shown in a terminal, a page or a table: what is not seen appears as \u{202e}.

    keep: characters to keep all the same; most: characters, after which it is cut off.  Joiners stay between the letters
    of scripts that need them, and selectors of a variant behind their letter.
    """
    text = text if len(text) <= most else f"{text[:most]}…"
    if text.isascii() and text.isprintable():
        return text
    parts = []
    for i, c in enumerate(text):
        kept = c in keep or not unseen(c) or (ord(c) >= 0x200C and needed(text, i))
        parts.append(c if kept else f"\\u{{{ord(c):x}}}")
    return "".join(parts)


def needed(text, i):
    """Does an unseen character belong to how its neighbours are written?"""
    code, before = ord(text[i]), unicodedata.category(text[i - 1]) if i else ""
    if code in (0x200C, 0x200D):
        return before in LETTERS and i + 1 < len(text) and unicodedata.category(text[i + 1]) in LETTERS
    return (code >= 0xE0100 and before == "Lo") or (code in (0xFE0E, 0xFE0F) and before == "So")
