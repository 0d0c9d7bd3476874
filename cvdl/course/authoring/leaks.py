"""What must not happen to notebooks: answers that leak to students, answers that are overwritten."""

import base64
import binascii
import json
import re

import nbformat

from cvdl.course.authoring.source import BEGIN, END, holds_stub
from cvdl.errors import CourseError

LEAK = 23  # characters from which on a line of an answer is told apart from chance


def answer_lines(master):
    """Lines of answers that must not appear in a student's notebook."""
    outside = "\n".join(c.source if c.kind == "markdown" else c.stub for c in master.cells)
    inside = set()
    for c in master.cells:
        for block in re.findall(f"{BEGIN}\n(.*?){END}", c.source, re.S):
            inside |= {line.strip() for line in block.splitlines()}
    return sorted(s for s in inside if len(s) >= LEAK and not s.startswith("#") and s not in outside)


def leaks(path, secrets):
    """Answer lines found anywhere in a notebook: sources, outputs, attachments, metadata."""
    found = set()

    def search(node):
        if isinstance(node, dict):
            for key, value in node.items():
                search(key)
                search(value)
        elif isinstance(node, list):
            # nbformat stores a text as a list of lines
            search("".join(map(str, node))) if all(isinstance(v, str) for v in node) else [search(v) for v in node]
        elif isinstance(node, str):
            found.update(s for s in secrets if s in node)
            if len(node) > 200 and " " not in node:
                try:
                    raw = base64.b64decode(node, validate=True)
                except (binascii.Error, ValueError):
                    return
                found.update(s for s in secrets if s.encode() in raw)

    text = path.read_text(encoding="utf-8")
    try:
        search(json.loads(text))
    except json.JSONDecodeError:  # a damaged notebook
        search(text)
    return sorted(found)


def refuse_answers(path):
    """Raise CourseError if a notebook that is about to be written over holds somebody's answers."""
    if not path.exists():
        return
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type != "code" or "@exercise" not in cell.source:
            continue
        try:
            answered = not holds_stub(cell.source)
        except SyntaxError:
            answered = True
        if answered:
            raise CourseError(
                f"{path} holds an answer (cell {cell.get('id', '?')}), so it is not overwritten. "
                f"Move it into work/, or throw the answer away with `git checkout -- {path.name}`, and build again."
            )
