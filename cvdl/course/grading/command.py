"""A run of `cvdl grade`: its options, the secret seed, and its outcome."""

import difflib
import hashlib
import os
import re
import secrets
import sys
import unicodedata
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime

from tqdm import tqdm

from cvdl.course.grading import gradebook, publish, results, similarity, tables
from cvdl.course.grading.grade import course, exercises_of, grade, is_late, missing
from cvdl.course.grading.gradebook import folded
from cvdl.course.grading.names import shown
from cvdl.course.grading.sandbox import backends as jails
from cvdl.course.grading.submissions import find
from cvdl.course.notebook.chapters import stems
from cvdl.errors import CourseError
from cvdl.files import read_text, replacing
from cvdl.settings import ROOT

LINE = 2000  # characters of a line in the report


def grade_all(
    submissions,
    out,
    notebook="",
    workers=None,
    seed=None,
    due=(),
    jail="auto",
    students=None,
    formats=(),
    against=(),
    regrade=False,
):
    """Grade all hand-ins and write their tables and pages -> (the report as text, were all of them judged?).

    due: one time or several, each optionally preceded by a notebook and =; formats: from tables.FORMATS; against: OUT
    folders of earlier classes, or this one, to search for similar answers; regrade: let hand-ins replace marks that would
    otherwise be kept.
    Raises CourseError before anything is judged.
    """
    import torch

    tables.known(formats)
    older = [r for folder in against for r in earlier(folder, out)]

    torch.set_num_threads(1)  # the workers share the CPUs
    stem = stem_named(notebook) if notebook else None
    given = dues_named([due] if isinstance(due, str) else due or ())
    names = names_in(students) if students else []
    hidden = [p for p in (submissions, out, students, *against) if p]
    backend = jails.choose(jail, hidden)
    if out.resolve() == submissions.resolve():
        raise CourseError(f"{out} contains the hand-ins. Name another folder: --out DIR")
    lines = []
    found = find(submissions, (out, students) if students else (out,), lines)
    main = [stem] if stem else asked_for(found)
    handins = [of_run(h, main) for h in found if stem in (None, h.notebook) or h.notebook == "unknown"]
    if not handins:
        raise CourseError(f"There is no hand-in for notebook {stem} in {submissions}.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(f"{out} cannot be written to ({error.strerror}). Name another folder: --out DIR") from None
    seed = secret(out / "seed", seed)
    noted = note(out / "run.json", seed, given, main, sorted({h.notebook for h in handins} - {"unknown"}), names)
    dues = {n: datetime.fromisoformat(due) for n, due in noted["dues"].items() if due}
    chosen, stay, changes, clear = sorted_out(handins, out, dues, main, regrade)
    for line in changes:
        print(shown(line, most=LINE), file=sys.stderr)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        done = list(
            tqdm(
                grade(chosen, out, seed, backend, dues, workers=workers or processors),
                *("Hand-ins", len(chosen)),
                unit="hand-in",
                file=sys.stderr,
            )
        )
    except KeyboardInterrupt:
        print("Stopped. Results so far are kept: run the same command again to continue.", file=sys.stderr)
        raise
    done.sort(key=lambda r: (r["student"], r["notebook"]))
    unjudged = [f"{r['file']}: {r['problem']}" for r in done if not r["judged"]]
    lines += unjudged + changes
    here = {(r["student"], r["notebook"]) for r in done} | stay
    everything = results.read(out, damaged := [])
    lines += damaged  # their students have no mark until someone looks at them
    for name in main if names else []:
        came = {folded(s) for s, n in here if n == name}
        marked = {folded(r["student"]) for r in everything if r["notebook"] == name and r["file"]}
        for student in [n for n in names if folded(n) not in came]:
            lines.append(f"{student}: nothing handed in for {name}")
            if folded(student) in marked or (damaged and results.place(out, student, name).exists()):
                lines[-1] += " this time; the earlier hand-in is kept"
                continue
            results.write(out, missing(student, name))
            here.add((student, name))
    lines += strangers(handins, names)
    judged = f"{sum(r['judged'] for r in done)} of {len(done)} hand-ins judged"
    times = ", ".join(sorted({f"{dues[n]:%Y-%m-%d %H:%M %Z}" for n in main if n in dues}))
    count = sum(bool(r["late"]) for r in done)
    late = (f", {count} late" + f" (due {times})" * bool(times)) if count or times else ""
    kept = f"; {len(handins) - len(done)} not judged again, because the mark stays" if len(handins) > len(done) else ""
    lines.append(f"{judged}{late}{kept}; the results are in {out / 'results'}")
    everything = results.read(out, [])
    if gone := [f"{r['student']} ({r['notebook']})" for r in everything if left(r, here, main, names)]:
        lines.append(
            f"In {out / 'results'}, but not among these hand-ins: {', '.join(gone)}. If one was withdrawn, delete its file "
            "there and its page, and run the same command again."
        )
    unwritten = []
    lines += publish.publish(everything, out, formats, unwritten)
    if against:
        lines += similarity.write(similarity.compare(everything, older), out)
    return "\n".join(shown(line, most=LINE) for line in lines), clear and not unjudged + damaged + unwritten


def asked_for(handins):
    """The notebooks that a run is about: those handed in by more than half as many students as the most frequent one."""
    count = Counter(h.notebook for h in handins if h.notebook != "unknown")
    return sorted(n for n in count if 2 * count[n] > max(count.values()))


def of_run(handin, main):
    """The hand-in, assigned to one of this run's notebooks if possible."""
    if handin.notebook == "unknown" and len(main) == 1:  # then a text or a PDF was meant for this notebook, too
        return replace(handin, notebook=main[0])
    if handin.notebook not in main and handin.platform == "moodle":
        return replace(handin, number="")  # it renumbers participants for each assignment
    return handin


def sorted_out(handins, out, dues, main, regrade):
    """Which hand-ins to grade, and how that changes the existing marks.

    -> (list of Submission, {(student, notebook)} whose marks are kept, a line for each mark that changes or is kept, is
    everything clear?).
    """
    chosen, stay, lines, clear = [], set(), [], True
    for h in handins:
        try:
            old = results.known(out, h.student, h.notebook)
        except CourseError:
            old = None  # which `grade` reports
        if old is None or not old["file"] or not (old["judged"] or gradebook.in_part(old)):
            chosen.append(h)
            continue
        same = bool(h.file.sha256) and old["sha256"] == h.file.sha256
        late, was_late = is_late(h, dues), old["late"]
        if was_late is None and h.notebook in dues and old["submitted"]:
            was_late = datetime.fromisoformat(old["submitted"]) > dues[h.notebook]
        unclear = why = ""
        if h.number and old.get("platform") == h.platform and old["number"] not in ("", h.number):
            unclear = f"is from number {h.number}, but the mark belongs to number {old['number']}"
        elif same:
            pass
        elif h.problem:
            unclear = f"cannot be judged ({h.problem})"
        elif h.notebook not in main:
            why = "is for a different notebook from most hand-ins"
        elif late and not was_late:
            why = "is late, but the earlier one was not"
        elif (
            h.submitted
            and old["submitted"]
            and h.submitted.replace(microsecond=0) < datetime.fromisoformat(old["submitted"])
        ):
            why = "is older than the one that was judged"
        mark = f"{h.student} ({h.notebook}), {gradebook.earned(old)} points"
        if (unclear or why) and not regrade:
            clear = clear and not unclear
            lines.append(f"{mark}: mark kept. {h.file} {unclear or why}; use --regrade to replace the mark.")
        elif same and h.notebook not in main and not regrade:
            pass
        else:
            if not same:
                lines.append(f"{mark}: replaced by the mark for {h.file}")
            elif old["course"] != course():
                lines.append(f"{mark}: judged again because the course's code has changed")
            elif bool(late) != bool(old["late"]):
                lines.append(f"{mark}: {'now' if late else 'no longer'} late")
            chosen.append(h)
            continue
        stay.add((h.student, h.notebook))
    return chosen, stay, lines, clear


def strangers(handins, names):
    """A line for each hand-in of a student who is not on the list, with the most similar name that has no hand-in."""
    known = {folded(name): name for name in names}
    came = {folded(h.student): h.student for h in handins}
    free = {name: known[name] for name in known if name not in came}
    keys = {plain(name): name for name in free}
    lines = []
    for name in sorted(came) if names else ():
        if name in known:
            continue
        near = difflib.get_close_matches(plain(came[name]), keys, n=1, cutoff=0.6)
        meant = f" Could this be {free[keys[near[0]]]}, who has no hand-in?" if near else ""
        lines.append(
            f"{came[name]} is not on the list of students.{meant} Marks are kept under the name of the hand-in."
        )
    return lines


def plain(name):
    """A name for comparison: its words without accents, in alphabetical order."""
    letters = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return " ".join(sorted(re.findall("[a-z]+", letters)))


def note(path, seed, given, main, graded, names):
    """Record in run.json what is graded, in addition to earlier runs in the same folder -> its contents.

    given: from dues_named; main: the notebooks that the run is about; graded: all notebooks for which there are hand-ins.
    """
    old = results.load(path) if path.exists() else {}
    dues = {n: given[""].isoformat() for n in main if "" in given} | {n: t.isoformat() for n, t in given.items() if n}
    told = {
        "format": results.FORMAT,
        "seed_sha256": hashlib.sha256(seed.encode()).hexdigest(),
        "notebooks": old.get("notebooks", {}) | {n: {e.id: e.points for e in exercises_of(n)} for n in graded},
        "asked_for": sorted({*old.get("asked_for", old.get("notebooks", ())), *main}),
        "dues": old.get("dues", {}) | dues,
        "names": sorted({*old.get("names", ()), *map(folded, names)}),
    }
    results.save(path, results.as_json(told))
    return told


def left(result, here, graded, names):
    """Was this written by an earlier run, for a hand-in (or a name on the list) that is not part of this run?"""
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
    """Run the attacks in this machine's jail, and print a table -> did it withstand all of them?

    Raises CourseError if the attacks are missing or no jail works.
    """
    attacks = ROOT / "cvdl/course/grading/attacks"
    if not attacks.is_dir():
        raise CourseError(
            f"{attacks} does not exist: the students' version of the course does not include the attacks. Run this in the "
            "teachers' repository."
        )
    import torch

    from cvdl.course.grading.attacks.suite import table

    torch.set_num_threads(1)
    return table(jail)


def stem_named(name):
    """01, or 01_rnn_from_scratch, or rnn -> the stem."""
    known = stems()
    found = [stem for chapter, stem in known.items() if name in (chapter, stem, stem[:2], f"{stem}.ipynb")]
    if not found:
        raise CourseError(f"There is no notebook {name!r} with exercises; choose one of {', '.join(known.values())}.")
    return found[0]


def dues_named(texts):
    """Times, each optionally preceded by a notebook and = -> {stem: datetime}, with "" for the notebooks of the run."""
    split = [text.rpartition("=") for text in texts]
    times = [(stem_named(name) if name else "", time_named(time)) for name, _, time in split]
    if twice := [name for name, number in Counter(name for name, _ in times).items() if number > 1]:
        raise CourseError(
            f"--due is given twice for {twice[0] or 'the notebooks of this run'}. Give one time for each."
        )
    return dict(times)


def time_named(text):
    """Parse a time, in this machine's time zone if none is given; a date without a time means the end of that day."""
    try:
        with suppress(ValueError):
            text = f"{date.fromisoformat(text)}T23:59:59"
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise CourseError(
            f"--due: cannot parse {text!r} as a date or time. Use the form 2026-01-31T23:59 or 2026-01-31T23:59+01:00."
        ) from None


def names_in(path):
    """The names in a file, one per line, each once.  Raises CourseError if it cannot be read."""
    try:
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except OSError as error:
        raise CourseError(f"{path} cannot be read as a list of names ({error.strerror}).") from None
    return list({folded(line): line for line in reversed(lines)}.values())[::-1]


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
    with replacing(path, "Name another folder: --out DIR") as beside:
        beside.unlink(missing_ok=True)
        beside.touch(0o600, exist_ok=False)
        beside.write_text(seed, encoding="utf-8")
    return seed
