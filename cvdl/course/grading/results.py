"""The results of grading on disk: one JSON file for each hand-in, OUT/results/STUDENT/NOTEBOOK.json.

A result is a plain dict:

    format      1
    student     name, any text
    platform    "moodle" or "canvas" if its name of the hand-in shows whose it is, else ""; missing in the first edition
    number      of the student, if the platform's name contains it, else ""; may be missing
    notebook    stem, e.g. "01_rnn_from_scratch"
    file        the hand-in, as it was found
    sha256      of the hand-in
    submitted   ISO time, or None
    late        bool, or None if there was no due time
    judged      bool: did the judge decide every mark below?
    problem     None, or why the hand-in, or those of its exercises whose state is "not judged", could not be judged
    notes       list of remarks for a person to read; any that ends in LOOK is for the teacher only
    seconds     float
    exercises   list of {id, title, points, earned, state, mistake, hint, cases, source}, in the notebook's order:
                state is "right", "partly right", "wrong", "not attempted", "missing" or "not judged", for
                which hint gives the reason; mistake is None or the name of the recognised one; cases is a list of
                {name, points, earned, message, hint}

Names and messages contain the student's text: escape them wherever they are shown.
"""

import hashlib
import json
import re
import unicodedata
from contextlib import suppress

from cvdl.errors import CourseError
from cvdl.files import replacing

FORMAT = 1
LOOK = "look at it."
FAULT = "the judge failed"  # in a problem that the student did not cause; its text may reveal details of this machine
AGAIN = (
    "Is the disk full, or is the file open in a spreadsheet? Fix that, then run the same command again: hand-ins that have "
    "been judged are kept."
)
UNJUDGED = "not judged"  # state of an exercise that a person must look at: it has no points, rather than 0


def read(out, faults=None):
    """All results below the folder `out` -> list of dicts, by student and notebook.

    faults: list to which a message is added for each file that is not a result; without it, the first such file raises
    CourseError.
    """
    found = {}
    for path in sorted(out.glob("results/*/*.json")):
        try:
            result = load(path)
        except CourseError as error:
            if faults is None:
                raise
            faults.append(str(error))
            continue
        whose = result["student"], result["notebook"]
        if whose not in found or path == place(out, *whose):
            found[whose] = result
    return [found[whose] for whose in sorted(found)]


def known(out, student, notebook):
    """The result of one student in one notebook, or None.  Raises CourseError if another student's is in its place."""
    for path in (place(out, student, notebook), place(out, student, notebook, first_edition=True)):
        if path.exists():
            result = load(path)
            if (result["student"], result["notebook"]) == (student, notebook):
                return result
            if path == place(out, student, notebook):
                raise CourseError(f"{path} is another student's result: check it and move it elsewhere.")
    return None


def write(out, result):
    """Write one result, completely or not at all -> its path.  Raises CourseError if another student's is in its place."""
    whose = result["student"], result["notebook"]
    old = known(out, *whose)
    path = save(place(out, *whose), as_json(result))
    if old and (former := place(out, *whose, first_edition=True)) != path:
        with suppress(OSError, CourseError):
            if (load(former)["student"], load(former)["notebook"]) == whose:
                former.unlink()
    return path


def place(out, student, notebook, first_edition=False):
    """Path of the result of one student in one notebook."""
    return out / "results" / slug(student, first_edition) / f"{slug(notebook, first_edition)}.json"


def load(path):
    """One result.  Raises CourseError if the file is not a result."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["format"] == FORMAT:
            return result
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise CourseError(f"{path} is not a result of this version of `cvdl grade`: delete it and grade again.")


def as_json(data):
    return json.dumps(data, indent=1, ensure_ascii=False)


def save(path, text, encoding="utf-8"):
    """Write a file so that a reader sees either the old one or the new one, never part of it -> its path.

    Raises WriteFailed if that is not possible.
    """
    with replacing(path, AGAIN) as beside:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding=encoding, errors="backslashreplace", newline="")
    return path


def slug(name, first_edition=False):
    """A safe file name, unique for each text: the text itself if it is safe, else some of its letters and its SHA-256.

    first_edition: the name that the first edition used, which two texts could share.
    """
    ascii = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^a-z0-9_-]+", "-", ascii.lower()).strip("-")[:40]
    if safe == name and name and not re.search(r"\b[0-9a-f]{12}$|[0-9a-f]{64}$", name):  # could be another name's hash
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[: 12 if first_edition else None]
    return f"{safe}-{digest}" if safe else digest
