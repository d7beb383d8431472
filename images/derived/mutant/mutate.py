#!/usr/bin/env python
"""Patches the Synapse that is installed here: `mutate.py PATCHES`, a JSON list of {"file", "find", "replace"}.

With both, the file has the one exactly once, and then the other; without `find` the file is new, without `replace` the
text found goes, with neither the file. Whatever does not fit ends this with what was expected. Python 2 reads it too.
"""

import compileall
import io
import json
import os
import sys

import synapse


def main(patches):
    package = os.path.dirname(synapse.__file__)
    with io.open(patches, encoding="utf-8") as file:
        patches = json.load(file)
    for patch in patches:
        path = os.path.join(package, patch["file"])
        if not os.path.realpath(path).startswith(os.path.realpath(package) + os.sep):
            sys.exit("%s is not inside the package" % patch["file"])
        try:
            apply(path, patch.get("find"), patch.get("replace"))
        except ValueError as error:
            sys.exit("%s %s" % (patch["file"], error))


def apply(path, find, replace):
    there = os.path.exists(path)
    if find is None and replace is not None and there:
        raise ValueError("is there already: what is to be found in it?")
    if not there and (find is not None or replace is None):
        raise ValueError("is not there")
    if find is None and replace is None:
        os.unlink(path)
        return forget(path)
    text = replace
    if find is not None:
        with io.open(path, encoding="utf-8", newline="") as file:
            old = file.read()
        if old.count(find) != 1:
            raise ValueError("has this %d times, not once:\n%s" % (old.count(find), find))
        text = old.replace(find, replace or "")
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with io.open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    forget(path)
    # The user that Synapse runs as cannot keep what it compiles.
    if path.endswith(".py") and not compileall.compile_file(path, force=True, quiet=1):
        raise ValueError("does not compile once patched")


def forget(path):
    """Compiled files are taken unchecked: none of an older text may stay."""
    name = os.path.basename(path)[: -len(".py")]
    cache = os.path.join(os.path.dirname(path), "__pycache__")
    places = [path + "c"]
    if os.path.isdir(cache):
        places += [os.path.join(cache, old) for old in os.listdir(cache) if old.split(".")[0] == name]
    for old in places:
        if path.endswith(".py") and os.path.exists(old):
            os.unlink(old)


main(sys.argv[1])
