#!/usr/bin/env python3
"""Stands in for any HTTP service: records every request and answers by a script.

HTTP on port 8080 and HTTPS on port 8443 (other ports: RECORDER_HTTP_PORTS, RECORDER_HTTPS_PORTS, comma-separated). Under
/_recorder/ (never recorded):

    GET    /_recorder/requests     the requests so far, oldest first: {"method", "path", "query", "headers", "body",
                                   "json", "base64", "host", "tls", "answered"}; `body` is null where it is not UTF-8,
                                   `json` where it is not JSON; `query` a list of pairs; `tls` the name asked for (SNI),
                                   "" without one, null on plain HTTP; `answered` the status of our answer
    DELETE /_recorder/requests     forget them
    PUT    /_recorder/script       a list of rules; the first that fits answers:
                                   {"method"?, "path"?: regex for the whole path, "query"?: regex searched in the query,
                                    "body"?: regex searched in the body, "header"?: {name: regex for the whole value},
                                    "times"?: answers only so often, "status"?: 200, "headers"?: {}, "json"? | "text"? |
                                    "base64"?, "delay"?: seconds, "close"?: true to drop the connection instead}
    GET    /_recorder/script       what is left of it
    GET    /_recorder/connections  {"https": n, "tls_ok": n, "tls_failed": [reasons]}: accepted connections for HTTPS, and
                                   how their TLS handshakes went
    DELETE /_recorder/connections  count anew
    GET    /_recorder/ca.pem       the certificate to trust

What no rule fits is answered by the first that does of the rules in /etc/recorder/manners.json, if there is such a file:
how the service behaves unless a script says otherwise. The rest gets 200 and {}; RECORDER_DEFAULT_STATUS changes the status.

The certificate is made at start for the names in RECORDER_NAMES (comma-separated host names and addresses; default: the
container's host name and localhost). RECORDER_CERTIFICATE: `chain` (default: signed by a certificate authority made for
it), `self-signed`, or `expired`. Where /_recorder's CA must be the same as another recorder's, mount one directory at
/tls into both: an authority found there (ca.pem, ca.key) is used, one that is missing is put there.
"""

import base64
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

TLS = Path("/tls")
MANNERS = Path("/etc/recorder/manners.json")
CERTIFICATE = Path("/run/recorder")
lock = threading.Lock()
requests, script, manners = [], [], []
connections = {"https": 0, "tls_ok": 0, "tls_failed": []}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = self.read_chunks()
        else:
            body = self.rfile.read(length)
        address = urlsplit(self.path)
        if address.path.startswith("/_recorder/"):
            return self.control(address.path, body)
        rule = self.rule_for(address, body) or self.otherwise(address, body)
        status = rule.get("status", int(os.environ.get("RECORDER_DEFAULT_STATUS", 200)))
        seen = {
            "method": self.command,
            "path": address.path,
            "query": [list(pair) for pair in parse_qsl(address.query, keep_blank_values=True)],
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": text_of(body),
            "json": json_of(body),
            "base64": base64.b64encode(body).decode(),
            "host": self.headers.get("Host"),
            "tls": getattr(self.connection, "asked_for", None),
            "answered": None if rule.get("close") else status,
        }
        with lock:
            requests.append(seen)
        print(self.command, self.path, seen["answered"])
        time.sleep(rule.get("delay", 0))
        if rule.get("close"):
            self.close_connection = True
            return None
        if "base64" in rule:
            content, kind = base64.b64decode(rule["base64"]), "application/octet-stream"
        elif "text" in rule:
            content, kind = rule["text"].encode(), "text/plain; charset=utf-8"
        else:
            content, kind = json.dumps(rule.get("json", {})).encode(), "application/json"
        return self.answer(status, content, {"Content-Type": kind, **rule.get("headers", {})})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_CONNECT = handle_any

    def read_chunks(self):
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def rule_for(self, address, body):
        with lock:
            for rule in [*script, *manners]:
                if rule.get("times", 1) > 0 and self.fits(rule, address, body):
                    if "times" in rule:
                        rule["times"] -= 1
                    return dict(rule)

    def fits(self, rule, address, body):
        return (
            rule.get("method", self.command) == self.command
            and re.fullmatch(rule.get("path", ".*"), address.path)
            and re.search(rule.get("query", ""), address.query)
            and re.search(rule.get("body", "").encode(), body)
            and all(re.fullmatch(value, self.headers.get(name, "")) for name, value in rule.get("header", {}).items())
        )

    def otherwise(self, address, body):
        """The answer where no rule fits, for a stand-in that knows more than rules."""
        return {}

    def control(self, path, body):
        name = path.removeprefix("/_recorder/")
        with lock:
            if self.command == "DELETE" and name == "requests":
                requests.clear()
            elif self.command == "DELETE" and name == "connections":
                connections.update(https=0, tls_ok=0, tls_failed=[])
            elif self.command == "PUT" and name == "script":
                try:
                    rules = read_rules(body)
                except (ValueError, AttributeError, re.error) as error:
                    return self.answer(400, json.dumps({"error": str(error)}).encode())
                script[:] = rules
            elif self.command == "GET" and name == "ca.pem":
                content = authority().read_bytes()
                return self.answer(200, content, {"Content-Type": "application/x-pem-file"})
            elif self.command != "GET" or name not in ("requests", "script", "connections"):
                return self.answer(404, json.dumps({"error": f"{self.command} {path} means nothing here"}).encode())
            state = {"requests": requests, "script": script, "connections": connections}
            content = json.dumps(state[name]).encode()
        return self.answer(200, content)

    def answer(self, status, content, headers=None):
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET
    request_queue_size = 128
    daemon_threads = True
    tls = None

    def process_request_thread(self, request, client_address):
        # In the connection's own thread, so that a client which never says hello holds up nobody.
        if self.tls:
            with lock:
                connections["https"] += 1
            try:
                request.settimeout(30)
                request = self.tls.wrap_socket(request, server_side=True)
                request.settimeout(None)
            except OSError as error:
                with lock:
                    connections["tls_failed"].append(getattr(error, "reason", None) or str(error))
                return self.shutdown_request(request)
            with lock:
                connections["tls_ok"] += 1
        return super().process_request_thread(request, client_address)

    def handle_error(self, request, client_address):
        # A client that goes away is nothing to report.
        pass


class Connection(ssl.SSLSocket):
    asked_for = ""


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.sslsocket_class = Connection
    made.load_cert_chain(CERTIFICATE / "cert.pem", CERTIFICATE / "key.pem")

    def remember(connection, name, _):
        connection.asked_for = name or ""

    made.sni_callback = remember
    return made


def read_rules(text):
    rules = json.loads(text)
    for rule in rules:
        for pattern in [rule.get("path", ""), rule.get("query", ""), rule.get("body", ""), *rule.get("header", {}).values()]:
            re.compile(pattern)
    return rules


def text_of(body):
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def json_of(body):
    try:
        return json.loads(body)
    except ValueError:
        return None


def openssl(*arguments, **options):
    subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.PIPE, **options)


def kind():
    return os.environ.get("RECORDER_CERTIFICATE", "chain")


def authority():
    return CERTIFICATE / "cert.pem" if kind() == "self-signed" else TLS / "ca.pem"


def make_certificate():
    CERTIFICATE.mkdir(parents=True, exist_ok=True)
    TLS.mkdir(parents=True, exist_ok=True)
    names = os.environ.get("RECORDER_NAMES") or f"{socket.gethostname()},localhost,127.0.0.1"
    address = re.compile(r"[\d.]+|.*:.*")
    names = [("IP:" if address.fullmatch(name) else "DNS:") + name for name in names.split(",")]
    key, request, signed = (CERTIFICATE / name for name in ("key.pem", "request.pem", "cert.pem"))
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    wanted = f"subjectAltName={','.join(names)}"
    if kind() == "self-signed":
        openssl("req", "-x509", *new_key, "-keyout", key, "-out", signed, "-days", "3650", "-subj", "/CN=recorder",
                "-addext", wanted)  # fmt: skip
        return
    if not (TLS / "ca.pem").exists():
        openssl("req", "-x509", *new_key, "-keyout", TLS / "ca.key", "-out", TLS / "ca.pem", "-days", "3650",
                "-subj", "/CN=recorder's authority")  # fmt: skip
    openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=recorder")
    # Openssl takes no end in the past but by the date.
    days = ["-days", "-1"] if kind() == "expired" else ["-days", "3650"]
    extensions = CERTIFICATE / "extensions"
    extensions.write_text(f"{wanted}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("x509", "-req", "-in", request, "-CA", TLS / "ca.pem", "-CAkey", TLS / "ca.key", "-CAcreateserial",
            "-out", signed, "-extfile", extensions, *days)  # fmt: skip


def ports(name, default):
    return [int(port) for port in os.environ.get(name, default).split(",") if port]


def serve(handler):
    if MANNERS.exists():
        manners[:] = read_rules(MANNERS.read_text())
    make_certificate()
    servers = [Server(("0.0.0.0", port), handler) for port in ports("RECORDER_HTTP_PORTS", "8080")]
    for port in ports("RECORDER_HTTPS_PORTS", "8443"):
        servers.append(Server(("0.0.0.0", port), handler))
        servers[-1].tls = context()
    for server in servers:
        threading.Thread(target=server.serve_forever).start()
    print("ready")


if __name__ == "__main__":
    serve(Handler)
