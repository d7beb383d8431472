//! Synapse 0.99.0.

use harness::prelude::*;

notes!("0.99.0": self_signed_certificates);

/// Who serves TLS with a certificate that signs itself is warned, as other servers will not take it from 1.0 on. This release
/// itself goes on as before.
///
/// Upstream: PR 4509.
fn self_signed_certificates() -> Scenario {
    let warning = "UserWarning: Self-signed TLS certificates will not be accepted by Synapse 1.0. Please either provide a \
                   valid certificate, or use Synapse's ACME support to provision one.";
    let served = Probe::from(|hs: Live| async move {
        let program = "import ssl\ntry: print(ssl.get_server_certificate(('localhost', 8448)))\n\
                       except OSError as error: print(error)";
        let served = json!(hs.python(program).await?.trim());
        let mut files = Vec::new();
        for file in ["/data/self-signed.crt", "/data/tls.crt"] {
            let content = hs.read(file).await?;
            if content.as_str().is_some_and(|text| served == text.trim()) {
                files.push(file);
            }
        }
        Ok(json!(files))
    });
    Scenario::for_note("Upgrading to v0.99.0")
        .hop("0.34.1.1", "0.99.0")
        .file("self-signed.crt", CERTIFICATE)
        .file("self-signed.key", KEY)
        .config(json!({
            "no_tls": false,
            "tls_certificate_path": "/data/self-signed.crt",
            "tls_private_key_path": "/data/self-signed.key",
        }))
        .listener(json!({
            "port": 8448,
            "type": "http",
            "tls": true,
            "bind_addresses": ["0.0.0.0"],
            "x_forwarded": false,
            "resources": [{ "names": ["federation"], "compress": false }],
        }))
        .fact("what is logged of it", log_lines("Self-signed"))
        .changes(json!([]), json!([contains(warning)]))
        .fact("what is served on port 8448", served)
        .always(json!(["/data/self-signed.crt"]))
        .step("a certificate that an authority signed", |it| {
            it.reconfigure(json!({
                "tls_certificate_path": "/data/tls.crt",
                "tls_private_key_path": "/data/tls.key",
            }))
            .now("what is logged of it", json!([]))
            .now("what is served on port 8448", json!(["/data/tls.crt"]))
        })
}

/// For hs.test, until 2126.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBjjCCATWgAwIBAgIUXhx4LNrrqxJOwFumCoPhWJCJ1eAwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHaHMudGVzdDAgFw0yNjExMjQxNTQwMzNaGA8yMTI2MTAzMTE1
NDAzM1owEjEQMA4GA1UEAwwHaHMudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABPKot37RVCCXq9XkRrnyCQ64Ltu4EXihDMUMeQ9oP5a+6290gMHy3GCjS6vG
R/9kmzWcR8tlOwti9cIlKNDVuuWjZzBlMB0GA1UdDgQWBBQReEMhgfGpfhuUBiEK
f36P93Xh0TAfBgNVHSMEGDAWgBQReEMhgfGpfhuUBiEKf36P93Xh0TAPBgNVHRMB
Af8EBTADAQH/MBIGA1UdEQQLMAmCB2hzLnRlc3QwCgYIKoZIzj0EAwIDRwAwRAIg
Wu3GH4w8fSkvJfpyAxXcmNAsUxR5LxC/Ddf5gebODfYCIAXW0eX+Y6xS8KDxypNz
AOM4rYnwKb1a//JDFJKs/jii
-----END CERTIFICATE-----
";

/// Nothing but the certificate above depends on it.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZDle3zMeNYPjU5sH
+Q99AD+mWgUAeo7B26vxGmOj6qmhRANCAATyqLd+0VQgl6vV5Ea58gkOuC7buBF4
oQzFDHkPaD+WvutvdIDB8txgo0urxkf/ZJs1nEfLZTsLYvXCJSjQ1brl
-----END PRIVATE KEY-----
";
