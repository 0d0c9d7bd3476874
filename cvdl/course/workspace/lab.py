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
from cvdl.files import replacing, write_json
from cvdl.settings import ROOT

RECORD = ".delivered.json"  # in work/: {file: sha256 of what was put there}
ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"
ANYWHERE = ("", "*", "0.0.0.0", "::")  # a server with such an address listens on all interfaces


def deliver(notebooks, work):
    """Put each notebook that `work` does not have yet into it -> [what was done, a line each].

    A copy that is still as it was delivered is replaced by a newer version. A file that has been worked in is never
    overwritten: the newer version is put next to it as NN_name.new.ipynb, or, if that was worked in, too, as
    NN_name.new.2.ipynb and so on.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteFailed(
            f"The folder {work} for your notebooks cannot be created: {error.strerror}. Name another one: cvdl lab --work FOLDER"
        ) from None
    record = read_record(work)
    said = []
    for source in sorted(notebooks.glob("*.ipynb")):
        target = place(source, work, record)
        if target is None:
            continue
        there = target.exists()
        if not there or digest(target) != digest(source):
            # whole or not at all: half a notebook would pass for the student's own work
            with replacing(target) as beside:
                shutil.copyfile(source, beside)
            if target.name != source.name:
                said.append(f"{source.name} has changed; the new version is {target}")
            else:
                said.append(f"Updated: {target}" if there else f"New: {target}")
        record[target.name] = digest(target)
        write_json(work / RECORD, record)
    return said


def place(source, work, record):
    """Where this version of a notebook belongs, or None if it was delivered before."""
    own = work / source.name
    if not own.exists():
        return own
    new = digest(source)
    if any(then == new for name, then in record.items() if family(name) == source.stem):
        return None
    if digest(own) in (new, record.get(own.name, "")):  # the latter: it has not been worked in
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


def can_encrypt():
    """Can JupyterLab encrypt its connections to kernels?  If so, kernels warn when they are not encrypted."""
    import zmq
    from jupyter_server.services.kernels.kernelmanager import MappingKernelManager

    return "transport_encryption" in MappingKernelManager.class_trait_names() and zmq.has("curve")


def without_news(handler, page_config):
    """Disable the part of JupyterLab that asks whether to show news.  A hook for jupyterlab_server."""
    page_config["disabledExtensions"] = [*page_config.get("disabledExtensions", []), ANNOUNCEMENTS]
    return page_config


def announce(server, notebook):
    """Print the address of a notebook on a server that listens; it may have its own port, certificate or password."""
    scheme, host = "https" if server.certfile else "http", "localhost" if server.ip in ANYWHERE else server.ip
    token = server.identity_provider.token
    address = f"{scheme}://{host}:{server.port}{server.base_url}lab/tree/{notebook}"
    print(f"JupyterLab is at {address}{f'?token={token}' if token else ''}")
    print("To stop it, press Ctrl-C here and confirm.", flush=True)


def lab(work, port=8888, browser=True):
    """Deliver the notebooks and run JupyterLab until it is stopped."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise CourseError(f'JupyterLab is not installed. Add it, in {ROOT}: pip install -e ".[notebook,lab]"')
    if not any((ROOT / "notebooks").glob("*.ipynb")):
        raise CourseError(
            f"There are no notebooks in {ROOT / 'notebooks'}. They come with the repository: clone it, and "
            'install the course from there with `pip install -e ".[notebook,lab]"`.'
        )
    try:
        work = work.resolve()
        for line in deliver(ROOT / "notebooks", work):
            print(line)
        first = min(work.glob("[0-9][0-9]_*.ipynb"))
    except OSError as error:
        raise WriteFailed(
            f"Your copies of the notebooks cannot be written to {work}: {error.__cause__ or error}. Name a folder "
            "that you may write to: cvdl lab --work FOLDER"
        ) from error
    chosen = free_port(port)
    if chosen != port:
        print(f"Port {port} is taken, perhaps by a JupyterLab that is still open; using {chosen}.")
    # Our own token, or Jupyter would print its address as well; not as an argument, which other users could read.
    os.environ.setdefault("JUPYTER_TOKEN", secrets.token_hex(16))
    # On a busy machine, threads of torch that wait actively for one another take several times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = [str(first), f"--port={chosen}", "--ServerApp.port_retries=0"]
    options += ["--log-level=WARN", "--LabApp.log_level=WARN"]
    # Where the user's own Jupyter settings have another folder or path, the course would not open.
    options += [f"--{part}.root_dir={work}" for part in ("ServerApp", "FileContentsManager")]
    options += [f"--ServerApp.preferred_dir={work}", "--FileContentsManager.preferred_dir=", "--ServerApp.base_url=/"]
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    options += ["--MappingKernelManager.transport_encryption=auto"] if can_encrypt() else []
    options += [] if browser else ["--no-browser"]
    options += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []

    from jupyterlab.labapp import LabApp

    server = LabApp.initialize_server(argv=options)
    server.web_app.settings["page_config_hook"] = without_news
    server.io_loop.add_callback(announce, server, first.name)  # after its callback that begins to listen
    server.start()
