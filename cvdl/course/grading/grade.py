"""Grading hand-ins: each is cut and called in a jail, and judged outside it.

`grade` goes through all of them, on any concurrent.futures.Executor, and writes one result for each.
"""

import hashlib
import re
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import cache

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.scoring import LONGEST
from cvdl.course.grading import results
from cvdl.course.grading.loading import course_of
from cvdl.course.grading.sandbox.client import Notebook
from cvdl.course.notebook.chapters import stems
from cvdl.errors import CourseError
from cvdl.settings import ROOT

UNJUDGED = results.UNJUDGED
WAYS = 4  # the largest number of ways in which one exercise is loaded
NOTES = 20  # remarks on one hand-in
MORE = f"There are more remarks than are kept; {results.LOOK}"
STOPS = 4  # stopped calls of a hand-in after which its exercises are loaded in only one way
READY_MADE = {  # code that does the complete exercise at once; by chapter or by exercise
    "rnn": r"\bnn\.RNN(Cell)?\b",
    "bptt": r"\bautograd\b|\.backward\(|functional\.jacobian|\bjacrev\b",
    "lstm": r"\bnn\.LSTM(Cell)?\b",
    "lstm.torch": r"(?!)",  # here the exercise asks for it
}
COURSE = re.compile(
    r"^[ \t]*(?:from cvdl(?!\S* import exercise$|\.flow import (?:in_frame, )?warp$).*|import cvdl(?:\.| as ).*)$"
    r"|(?<!from )(?<!import )\bcvdl\.(?!exercise\b)\w[\w.]*",
    re.M,
)  # exercises of notebooks 06 and 07 ask for warp
BEYOND = re.compile(
    r"\b(?:os|sys|ctypes|gc|inspect|builtins|socket|subprocess|urllib|pathlib|importlib|__import__|eval|exec|open)\b(?=[.(])"
)


def judge_bytes(data, notebook, seed, backend):
    """Judge the bytes of a notebook -> the parts of its result that concern its points.

    Each file gets its own cases, so that knowing those of one attempt does not help with the next.
    """
    begin = time.monotonic()
    seed = seed_of(data, seed)
    specs = exercises_of(notebook)
    if not specs:
        return unjudged(notebook, "contains no exercise of this course")
    try:
        with Notebook(data, backend, course_of(notebook), chapter_named(notebook)) as opened:
            rows = [judge_exercise(spec, opened, seed) for spec in specs]
            found = opened.found
    except CourseError as error:
        return unjudged(notebook, str(error)) | {"seconds": round(time.monotonic() - begin, 2)}
    known = {spec.id for spec in specs}
    notes = [n[:LONGEST] for n in found["notes"]] + [
        n for row in rows for n in remarks(row, found["imports"].get(row["id"], ""))
    ]
    if strange := sorted({*found["answered"], *found["broken"], *found["unread"]} - known):
        notes.append(f"Exercises that do not belong to this notebook and do not count: {', '.join(strange)[:LONGEST]}")
    seconds = round(time.monotonic() - begin, 2)
    problem = "; ".join(f"{row['id']} is {UNJUDGED}: {row['hint']}" for row in rows if row["state"] == UNJUDGED) or None
    return {"judged": not problem, "problem": problem, "notes": notes, "seconds": seconds, "exercises": rows}


def seed_of(data, secret):
    """The seed of the cases for one file."""
    return f"{secret}/{hashlib.sha256(data).hexdigest()}"


def judge_exercise(spec, opened, seed):
    """One exercise of a notebook in the jail -> its row in the result.

    Raises CourseError if it cannot be judged, for example because of a bug in the course: that must not count as 0 points.
    """
    found = opened.found
    source = found["sources"].get(spec.id, "")
    if spec.id in found["broken"]:
        return row(spec, "wrong", found["broken"][spec.id], "Python cannot parse the cell. Fix that line first.")
    if spec.id in found["unread"]:
        return row(spec, UNJUDGED, hint=f"{found['unread'][spec.id]}; {results.LOOK}")
    if spec.id not in found["answered"]:
        return row(spec, "missing", hint=found["unmarked"].get(spec.id, ""))
    if not found["answered"][spec.id]:
        return row(spec, "not attempted", source=source)
    score, lacks = best(spec, opened, seed)
    if lacks:
        return row(spec, UNJUDGED, hint=f"it needs {lacks[:LONGEST]}; {results.LOOK}", source=source)
    cases = [case(c, c.earned, c.message, c.hint) for c in score.cases]
    name, hint = score.mistake.name if score.mistake else None, score.hint
    return row(spec, score.state, source=source) | {
        "earned": score.earned, "mistake": name, "hint": hint[:LONGEST], "cases": cases
    }  # fmt: skip


def best(spec, opened, seed):
    """The best Score of an exercise, and something that it needed but only the notebook had, or "".

    It is loaded in one way after the other until it is correct: an answer that `check` accepted in the notebook must not
    fail here because of how it was cut out.
    """
    tried = []
    for way in range(WAYS):
        score = scoring.score(spec, opened.call(spec.id, way), seed)
        tried.append((score, opened.lost, opened.lacks[0] if opened.lacks and score.state != "right" else ""))
        over = opened.lost or opened.stops > STOPS or way + 1 >= opened.found["ways"].get(spec.id, 1)
        if score.state == "right" or over:
            break
    score, _, lacks = max(tried, key=lambda t: (t[0].earned, not t[1], not t[2]))
    return score, lacks


def row(spec, state, message=None, hint="", source=""):
    """The row of an exercise without points; with a message, the same for all its cases."""
    cases = [] if message is None else [case(c, 0, message, hint) for c in spec.cases]
    return {
        "id": spec.id,
        "title": spec.title,
        "points": spec.points,
        "earned": 0,
        "state": state,
        "mistake": None,
        "hint": hint,
        "cases": cases,
        "source": source,
    }


def case(spec, earned, message, hint):
    told = {"message": message[:LONGEST], "hint": hint[:LONGEST]}
    return {"name": spec.name, "points": spec.points, "earned": earned} | told


def remarks(row, imports):
    """What a person should look at in an answer, and in the imports that it needs."""
    if row["state"] == "missing":
        return [row["hint"]] if row["hint"] else []
    id, code = row["id"], f"{imports}\n{row['source']}"
    ready_made = READY_MADE.get(id, READY_MADE.get(id.partition(".")[0], r"(?!)"))
    told = [
        (re.compile(ready_made), "which does most of the exercise"),
        (COURSE, "course code that may be the answer itself"),
        (BEYOND, "which reaches beyond the exercise"),
    ]
    found = [(pattern.search(code), why) for pattern, why in told]
    return [f"{id} uses `{match[0].strip()}`, {why}: {results.LOOK}" for match, why in found if match]


def exercises_of(notebook):
    """The exercises of a notebook, in its order; none for an unknown one."""
    chapter = chapter_named(notebook)
    return list(chapters.chapter(chapter).values()) if chapter else []


def chapter_named(notebook):
    """The chapter of a notebook, or None for an unknown one."""
    return next((chapter for chapter, stem in stems().items() if stem == notebook), None)


def unjudged(notebook, problem):
    """The parts of a result for a hand-in that could not be judged; problem: the reason."""
    rows = [row(spec, "missing") for spec in exercises_of(notebook)]
    return {"judged": False, "problem": problem[:LONGEST], "notes": [], "seconds": 0.0, "exercises": rows}


def missing(student, notebook):
    """The result of a student who handed in nothing: there was nothing to judge, and `file` is empty."""
    told = {"judged": True, "problem": None, "file": "", "sha256": "", "submitted": None, "late": None}
    told |= {"platform": "", "number": ""}
    return {"format": results.FORMAT, "student": student, "notebook": notebook} | unjudged(notebook, "") | told


def grade(handins, out, seed, backend, dues=None, executor=None, workers=1):
    """Judge hand-ins and write their results below the folder `out` -> the results, in the order in which they arrive.

    handins: from submissions.find; seed: text, kept secret from students; backend: from backends.choose; dues: a datetime with a
    time zone for all, or {notebook: datetime}; executor: any concurrent.futures.Executor, on this machine or on others with
    the same course, by default `workers` threads.  Hand-ins that were already judged by this course with this seed are not
    judged again.  Anything that goes wrong with a hand-in is reported in its result.
    """
    own = None if executor else ThreadPoolExecutor(workers)
    window = 2 * getattr(own or executor, "_max_workers", 16)
    waiting = {}
    try:
        for handin in handins:
            known = about(handin, dues)
            try:
                if old := before(out, known):
                    yield finish(out, handin, known | old)
                    continue
                data = handin.read()
                known["sha256"] = hashlib.sha256(data).hexdigest()
                future = (own or executor).submit(judge_bytes, data, handin.notebook, seed, backend)
            except Exception as error:
                yield finish(out, handin, known | failed(handin, error))
                continue
            waiting[future] = handin, known
            if len(waiting) >= window:
                yield from finished(out, waiting)
        while waiting:
            yield from finished(out, waiting)
    finally:
        if own:
            own.shutdown(wait=False, cancel_futures=True)


def about(handin, dues=None):
    """The parts of the result of a hand-in that are known before it is judged."""
    return {
        "format": results.FORMAT,
        "course": course(),
        "student": handin.student,
        "platform": handin.platform,
        "number": handin.number,
        "notebook": handin.notebook,
        "file": str(handin.file),
        "sha256": handin.file.sha256,
        "submitted": handin.submitted.isoformat(timespec="seconds") if handin.submitted else None,
        "late": is_late(handin, dues),
    }


def is_late(handin, dues=None):
    """Was it handed in late, according to the platform or the due time -> bool, or None if that is not known."""
    due = dues.get(handin.notebook) if isinstance(dues, dict) else dues
    if due is None:
        return True if handin.late else None
    return handin.late or bool(handin.submitted and handin.submitted > due)


def before(out, known):
    """The outcome of an earlier run for the same bytes, or None.  Raises CourseError as results.known does."""
    old = results.known(out, known["student"], known["notebook"])
    same = old and old["judged"] and all(old.get(k) == known[k] and known[k] for k in ("sha256", "course"))
    return {k: old[k] for k in ("judged", "problem", "notes", "seconds", "exercises")} if same else None


def failed(handin, error):
    """The parts of a result that explain why nothing was judged; an unexpected error is attributed to the judge."""
    expected = isinstance(error, CourseError)
    return unjudged(handin.notebook, str(error) if expected else f"{results.FAULT}: {type(error).__name__}: {error}")


def finished(out, waiting):
    """Write the results that have arrived, after waiting for at least one."""
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        handin, known = waiting.pop(future)
        try:
            known |= future.result()
        except Exception as error:  # an error of the judge or the executor: other hand-ins' marks do not depend on it
            known |= failed(handin, error)
        yield finish(out, handin, known)


def short(note):
    """A remark of limited length, which is still for the teacher only if it was before."""
    end = f" {results.LOOK}" if note.endswith(results.LOOK) else ""
    return note if len(note) <= LONGEST else f"{note[: LONGEST - len(end) - 1]}…{end}"


def finish(out, handin, known):
    """Write a result -> the result, or one that reports that it could not be written."""
    notes = list(dict.fromkeys(map(short, [*handin.notes, *known["notes"]])))
    if len(notes) > NOTES:
        notes = [*sorted(notes, key=lambda note: not note.endswith(results.LOOK))[: NOTES - 1], MORE]
    known["notes"] = notes
    try:
        results.write(out, known)
    except Exception as error:
        return known | failed(handin, error)
    return known


@cache
def course():
    """A digest of the course's code, since different code may give different marks."""
    files = sorted((ROOT / "cvdl").rglob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]
