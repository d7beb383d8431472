#!/usr/bin/env python
"""Makes the Synapse that is installed here report another version: `forge.py CODE_OF VERSION`.

Releases say what they are in `synapse.__version__`, in the metadata that pip left, or both.
"""

import compileall
import os
import re
import shutil
import sys

import synapse


def main(code_of, version):
    package = os.path.dirname(synapse.__file__)
    site = os.path.dirname(package)
    changed = replace(os.path.join(package, "__init__.py"), r'(__version__ = ")%s"' % re.escape(code_of), version + '"')
    if changed:
        # Compiled files are taken unchecked: the old one must go.
        compileall.compile_file(os.path.join(package, "__init__.py"), force=True, quiet=1)
    for name in os.listdir(site):
        if re.match(r"matrix_synapse-%s\.(dist|egg)-info$" % re.escape(code_of), name):
            directory = os.path.join(site, name)
            metadata = "METADATA" if name.endswith("dist-info") else "PKG-INFO"
            changed += replace(os.path.join(directory, metadata), r"(?m)^(Version: )%s$" % re.escape(code_of), version)
            # Not os.rename: a directory of a lower layer can only be copied.
            shutil.move(directory, os.path.join(site, name.replace(code_of, version)))
    if not changed:
        sys.exit("found nothing that says %s in %s" % (code_of, site))


def replace(path, pattern, version):
    with open(path) as file:
        text = file.read()
    new, count = re.subn(pattern, lambda match: match.group(1) + version, text)
    if count:
        with open(path, "w") as file:
            file.write(new)
    return count


main(*sys.argv[1:])
