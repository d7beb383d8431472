#!/usr/bin/env python3
"""Installs a lock into the tree that becomes an image layer.

`install.py era` makes the layer that the releases of a suite share, of era.txt. It goes to /opt/era, which a .pth
file puts on Python's path after the directory that a release goes to. So `install.py release` needs to bring only what
release.txt has in another version, or more of, and hides the era's version of it.

`install.py check` imports a release where it has been copied to.

`install.py lock` reads requests from standard input and prints the locks: see `lock`.

A lock has a line `name==version` for each distribution, `# exclude-newer: TIME` for the tools that build source
distributions, and `# resolve: VERSION` if it is only where to start from to find the lock of that release.
"""

import hashlib
import importlib.util
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

CONTEXT = Path(__file__).parent
TREE = Path("/opt/tree")
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
SITE = TREE / "usr/local/lib" / PYTHON / "dist-packages"
UV = "/opt/uv/bin/uv"
ERA = TREE / "opt/era"
COMPILED = Path("/root/.cache/compiled")

# A lock that is only where to start from.
WANTED = re.compile(r"^# resolve: (\S+)$", re.MULTILINE)

# Bulky data that nothing in a homeserver reads.
UNUSED = ["phonenumbers/geodata", "phonenumbers/carrierdata", "phonenumbers/tzdata"]


def era():
    pins, newest = read((CONTEXT / "era.txt").read_text())
    install(pins, newest, ERA)
    shutil.rmtree(ERA / "bin", ignore_errors=True)
    SITE.mkdir(parents=True, exist_ok=True)
    (SITE / "era.pth").write_text("/opt/era\n")
    finish(ERA)
    compile(ERA)


def release():
    text = (CONTEXT / "release.txt").read_text()
    pins, newest = read(text)
    wanted = WANTED.search(text)
    if wanted:
        pins = resolve(wanted.group(1), pins, newest)
    shared, _ = read((CONTEXT / "era.txt").read_text())
    install({name: version for name, version in pins.items() if shared.get(name) != version}, newest, SITE)
    shutil.move(str(SITE / "bin"), str(TREE / "usr/local/bin"))
    finish(SITE)
    compile(SITE)


def lock():
    """For each request, a JSON object a line, prints its lock, or why there is none, as another.

    A request is `{"version", "newest", "seed"}`; without a seed it starts from the lock before it.
    """
    previous, highest = {}, {}
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"version": request["version"]}
        try:
            # What one release wants lower is not kept low for those after it.
            seed = request.get("seed") or {name: highest[name] for name in previous}
            previous = resolve(request["version"], seed, request["newest"])
            for name, pin in previous.items():
                highest[name] = max(pin, highest.get(name, pin), key=age)
            answer["pins"] = {name: pin for name, pin in previous.items() if name != "matrix-synapse"}
        except subprocess.CalledProcessError as error:
            answer["error"] = error.stderr
        print(json.dumps(answer), flush=True)


def age(pin):
    return [int(number) for number in re.findall(r"\d+", pin)]


def read(text):
    """The pins of a lock, and how new its build tools may be."""
    pins = dict(line.split("==") for line in text.splitlines() if line and not line.startswith("#"))
    newest = re.search(r"^# exclude-newer: (\S+)$", text, re.MULTILINE)
    return pins, newest.group(1)


def uv(*arguments, **options):
    command = [UV, "pip", *arguments, "--no-config", "--python", f"/usr/bin/{PYTHON}"]
    return subprocess.run(command, check=True, **options)


def resolve(version, seed, newest):
    """The lock of a release: the pins of the seed unless the release forces others."""
    with tempfile.TemporaryDirectory() as directory:
        wanted, found = Path(directory, "wanted.in"), Path(directory, "found.txt")
        source = repaired(version)
        exact = f" @ file://{source}" if source else f"=={version}"
        wanted.write_text(f"matrix-synapse[{extras(version)}]{exact}\n")
        found.write_text("".join(f"{name}=={pin}\n" for name, pin in seed.items()))
        options = ["--quiet", "--no-header", "--no-annotate", "--exclude-newer", newest]
        uv("compile", str(wanted), "-o", str(found), *options, stderr=subprocess.PIPE, text=True)
        lines = found.read_text().splitlines()
        pins = dict(line.split("==") for line in lines if "==" in line)
        return {**pins, "matrix-synapse": version}


def extras(version):
    return "all"


def install(pins, newest, site):
    # A distribution that is built from source without a word on its tools gets those of its time.
    options = ["--no-deps", "--link-mode=copy", "--no-progress", "--exclude-newer", newest, "--target", str(site)]
    pins = dict(pins)
    version = pins.pop("matrix-synapse", None)
    if pins:
        uv("install", *(f"{name}=={pin}" for name, pin in pins.items()), *options)
    if version:
        # Nobody will ask for it again: it need not stay in the cache of downloads.
        uv("install", repaired(version) or f"matrix-synapse=={version}", *options, "--no-cache")


def repaired(version):
    """A repaired source tree for the releases whose setup.py today's setuptools refuses."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version.split("rc")[0]))
    if numbers >= (0, 99, 1):
        return None
    home = Path("/tmp/sources", version)
    if not home.exists():
        index = os.environ["UV_DEFAULT_INDEX"].rstrip("/") + "/matrix-synapse/"
        page = urllib.request.urlopen(index).read().decode()
        link = re.search(rf'href="([^"]*matrix[-_]synapse-{re.escape(version)}\.tar\.gz[^"]*)"', page)
        if not link:
            sys.exit(f"{index} has no source distribution of matrix-synapse {version}")
        archive, _ = urllib.request.urlretrieve(urljoin(index, link.group(1)))
        with tarfile.open(archive) as sources:
            sources.extractall(home)
        setup = next(home.iterdir()) / "setup.py"
        # An argument that was a dict_values object: setuptools wants a list, and an empty one does.
        setup.write_text(re.sub(r"dependency_links=[^\n]*,\n", "dependency_links=[],\n", setup.read_text()))
    return str(next(home.iterdir()))


def finish(site):
    """Drops what is not needed."""
    for path in UNUSED:
        shutil.rmtree(site / path, ignore_errors=True)
    for directory in [*site.glob("*/**/test"), *site.glob("*/**/tests")]:
        if directory.is_dir():
            shutil.rmtree(directory, ignore_errors=True)
    # These would pin a namespace package to one of the two directories; without them Python merges both.
    for hook in site.glob("*-nspkg.pth"):
        hook.unlink()


def compile(site):
    """Boots are dominated by imports, and the user that Synapse runs as cannot keep what it compiles.

    What the releases before this one had too has been compiled already.
    """
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    COMPILED.mkdir(parents=True, exist_ok=True)
    for source in site.rglob("*.py"):
        place = f"/{source.relative_to(TREE)}"
        key = hashlib.sha256(importlib.util.MAGIC_NUMBER + place.encode() + b"\0" + source.read_bytes())
        kept, target = COMPILED / key.hexdigest(), Path(importlib.util.cache_from_source(str(source)))
        if not kept.exists():
            try:
                py_compile.compile(str(source), str(kept), place, doraise=True, invalidation_mode=mode)
            except py_compile.PyCompileError:
                # Some distributions carry files for other Python versions, which do not compile: not an error.
                continue
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(kept, target)


def check():
    """Distributions that do not fit together show when the homeserver is imported. Those of a lock have been seen to."""
    if not WANTED.search((CONTEXT / "release.txt").read_text()):
        return
    subprocess.run([f"/usr/bin/{PYTHON}", "-c", "import synapse.app.homeserver"], check=True, cwd="/")


if __name__ == "__main__":
    {"era": era, "release": release, "check": check, "lock": lock}[sys.argv[1]]()
