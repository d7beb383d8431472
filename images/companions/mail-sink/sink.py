#!/usr/bin/env python3
"""A mail sink.

SMTP on port 25 (STARTTLS is not offered; any login is accepted). HTTP on port 8080:

    GET    /messages  the messages so far, oldest first
    DELETE /messages  forget them

A message is {"from", "to", "subject", "headers", "text", "html", "raw"}: `to` are the envelope's recipients, `text` and
`html` the decoded parts or null.
"""

import json
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

messages = []


class Sink:
    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.content, policy=policy.default)

        def part(kind):
            body = mail.get_body(preferencelist=(kind,))
            return body and body.get_content().replace("\r\n", "\n")

        messages.append(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "subject": mail["subject"] and str(mail["subject"]),
                "headers": [[name, str(value)] for name, value in mail.items()],
                "text": part("plain"),
                "html": part("html"),
                "raw": envelope.content.decode("utf-8", "replace"),
            }
        )
        print(f"mail for {', '.join(envelope.rcpt_tos)}: {mail['subject']}")
        return "250 OK"


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, content=None):
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/messages":
            self.answer(200, messages)
        else:
            self.answer(404, {"error": "GET or DELETE /messages"})

    def do_DELETE(self):
        if self.path == "/messages":
            messages.clear()
            self.answer(200, [])
        else:
            self.answer(404, {"error": "GET or DELETE /messages"})

    def log_message(self, *_):
        pass


class Server(Controller):
    def factory(self):
        accept = lambda *_: AuthResult(success=True)  # noqa: E731
        return SMTP(self.handler, authenticator=accept, auth_require_tls=False, enable_SMTPUTF8=True)


Server(Sink(), hostname="0.0.0.0", port=25).start()
print("ready")
ThreadingHTTPServer(("0.0.0.0", 8080), Api).serve_forever()
