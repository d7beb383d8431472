#!/usr/bin/env python
"""Entry point with the contract of the official image: `run [arguments…]` (the default) or `generate`."""

import glob
import os
import sys


def main(arguments, environ):
    mode = arguments[0] if arguments else "run"
    directory = environ.get("SYNAPSE_CONFIG_DIR", "/data")
    config = environ.get("SYNAPSE_CONFIG_PATH", directory + "/homeserver.yaml")
    if mode == "run":
        command = run(config, arguments[1:], environ)
    elif mode == "generate":
        command = generate(config, directory, environ)
    else:
        # `migrate_config` filled templates from variables that nobody has set since 2019.
        sys.exit("Unknown mode `%s`: this image knows `run` and `generate`." % mode)

    for library in glob.glob("/usr/lib/*/libjemalloc.so.2"):
        environ["LD_PRELOAD"] = library
    if os.getuid() == 0:
        owner = "%s:%s" % (environ.get("UID", "991"), environ.get("GID", "991"))
        if mode == "generate":
            os.system("chown %s %s %s" % (owner, directory, environ.get("SYNAPSE_DATA_DIR", "/data")))
        if owner != "0:0":
            command = ["gosu", owner] + command
    os.execvpe(command[0], command, environ)


# Synapse's own default logs to a file.
LOG_TO_OUTPUT = """version: 1
formatters:
  precise:
    format: '%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(message)s'
handlers:
  console:
    class: logging.StreamHandler
    formatter: precise
root:
  level: INFO
  handlers: [console]
disable_existing_loggers: false
"""


def run(config, extra, environ):
    if "--config-path" not in " ".join(extra) and "-c" not in extra:
        if not os.path.exists(config):
            sys.exit("There is no configuration at %s: make one with `generate`." % config)
        extra = ["--config-path", config] + extra
    return [sys.executable, "-m", environ.get("SYNAPSE_WORKER", "synapse.app.homeserver")] + extra


def generate(config, directory, environ):
    missing = [name for name in ("SYNAPSE_SERVER_NAME", "SYNAPSE_REPORT_STATS") if name not in environ]
    if missing:
        sys.exit("`generate` needs %s in the environment." % " and ".join(missing))
    log = "%s/%s.log.config" % (directory, environ["SYNAPSE_SERVER_NAME"])
    if not os.path.exists(log):
        with open(log, "w") as file:
            file.write(LOG_TO_OUTPUT)
    return [
        sys.executable, "-m", "synapse.app.homeserver", "--generate-config",
        "--server-name", environ["SYNAPSE_SERVER_NAME"],
        "--report-stats", environ["SYNAPSE_REPORT_STATS"],
        "--config-path", config,
        "--config-directory", directory,
        "--data-directory", environ.get("SYNAPSE_DATA_DIR", "/data"),
        "--open-private-ports",
    ]  # fmt: skip


main(sys.argv[1:], os.environ)
