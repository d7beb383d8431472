#!/usr/bin/env python3
"""Stands in for the Matrix Authentication Service, as far as a homeserver talks to it.

    GET  /.well-known/openid-configuration   discovery, with the claims of the real one
    POST /oauth2/introspect                  for the homeserver's shared secret (MAS_SECRET, as a bearer token) or a client
                                             (MAS_CLIENT_ID, MAS_CLIENT_SECRET; in the body or by HTTP Basic); whoever is
                                             neither gets 401
    GET  /account/                           account management
    GET  /oauth2/keys.json                   keys

Sessions are begun and ended under /_mas/ (never recorded), which the real one does for a person at its pages:

    POST   /_mas/sessions                    {"username", "device_id"?, "admin"?: false, "compat"?: false, "expires_in"?:
                                             300} gives {"access_token", "sub"}; a `compat` one is what the old login gives:
                                             it does not expire
    DELETE /_mas/sessions/TOKEN              ends it

The issuer is MAS_ISSUER (default: http, the host name, port 8080). All else is as in recorder.py, whose script goes before what
is answered here: `[{"path": "/oauth2/introspect", "status": 503}]` is an outage.
"""

import base64
import json
import os
import secrets
import socket
import time
from urllib.parse import parse_qs, unquote

import recorder

API = "urn:matrix:org.matrix.msc2967.client:api:*"
DEVICE = "urn:matrix:org.matrix.msc2967.client:device:"
ADMIN = "urn:synapse:admin:*"
ISSUER = os.environ.get("MAS_ISSUER", f"http://{socket.gethostname()}:8080/").rstrip("/") + "/"
SECRET = os.environ.get("MAS_SECRET", "secret")
CLIENT = (os.environ.get("MAS_CLIENT_ID", "synapse"), os.environ.get("MAS_CLIENT_SECRET", "secret"))

sessions, subjects = {}, {}


class Handler(recorder.Handler):
    def handle_any(self):
        if not self.path.startswith("/_mas/"):
            return super().handle_any()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.session(body)
        return self.answer(status, json.dumps(answer).encode())

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = handle_any

    def session(self, body):
        name = unquote(self.path.removeprefix("/_mas/"))
        if self.command == "POST" and name == "sessions":
            asked = json.loads(body)
            with recorder.lock:
                subject = subjects.setdefault(asked["username"], identifier())
                token = ("mct_" if asked.get("compat") else "mat_") + secrets.token_urlsafe(24)
                sessions[token] = {**asked, "sub": subject, "client_id": identifier(), "begun": int(time.time())}
            return 200, {"access_token": token, "sub": subject}
        if self.command == "DELETE" and name.startswith("sessions/"):
            with recorder.lock:
                ended = sessions.pop(name.removeprefix("sessions/"), None)
            return (200, {}) if ended else (404, {"error": "there is no such session"})
        return 404, {"error": f"{self.command} {self.path} means nothing here"}

    def otherwise(self, address, body):
        known = {
            ("GET", "/.well-known/openid-configuration"): lambda: {"json": discovery()},
            ("GET", "/oauth2/keys.json"): lambda: {"json": {"keys": []}},
            ("GET", "/account/"): lambda: {"text": "your account", "headers": {"Content-Type": "text/html"}},
            ("POST", "/oauth2/introspect"): lambda: self.introspect(parse_qs(body.decode())),
        }
        answer = known.get((self.command, address.path))
        return answer() if answer else {"status": 404, "json": {"error": "not_found"}}

    def introspect(self, form):
        if not self.may_introspect(form):
            return {"status": 401, "json": {"error": "invalid_client", "error_description": "Client authentication failed"}}
        with recorder.lock:
            session = sessions.get(form.get("token", [""])[0])
        explicit = self.headers.get("X-MAS-Supports-Device-Id") == "1"
        return {"json": claims(session, form["token"][0], explicit) if session else {"active": False}}

    def may_introspect(self, form):
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return given == SECRET
        if kind == "Basic":
            name, _, secret = base64.b64decode(given).decode().partition(":")
            return (unquote(name), unquote(secret)) == CLIENT
        return (form.get("client_id", [""])[0], form.get("client_secret", [""])[0]) == CLIENT


def claims(session, token, explicit):
    compat, device = session.get("compat"), session.get("device_id")
    scope = [API] if compat else ["openid", API]
    if device and not (compat and explicit):
        scope.append(DEVICE + device)
    if session.get("admin"):
        scope.append(ADMIN)
    found = {
        "active": True,
        "scope": " ".join(scope),
        "client_id": session["client_id"],
        "username": session["username"],
        "token_type": "access_token",
        "iat": session["begun"],
        "nbf": session["begun"],
        "sub": session["sub"],
        "jti": token[:12],
    }
    if compat:
        return {**found, "device_id": device} if device and explicit else found
    end = session["begun"] + session.get("expires_in", 300)
    left = end - int(time.time())
    return {**found, "exp": end, "expires_in": left} if left > 0 else {"active": False}


def discovery():
    return {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}authorize",
        "token_endpoint": f"{ISSUER}oauth2/token",
        "jwks_uri": f"{ISSUER}oauth2/keys.json",
        "registration_endpoint": f"{ISSUER}oauth2/registration",
        "scopes_supported": ["openid", "email"],
        "response_types_supported": ["code", "id_token", "code id_token"],
        "response_modes_supported": ["form_post", "query", "fragment"],
        "grant_types_supported": [
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint": f"{ISSUER}oauth2/revoke",
        "introspection_endpoint": f"{ISSUER}oauth2/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "userinfo_endpoint": f"{ISSUER}oauth2/userinfo",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "userinfo_signing_alg_values_supported": ["RS256"],
        "display_values_supported": ["page"],
        "claim_types_supported": ["normal"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "prompt_values_supported": ["none", "login", "create"],
        "device_authorization_endpoint": f"{ISSUER}oauth2/device",
        "account_management_uri": f"{ISSUER}account/",
        "account_management_actions_supported": [
            "org.matrix.profile",
            "org.matrix.sessions_list",
            "org.matrix.session_view",
            "org.matrix.session_end",
            "org.matrix.cross_signing_reset",
        ],
    }


def identifier():
    """A ULID, like the real one's."""
    return "".join(secrets.choice("0123456789ABCDEFGHJKMNPQRSTVWXYZ") for _ in range(26))


print("this is a stand-in for the Matrix Authentication Service, not the real one")
recorder.serve(Handler)
