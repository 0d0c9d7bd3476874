"""A run of `cvdl grade`: what was asked for, the secret seed, and what came of it."""

import difflib
import hashlib
import os
import re
import secrets
import sys
import unicodedata
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from importlib import import_module

from tqdm import tqdm

from cvdl.course import export, likeness, results
from cvdl.course import jail as jails
from cvdl.course.export import folded
from cvdl.course.grade import exercises_of, grade, missing
from cvdl.course.handins import find, stems
from cvdl.errors import CourseError
from cvdl.settings import ROOT


def grade_all(
    submissions, out, notebook="", workers=None, seed=None, due=None, jail="auto", students=None, formats=(), against=()
):
    """Grade all hand-ins and write their tables and pages -> (what to tell, were all of them judged?).

    formats: of export.FORMATS; against: OUT folders of earlier classes, or this one, to look for answers that are alike.
    Raises CourseError before anything is judged.
    """
    import torch

    export.known(formats)
    older = [r for folder in against for r in earlier(folder, out)]

    torch.set_num_threads(1)  # the workers share the processors
    stem = stem_named(notebook) if notebook else None
    due = time_named(due) if due else None
    names = names_in(students) if students else []
    backend = jails.choose(jail)
    if out.resolve() == submissions.resolve():
        raise CourseError(f"{out} contains the hand-ins. Name another folder: --out DIR")
    ours = (out, students) if students else (out,)
    handins = [h for h in find(submissions, ours) if stem in (None, h.notebook) or h.notebook == "unknown"]
    if not handins:
        raise CourseError(f"There is no hand-in for notebook {stem} in {submissions}.")
    graded = sorted({h.notebook for h in handins} - {"unknown"})
    if len(graded) == 1:  # then a text or a PDF was also handed in for this one
        handins = [replace(h, notebook=graded[0]) if h.notebook == "unknown" else h for h in handins]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(f"{out} cannot be written to ({error.strerror}). Name another folder: --out DIR") from None
    seed = secret(out / "seed", seed)
    note(out / "run.json", seed, due, graded, names)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        done = list(
            tqdm(
                grade(handins, out, seed, backend, due, workers=workers or processors),
                *("Hand-ins", len(handins)),
                unit="hand-in",
                file=sys.stderr,
            )
        )
    except KeyboardInterrupt:
        print("Stopped. Results so far are kept: run the same command again to continue.", file=sys.stderr)
        raise
    done.sort(key=lambda r: (r["student"], r["notebook"]))
    lines = [f"{r['file']}: {r['problem']}" for r in done if not r["judged"]]
    complete = not lines
    here = {(r["student"], r["notebook"]) for r in done}
    for name in graded if names else []:
        came = {folded(s) for s, n in here if n == name}
        for student in [n for n in names if folded(n) not in came]:
            results.write(out, missing(student, name))
            here.add((student, name))
            lines.append(f"{student}: nothing handed in for {name}")
    lines += strangers(done, names)
    judged = f"{sum(r['judged'] for r in done)} of {len(done)} hand-ins judged"
    late = f", {sum(bool(r['late']) for r in done)} late (due {due:%Y-%m-%d %H:%M %Z})" if due else ""
    lines.append(f"{judged}{late}; the results are in {out / 'results'}")
    everything = results.read(out)
    if gone := [f"{r['student']} ({r['notebook']})" for r in everything if left(r, here, graded, names)]:
        lines.append(
            f"In {out / 'results'}, but not among these hand-ins: {', '.join(gone)}. If one was withdrawn, delete its file "
            "there and its page, and run the same command again."
        )
    lines += export.publish(everything, out, formats)
    if against:
        lines += likeness.write(likeness.compare(everything, older), out)
    # names may hold terminal codes
    lines = ["".join(c if c.isprintable() else "\ufffd" for c in line) for line in lines]
    return "\n".join(lines), complete


def strangers(done, names):
    """A line for each hand-in of a student who is not on the list, with the most similar name that has no hand-in."""
    known = {folded(name): name for name in names}
    came = {folded(r["student"]): r["student"] for r in done}
    free = {name: known[name] for name in known if name not in came}
    keys = {plain(name): name for name in free}
    lines = []
    for name in sorted(came) if names else ():
        if name in known:
            continue
        near = difflib.get_close_matches(plain(came[name]), keys, n=1, cutoff=0.6)
        meant = f" Is it {free[keys[near[0]]]}, who has no hand-in?" if near else ""
        lines.append(
            f"{came[name]} is not on the list of students.{meant} Marks are kept under the name of the hand-in."
        )
    return lines


def plain(name):
    """A name for comparing: its letters without accents, word by word in the order of the alphabet."""
    letters = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return " ".join(sorted(re.findall("[a-z]+", letters)))


def note(path, seed, due, graded, names):
    """Record in run.json what is graded, in addition to what was graded into the same folder before."""
    old = results.load(path) if path.exists() else {}
    due = due.isoformat() if due else None
    told = {
        "format": results.FORMAT,
        "seed_sha256": hashlib.sha256(seed.encode()).hexdigest(),
        "notebooks": old.get("notebooks", {}) | {n: {e.id: e.points for e in exercises_of(n)} for n in graded},
        "dues": old.get("dues", {}) | dict.fromkeys(graded, due),
        "names": sorted({*old.get("names", ()), *map(folded, names)}),
    }
    results.save(path, results.as_json(told))


def left(result, here, graded, names):
    """Did an earlier run write this, for a hand-in (or a name on the list) that this run has not seen?"""
    student, notebook = result["student"], result["notebook"]
    asked = notebook in graded or (notebook == "unknown" and student in {s for s, _ in here})
    return asked and (student, notebook) not in here and bool(result["file"] or names)


def earlier(folder, out):
    """The results of an earlier class; none if `folder` is `out` itself."""
    if folder.resolve() == out.resolve():
        return []
    if not (folder / "results").is_dir():
        raise CourseError(
            f"{folder} contains no results. Give --against the OUT folder of an earlier class, or this one."
        )
    return results.read(folder)


def self_test(jail="auto"):
    """Run the attacks of tests/attacks in the jail of this machine, and print a table -> did it hold against all?

    Raises CourseError where they are missing, or no jail works.
    """
    if not (ROOT / "tests/attacks").is_dir():
        raise CourseError(
            f"There is no {ROOT / 'tests/attacks'}: students do not get the attacks. Run this in the teachers' "
            "repository."
        )
    import torch

    torch.set_num_threads(1)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return import_module("tests.attacks").table(jail)


def stem_named(name):
    """01, or 01_rnn_from_scratch, or rnn -> the stem."""
    known = stems()
    found = [stem for chapter, stem in known.items() if name in (chapter, stem, stem[:2], f"{stem}.ipynb")]
    if not found:
        raise CourseError(f"There is no notebook {name!r} with exercises; there are {', '.join(known.values())}.")
    return found[0]


def time_named(text):
    """The time that is meant, in this machine's zone if none is named; a day without a time means its end."""
    try:
        with suppress(ValueError):
            text = f"{date.fromisoformat(text)}T23:59:59"
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise CourseError(
            f"--due: cannot parse {text!r} as a date or time. Write it as in 2026-01-31T23:59 or 2026-01-31T23:59+01:00."
        ) from None


def names_in(path):
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read as a list of names in UTF-8: {error}") from None


def secret(path, seed):
    """The seed of the run in this folder: the one kept there, the one given, or a new one.

    Raises CourseError if the first two differ.
    """
    if path.exists():
        kept = path.read_text(encoding="utf-8")
        if seed not in (None, kept):
            raise CourseError(
                f"{path.parent} was graded with a different seed. Name another folder, or leave out --seed."
            )
        return kept
    seed = seed or secrets.token_hex(16)
    part = path.with_name("seed.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(seed)
    part.replace(path)
    return seed
