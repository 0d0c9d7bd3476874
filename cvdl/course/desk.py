"""The student's desk: own copies of the notebooks in work/, and JupyterLab on them."""

import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
from itertools import count

from cvdl.errors import CourseError, WriteFailed
from cvdl.settings import ROOT

RECORD = ".delivered.json"  # in work/: {file: sha256 of what was put there}
PART = ".delivered.part"


def deliver(notebooks, work):
    """Put each notebook that `work` does not have yet into it -> [what was done, a line each].

    A file somebody worked in is never written to: a newer version goes beside it, as NN_name.new.ipynb,
    or, if that was worked in too, as NN_name.new.2.ipynb and so on.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteFailed(
            f"The folder {work} for your notebooks cannot be made: {error.strerror}. Name another one: cvdl lab --work FOLDER"
        ) from None
    record = read_record(work)
    said = []
    for source in sorted(notebooks.glob("*.ipynb")):
        target = place(source, work, record)
        if target is None:
            continue
        if not target.exists() or digest(target) != digest(source):
            # whole or not at all: half a notebook would pass for the student's own work
            part = work / PART
            shutil.copyfile(source, part)
            part.replace(target)
            newer = target.name != source.name
            said.append(f"{source.name} has changed; the new one is {target}" if newer else f"New: {target}")
        record[target.name] = digest(target)
        (work / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    return said


def place(source, work, record):
    """Where this version of a notebook belongs, or None if it was delivered before."""
    own = work / source.name
    if not own.exists():
        return own
    new = digest(source)
    if any(then == new for name, then in record.items() if family(name) == source.stem):
        return None
    if digest(own) == new:
        return own
    for n in count(1):
        beside = work / f"{source.stem}.new{'' if n == 1 else f'.{n}'}.ipynb"
        if not beside.exists() or digest(beside) in (new, record.get(beside.name, "")):
            return beside


def family(name):
    """01_name.new.2.ipynb -> 01_name"""
    return name.partition(".")[0]


def digest(path):
    """sha256 of a file; None where a folder stands in its place."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def read_record(work):
    """What was delivered so far.  Where that cannot be read, every file counts as worked in."""
    try:
        record = json.loads((work / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def free_port(first):
    """The first port from `first` on that nobody listens on."""
    for port in range(first, min(first + 50, 65536)):
        try:
            socket.create_server(("localhost", port)).close()
        except OSError:
            continue
        return port
    raise CourseError(f"The ports from {first} on are all taken. Choose another: cvdl lab --port 9000")


def lab(work, port=8888, browser=True):
    """Deliver the notebooks and run JupyterLab until it is stopped."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise CourseError(f'JupyterLab is not installed. Add it, in {ROOT}: pip install -e ".[lab]"')
    if not any((ROOT / "notebooks").glob("*.ipynb")):
        raise CourseError(
            f"There are no notebooks in {ROOT / 'notebooks'}. They come with the repository: clone it, and "
            'install the course from there with `pip install -e ".[lab]"`.'
        )
    work = work.resolve()
    for line in deliver(ROOT / "notebooks", work):
        print(line)
    first = min(work.glob("[0-9][0-9]_*.ipynb"))
    chosen = free_port(port)
    if chosen != port:
        print(f"Port {port} is taken, perhaps by a JupyterLab that is still open; using {chosen}.")
    # Our own token, for the address to be known now; not as an argument, which other users could read.
    token = os.environ.setdefault("JUPYTER_TOKEN", secrets.token_hex(16))
    print(f"JupyterLab is at http://localhost:{chosen}/lab/tree/{first.name}?token={token}")
    print("To stop it, press Ctrl-C here and confirm.", flush=True)
    options = [str(first), f"--port={chosen}", "--ServerApp.port_retries=0", "--log-level=WARN"]
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    # What the address and the file above rely on; a user's own configuration may say something else.
    options += [f"--ServerApp.root_dir={work}", f"--ServerApp.preferred_dir={work}", "--ServerApp.base_url=/"]
    options += [] if browser else ["--no-browser"]
    options += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []

    from jupyterlab.labapp import main

    main(options)
