"""The results of grading on disk: one JSON file for each hand-in, OUT/results/STUDENT/NOTEBOOK.json.

A result is a plain dict:

    format      1
    student     name, any text
    number      of the student, if the learning platform's name of the hand-in has it; else "" or missing
    notebook    stem, e.g. "01_rnn_from_scratch"
    file        the hand-in, as it was found
    sha256      of the hand-in
    submitted   ISO time, or None
    late        bool, or None where no date was due
    judged      bool: is every mark below the judge's?
    problem     None, or why the hand-in could not be judged: as a whole, or those exercises whose state is "not judged"
    notes       list of remarks for a human; one that ends in LOOK is for the teacher alone
    seconds     float
    exercises   list of {id, title, points, earned, state, mistake, hint, cases, source}, in the notebook's order:
                state is "right", "partly right", "wrong", "not attempted", "missing" or "not judged", where hint
                says why; mistake is None or the name
                of the recognised one; cases is a list of {name, points, earned, message, hint}

Names and messages are the student's text: escape them wherever they are shown.
"""

import hashlib
import json
import os
import re
import unicodedata
from contextlib import suppress

from cvdl.errors import CourseError

FORMAT = 1
LOOK = "look at it."
UNJUDGED = "not judged"  # state of an exercise that a human must look at: it has no points, rather than 0


def read(out):
    """All results below the folder `out` -> list of dicts, by student and notebook.

    Raises CourseError where a file is no result.
    """
    return sorted((load(path) for path in out.glob("results/*/*.json")), key=lambda r: (r["student"], r["notebook"]))


def write(out, result):
    """Write one result, whole or not at all -> its path."""
    return save(place(out, result["student"], result["notebook"]), as_json(result))


def place(out, student, notebook):
    """Path of the result of one student in one notebook."""
    return out / "results" / slug(student) / f"{slug(notebook)}.json"


def load(path):
    """One result.  Raises CourseError where the file is none."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["format"] == FORMAT:
            return result
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise CourseError(f"{path} is no result of this version of `cvdl grade`: delete it, and grade again.")


def as_json(data):
    return json.dumps(data, indent=1, ensure_ascii=False)


def save(path, text, encoding="utf-8"):
    """Write a file so that a reader sees the old one or the new one, never a part -> its path.

    Raises CourseError where that is not possible.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding=encoding, errors="backslashreplace", newline="")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise CourseError(
            f"{path} could not be written ({error}). Is the disk full, or is it open in a spreadsheet? Then run the same "
            "command again: what is judged stays judged."
        ) from None
    return path


def slug(name):
    """A safe file name for any text, another one for each: itself if it is safe, else letters and a hash."""
    ascii = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^a-z0-9_-]+", "-", ascii.lower()).strip("-")[:40]
    if safe == name and name and not re.search(r"\b[0-9a-f]{12}$", name):  # could be another name's hash
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe}-{digest}" if safe else digest
