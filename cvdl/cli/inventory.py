"""Which datasets are here: the output of `cvdl data`."""

from collections import ChainMap
from typing import NamedTuple

from cvdl import tables
from cvdl.data.registry import SETS as FLOW
from cvdl.data.registry import absent, find, get, real_folder, sets_folder
from cvdl.errors import CourseError, InvalidInput, nearest
from cvdl.flow.data.pair_lists import real_files, set_files
from cvdl.gesture.readers import find_gestures, open_gestures
from cvdl.gesture.sets import SETS as GESTURES

SETS = ChainMap(GESTURES, FLOW)  # its order: those of flow first


class State(NamedTuple):
    name: str  # "here" if a split can be read and none is broken, "broken" if a part is there, "missing" if nothing is
    pairs: dict  # split -> how many pairs, or clips, of it are here
    problems: list  # what is wrong, each with what to do


def look(entry):
    """The State of a dataset, from the names of its files and from its lists."""
    top, pairs, errors = sets_folder(), {}, {}
    for split in entry.needs:
        try:
            pairs[split] = len((set_files if entry.name in FLOW else open_gestures)(entry.name, split))
        except CourseError as error:
            errors[split] = str(error)
    begun = [split for split in errors if len(absent(entry, split, top)) < len(entry.needs[split])]
    if not pairs and not begun and (top / entry.folder).is_dir():
        begun = list(errors)[:1]  # unpacked, but not in the right layout
    problems = list(dict.fromkeys(errors[split] for split in begun))
    return State("broken" if problems else "here" if pairs else "missing", pairs, problems)


def entry_of(name):
    if name not in SETS:
        raise InvalidInput(
            f"There is no dataset {name!r}.{nearest(name, list(SETS))} There are {', '.join(SETS)}. `cvdl data` lists them."
        )
    return SETS[name]


def table():
    """All datasets, one per line, and what is wrong with the broken ones."""
    samples, rows, problems = real_folder(), [("set", "state", "pairs or clips here", "download", "terms")], []
    for entry in SETS.values():
        found = look(entry)
        rows.append((entry.name, found.name, _count(entry, found.pairs), entry.size, entry.terms))
        problems += found.problems
    if samples:
        try:
            rows.append(("real", "here", str(len(real_files())), "–", "not to be passed on"))
        except CourseError as error:
            rows.append(("real", "broken", "none", "–", "not to be passed on"))
            problems.append(str(error))
    lines = tables.table(rows)
    where = f"{sets_folder()} (CVDL_SETS)" + (f", then in {samples}" if samples else "")
    direct = ", ".join(entry.name for entry in SETS.values() if entry.files)
    end = f"How to get a dataset, and its layout: cvdl data NAME. To download it: cvdl data get NAME; so far {direct}."
    return "\n".join([f"Looked for in {where}.", "", *lines, "", *(f"Broken: {each}\n" for each in problems), end])


def page(name):
    """One dataset: its state, the folders that it must have, what is missing, where to get it."""
    entry, top = entry_of(name), sets_folder()
    found, uses = look(entry), {}
    for split, parts in entry.needs.items():
        for part in parts:
            uses.setdefault(part, []).append(split)
    notes = {part: f"for {' and '.join(splits)}" for part, splits in uses.items()}
    notes |= {part: "masks, used if present" for part in entry.masks}
    where = find if entry.name in FLOW else find_gestures
    root = next((place for split in found.pairs for place in [where(entry, split)]), top)
    parts = tables.table((part, _there(root / entry.folder / part), note) for part, note in notes.items())
    head = [
        f"{entry.title}: {found.name}",
        f"{'Pairs' if entry.name in FLOW else 'Clips'}: {_count(entry, found.pairs)}",
        "",
        str(root / entry.folder),
        *(f"  {part}" for part in parts),
        "",
    ]
    return "\n".join([*head, *(found.problems or [get(entry, top)])])


def _there(path):
    return "here" if path.exists() else "missing"


def _count(entry, pairs):
    if not pairs:
        known = [total for total in entry.pairs.values() if total]
        return f"none of {sum(known):,}" if known else "none"
    whole = {split: f" of {total:,}" if total else "" for split, total in entry.pairs.items()}
    return ", ".join(f"{split} {count:,}{whole[split]}" for split, count in pairs.items())
