#!/usr/bin/env python3
"""Turns /etc/idp/config.json into LemonLDAP::NG's configuration. The file, all of it optional:

    {
      "portal": "http://idp.test",            where browsers find this service; default: http:// and the host name
      "oidc": [{"client_id": "synapse", "client_secret": "secret",
                "redirect_uris": ["http://localhost:8008/_synapse/client/oidc/callback"],
                "claims": {"email": "mail"},   more claims, by the users' attributes; name, email, preferred_username: there
                "logout_uri": "…",             back-channel logout
                "options": {}}],               LemonLDAP::NG's oidcRPMetaDataOptions, as they are
      "saml": [{"metadata": "<EntityDescriptor …", "options": {}}],   a service provider's metadata
      "options": {}                           any of LemonLDAP::NG's settings, as they are
    }

CAS needs no configuration. Users are `dwho`, `rtyler` and `msmith`, each with the name as password and attributes uid,
cn and mail. A login is one form POST: user=dwho&password=dwho, to the address that the login page was found at, with
the hidden fields of that page.

OIDC: issuer PORTAL with a slash at its end, discovery at PORTAL/.well-known/openid-configuration. SAML: PORTAL/saml/metadata. CAS: PORTAL/cas.
"""

import json
import socket
from pathlib import Path

KEYS = Path("/etc/idp/keys")
TARGET = Path("/var/lib/lemonldap-ng/conf/lmConf-1.json")


def settings(given):
    portal = given.get("portal", f"http://{socket.gethostname()}").rstrip("/") + "/"
    host = portal.split("//")[1].split("/")[0].split(":")[0]
    key, certificate = (KEYS / "key.pem").read_text(), (KEYS / "cert.pem").read_text()
    relying_parties = {f"rp{number}": party for number, party in enumerate(given.get("oidc", []))}
    service_providers = {f"sp{number}": provider for number, provider in enumerate(given.get("saml", []))}
    return {
        "cfgNum": 1,
        "cfgVersion": "2.16.1",
        "cfgAuthor": "configure.py",
        "cfgDate": "1",
        "key": "a secret that guards nothing",
        "portal": portal,
        "domain": host,
        "cookieName": "lemonldap",
        "securedCookie": 0,
        "requireToken": 0,
        "trustedDomains": "*",
        "authentication": "Demo",
        "userDB": "Same",
        "passwordDB": "Demo",
        "demoExportedVars": {"cn": "cn", "mail": "mail", "uid": "uid"},
        "exportedVars": {},
        "macros": {"_whatToTrace": "$_auth eq 'SAML' ? lc($_user.'@'.$_idpConfKey) : lc($_user)"},
        "whatToTrace": "_whatToTrace",
        "groups": {},
        "locationRules": {},
        "exportedHeaders": {},
        "applicationList": {},
        "globalStorage": "Apache::Session::File",
        "globalStorageOptions": {
            "Directory": "/var/lib/lemonldap-ng/sessions",
            "LockDirectory": "/var/lib/lemonldap-ng/sessions/lock",
            "generateModule": "Lemonldap::NG::Common::Apache::Session::Generate::SHA256",
        },
        "persistentStorage": "Apache::Session::File",
        "persistentStorageOptions": {
            "Directory": "/var/lib/lemonldap-ng/psessions",
            "LockDirectory": "/var/lib/lemonldap-ng/psessions/lock",
        },
        "localSessionStorage": "Cache::FileCache",
        "localSessionStorageOptions": {
            "cache_root": "/var/lib/lemonldap-ng/cache",
            "cache_depth": 3,
            "default_expires_in": 600,
            "directory_umask": "007",
            "namespace": "lemonldap-ng-sessions",
        },
        "issuerDBOpenIDConnectActivation": 1,
        "issuerDBOpenIDConnectPath": "^/oauth2/",
        "issuerDBOpenIDConnectRule": 1,
        "oidcServiceMetaDataIssuer": portal,
        "oidcServicePrivateKeySig": key,
        "oidcServicePublicKeySig": certificate,
        "oidcServiceKeyIdSig": "idp",
        "oidcServiceAllowAuthorizationCodeFlow": 1,
        "oidcRPMetaDataOptions": {name: party_options(party) for name, party in relying_parties.items()},
        "oidcRPMetaDataExportedVars": {
            name: {"name": "cn", "email": "mail", "preferred_username": "uid", **party.get("claims", {})}
            for name, party in relying_parties.items()
        },
        "oidcRPMetaDataOptionsExtraClaims": {name: extra_claims(party) for name, party in relying_parties.items()},
        "issuerDBSAMLActivation": 1,
        "issuerDBSAMLPath": "^/saml/",
        "issuerDBSAMLRule": 1,
        "samlServicePrivateKeySig": key,
        "samlServicePublicKeySig": certificate,
        "samlServiceSignatureMethod": "RSA_SHA256",
        "samlIDPSSODescriptorWantAuthnRequestsSigned": 0,
        "samlSPMetaDataXML": {
            name: {"samlSPMetaDataXML": provider["metadata"]} for name, provider in service_providers.items()
        },
        "samlSPMetaDataExportedAttributes": {
            name: {
                attribute: f"1;{attribute};urn:oasis:names:tc:SAML:2.0:attrname-format:basic;{attribute}"
                for attribute in ("uid", "cn", "mail")
            }
            for name in service_providers
        },
        "samlSPMetaDataOptions": {
            name: {
                "samlSPMetaDataOptionsCheckSLOMessageSignature": 0,
                "samlSPMetaDataOptionsCheckSSOMessageSignature": 0,
                "samlSPMetaDataOptionsSignSSOMessage": 1,
                "samlSPMetaDataOptionsSignSLOMessage": 1,
                **provider.get("options", {}),
            }
            for name, provider in service_providers.items()
        },
        "issuerDBCASActivation": 1,
        "issuerDBCASPath": "^/cas/",
        "issuerDBCASRule": 1,
        "casAccessControlPolicy": "none",
        "casAttr": "uid",
        "casAttributes": {"cn": "cn", "mail": "mail", "uid": "uid"},
        **given.get("options", {}),
    }


def party_options(party):
    options = {
        "ClientID": party["client_id"],
        "ClientSecret": party.get("client_secret", ""),
        "RedirectUris": " ".join(party.get("redirect_uris", [])),
        "IDTokenSignAlg": "RS256",
        "IDTokenForceClaims": 1,
        "BypassConsent": 1,
        "AllowOffline": 1,
        # Without a secret, the client is a public one.
        "Public": int("client_secret" not in party),
    }
    if "logout_uri" in party:
        options.update(LogoutUrl=party["logout_uri"], LogoutType="back", LogoutSessionRequired=1)
    named = {f"oidcRPMetaDataOptions{name}": value for name, value in options.items()}
    return {**named, **party.get("options", {})}


def extra_claims(party):
    """Claims that no standard scope holds come with the scope `profile`, next to its own."""
    own = "name family_name given_name middle_name nickname preferred_username profile picture website gender birthdate"
    return {"profile": f"{own} zoneinfo locale updated_at {' '.join(party['claims'])}"} if party.get("claims") else {}


path = Path("/etc/idp/config.json")
TARGET.write_text(json.dumps(settings(json.loads(path.read_text()) if path.exists() else {}), indent=1))
