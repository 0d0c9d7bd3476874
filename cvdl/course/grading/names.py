r"""Names: whose hand-in a file is, by the name that its learning platform gave it, and how students' text is shown.

    Moodle     Name_12345_assignsubmission_file_/any.ipynb
    Canvas     lastnamefirst_123_456_any.ipynb or lastnamefirst_LATE_123_456_any.ipynb; anonymously, anon_Ab3_456_any.ipynb
               or LATE_anon_Ab3_456_any.ipynb
    Blackboard gradebook_COURSE_ASSIGNMENT_user_attempt_2026-01-31-12-00-00_any.ipynb; each attempt is a version
    nbgrader   submitted/STUDENT/ASSIGNMENT/any.ipynb, with timestamp.txt next to it
    others     STUDENT/…/any.ipynb, or STUDENT.ipynb

Students choose the end of such names (`any`) and all names inside their own zips.  Therefore only the outermost name
counts, and it is read from its beginning, which the platform writes.
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

from cvdl.course.notebook.chapters import stems

MOODLE = re.compile(r"(.+?)_(\d+)_assignsubmission_(?:file|onlinetext)(?:_.*)?", re.S)
CANVAS = re.compile(r"([^_]+)(_LATE)?_(\d+)_(\d+)_(.+)", re.S)
ANONYMOUS = re.compile(r"(LATE_)?(anon_[A-Za-z0-9]+)_(\d+)_(.+)", re.S)  # Canvas, too
BLACKBOARD = re.compile(r"gradebook_(.+?)_attempt_(\d{4}(?:-\d\d){5})(?:_.*|\.\w+)?", re.S)
NOTEBOOK = re.compile(r"\.ipynb(?:[._ -]?(?:json|txt|html?|download))?(?: ?\(\d+\))?$", re.I)
NBGRADER = {"nbgrader_config.py", "gradebook.db", "source", "release"}  # what may be next to its `submitted`
LONGEST = 200  # characters of a name
# Invisible characters that Unicode classifies as letters, marks or symbols.
BLANK = {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810)}
BLANK |= {*range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000)}
LETTERS = {"Lo", "Mn", "Mc"}  # in scripts whose letters join or have variants


class Owner(NamedTuple):
    """Whose a hand-in is, according to the platform; without one, platform and number are empty."""

    name: str
    platform: str = ""
    number: str = ""
    late: bool = False


def owner(names):
    """The Owner of a file; names: of its folders and of the file, outermost first."""
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
    """Platform and number of the student, for a result that contains only the path of the file."""
    disk, *inside = file.split("!")
    for names in (*((p,) for p in Path(disk).parts), tuple(inside[0].split("/")) if inside else ()):
        if names and (found := owner(names)).platform:
            return {"platform": found.platform, "number": found.number}
    return {"platform": "", "number": ""}


def composed(name):
    """The name with each accent as part of its letter; macOS writes accents as separate characters."""
    return unicodedata.normalize("NFC", name)


def bounded(name):
    """The composed name; a very long one is cut, and ends in its SHA-256."""
    name = composed(name)
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 80]}… {hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def blackboard_users(names):
    """{COURSE_ASSIGNMENT_user: user} for the names of Blackboard's files, which do not show where the user's name begins.

    The user is the part after the last _.  If two would get the same name, it is everything that the names do not share.
    """
    middles = {m[1] for m in map(BLACKBOARD.fullmatch, names) if m}
    common = os.path.commonprefix(sorted(middles)).rpartition("_")[0]  # noqa: RUF071 (they are not paths)
    last = Counter(m.rpartition("_")[2] for m in middles)
    users = {m: m.rpartition("_")[2] for m in middles}
    return {m: bounded(u if last[u] == 1 else m[len(common) :].strip("_") or m) for m, u in users.items()}


def attempted(text):
    """The time of an attempt in Blackboard, such as "2026-01-31-12-00-00", in this machine's time zone, or None."""
    with suppress(ValueError, OverflowError):
        return datetime(*map(int, text.split("-"))).astimezone()


def told_apart(owners):
    """A unique name for each of these Owners -> {owner: name}.

    If names look alike, the platform's numbers are appended.
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
    """Groups of names that look the same -> list of lists."""
    groups = defaultdict(set)
    for name in names:
        groups[key(name)].add(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def key(name):
    """The name for comparison: without case and invisible characters."""
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if not unseen(c))
    return " ".join(unicodedata.normalize("NFKC", seen.casefold()).split())


def unseen(c):
    """Is this character invisible, or does it change the direction of others?"""
    return unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or ord(c) in BLANK


def shown(text, keep="", most=10_000):
    r"""Students' text made safe for a terminal, a page or a table: invisible characters appear as \u{202e}.

    keep: invisible characters to keep; most: number of characters after which the text is cut off.  Joiners are kept between
    letters of scripts that need them, and variation selectors after their letter.
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
    """Is an invisible character needed to write its neighbours correctly?"""
    code, before = ord(text[i]), unicodedata.category(text[i - 1]) if i else ""
    if code in (0x200C, 0x200D):
        return before in LETTERS and i + 1 < len(text) and unicodedata.category(text[i + 1]) in LETTERS
    return (code >= 0xE0100 and before == "Lo") or (code in (0xFE0E, 0xFE0F) and before == "So")
