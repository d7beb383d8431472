#!/usr/bin/env python3
"""Starts Sydent on port 8090 with a configuration for tests.

Environment: SYDENT_SERVER_NAME (default: the host name), SYDENT_SMTP (host:port, default `mail:25`). Whatever
/etc/sydent.conf says overrides it, in Sydent's own form. The database and the configuration in force are in /data.
"""

import os
import runpy
import socket
from configparser import RawConfigParser
from pathlib import Path

data = Path("/data")
data.mkdir(exist_ok=True)
name = os.environ.get("SYDENT_SERVER_NAME") or socket.gethostname()
host, _, port = os.environ.get("SYDENT_SMTP", "mail:25").partition(":")

# Not ConfigParser: the mail subjects of Sydent are templates with `%` in them.
config = RawConfigParser()
config.read_dict(
    {
        "general": {
            "server.name": name,
            "pidfile.path": "/run/sydent.pid",
            "templates.path": "/templates",
            "brand.default": "plain",
            # All that it talks to is on a private network.
            "ip.whitelist": "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,127.0.0.0/8",
        },
        "db": {"db.file": "/data/sydent.db"},
        "http": {
            "clientapi.http.bind_address": "0.0.0.0",
            "clientapi.http.port": "8090",
            "client_http_base": f"http://{name}:8090",
            "federation.verifycerts": "False",
        },
        "email": {
            "email.from": f"Sydent <noreply@{name}>",
            "email.smtphost": host,
            "email.smtpport": port or "25",
            "email.hostname": name,
            # Otherwise one sender has five mails, and one more every five minutes.
            "email.ratelimit_sender.burst": "1000",
        },
    }
)
path = data / "sydent.conf"
# The signing key that an earlier start wrote is kept; a file of the operator's has the last word.
config.read([path, "/etc/sydent.conf"])
with path.open("w") as file:
    config.write(file)
os.environ["SYDENT_CONF"] = str(path)
runpy.run_module("sydent.sydent", run_name="__main__")
