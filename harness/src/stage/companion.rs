//! Companions: services next to the homeserver, started before it and kept for the whole walk.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use images::Companion;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    scenario::deployment::CompanionSpec,
    stage::container::{Container, Spec},
    stage::homeserver::Site,
};

/// How long one may take to come up, on a machine that is busy with other starts and images.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(300);

/// A companion that needs no configuration.
pub fn plain(kind: Companion) -> CompanionSpec {
    CompanionSpec { kind, environment: BTreeMap::new(), files: BTreeMap::new() }
}

/// A mail sink that the homeserver is not told of; [`Scenario::mail`](crate::Scenario::mail) does both.
pub fn mail_sink() -> CompanionSpec {
    plain(Companion::MailSink)
}

/// An identity provider for OpenID Connect, SAML and CAS, with users `dwho` and `rtyler` whose passwords are their
/// names. `config` says who may use it: `{"oidc": [{"client_id", "client_secret", "redirect_uris"}], "saml":
/// [{"metadata"}]}`.
pub fn identity_provider(config: &Value) -> CompanionSpec {
    CompanionSpec {
        files: [("/etc/idp/config.json".to_owned(), config.to_string())].into(),
        ..plain(Companion::IdentityProvider)
    }
}

/// Sydent, a real identity server, on port 8090 without TLS; it sends its mails to the host `mail`.
pub fn identity_server() -> CompanionSpec {
    plain(Companion::Sydent)
}

/// A stand-in for a small service: records what it is asked, answers by a script.
pub fn recorder() -> CompanionSpec {
    plain(Companion::Recorder)
}

/// An application service on port 8080, as careful as a real one: it takes transactions from whoever has `hs_token`, in
/// the header or in the query, and refuses others, also where the header is wrong beside a query that is right; it
/// knows no user and no alias. What it was sent is [`Recorder::transactions`](crate::client::Recorder::transactions),
/// and a script makes it late or out of order (`[{"path": ".*/transactions/.*", "status": 502}]`) until another, `[]`,
/// lets it come back.
pub fn application_service(hs_token: &str) -> CompanionSpec {
    let bearer = format!("Bearer {}", regex::escape(hs_token));
    let another = json!({ "authorization": format!("(?!{bearer}$).+") });
    let header = json!({ "authorization": bearer });
    let query = format!("(^|&)access_token={}(&|$)", regex::escape(hs_token));
    let unknown = json!({ "errcode": "M_NOT_FOUND", "error": "nobody here is called that" });
    let stranger = json!({ "errcode": "M_FORBIDDEN", "error": "this is not the homeserver's token" });
    let transactions = "(/_matrix/app/v1)?/transactions/.*";
    let manners = json!([
        { "path": ".*", "header": another, "status": 403, "json": stranger },
        { "path": transactions, "header": header, "json": {} },
        { "path": transactions, "query": query, "json": {} },
        { "path": "(/_matrix/app/v1)?/ping|/_matrix/app/.*/ping", "header": header, "json": {} },
        { "path": ".*", "header": header, "status": 404, "json": unknown },
        { "path": ".*", "query": query, "status": 404, "json": unknown },
        { "path": ".*", "status": 403, "json": stranger },
    ]);
    CompanionSpec { files: [("/etc/recorder/manners.json".to_owned(), manners.to_string())].into(), ..recorder() }
}

/// A stand-in for the Matrix Authentication Service, on port 8080: no registry has the real one. It speaks its protocol with
/// the homeserver (discovery, introspection of tokens), to the shared secret `secret` and to a client `synapse` with
/// the secret `secret`; sessions are begun by [`Live::authentication_service`](crate::Live::authentication_service).
pub fn authentication_service() -> CompanionSpec {
    plain(Companion::AuthenticationService)
}

/// An S3 object store on port 9000 that holds these buckets; any key opens them. `GET
/// /bucket/key?Signature=any` shows what is there; without some signature it is refused.
pub fn object_store(buckets: &[&str]) -> CompanionSpec {
    CompanionSpec {
        environment: [("S3_BUCKETS".to_owned(), buckets.join(","))].into(),
        ..plain(Companion::ObjectStore)
    }
}

/// A forward proxy on port 8888, which lets anybody go anywhere in the deployment.
pub fn forward_proxy() -> CompanionSpec {
    plain(Companion::ForwardProxy)
}

/// Names that nobody has are asked for where homeservers look for each other; without it they wait for an answer.
pub(crate) fn name_server() -> CompanionSpec {
    plain(Companion::NameServer)
}

pub(crate) fn redis() -> CompanionSpec {
    plain(Companion::Redis)
}

/// Ports that are published to the harness.
fn ports(kind: Companion) -> &'static [u16] {
    match kind {
        Companion::Postgres(_) => &[5432],
        Companion::Redis => &[6379],
        Companion::Nginx | Companion::IdentityProvider => &[80],
        Companion::MailSink => &[8080],
        Companion::ForwardProxy => &[8888],
        Companion::Recorder | Companion::AuthenticationService => &[8080, 8443],
        Companion::Sydent => &[8090],
        Companion::ObjectStore => &[9000],
        Companion::NameServer => &[],
    }
}

/// A companion that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) spec: CompanionSpec,
    pub(crate) container: Container,
    /// `host:port` to loopback address.
    pub(crate) addresses: BTreeMap<String, String>,
}

/// Starts a companion and waits until it can be used.
pub(crate) async fn start(
    site: &Site,
    image: &str,
    host: &str,
    spec: &CompanionSpec,
    evidence: &Path,
) -> anyhow::Result<Running> {
    let mut copies = Vec::new();
    for (index, (path, content)) in spec.files.iter().enumerate() {
        let path = Path::new(path);
        let directory = evidence.join(format!("{host}-{index}"));
        let name = path.file_name().context("a companion's file has a name")?;
        fs::create_dir_all(&directory).and_then(|()| fs::write(directory.join(name), content))?;
        copies.push((directory, path.parent().unwrap_or(Path::new("/")).display().to_string()));
    }
    let container = Spec {
        image: image.to_owned(),
        role: host.to_owned(),
        host: host.to_owned(),
        name: format!("{}-{host}", site.prefix),
        network: Some(site.network.clone()),
        environment: spec.environment.clone(),
        copies,
        ports: ports(spec.kind).to_vec(),
        ..Spec::default()
    };
    let container = Container::start(&site.daemon, container, evidence).await?;
    let mut addresses = BTreeMap::new();
    for port in ports(spec.kind) {
        addresses.insert(format!("{host}:{port}"), container.address(*port)?);
    }
    let says = match spec.kind {
        Companion::Redis => Some("eady to accept connections"),
        Companion::NameServer => Some("started, version"),
        _ => None,
    };
    match says {
        Some(line) if container.log.wait_for(line, START_LIMIT).await => {}
        Some(_) => bail!("`{host}` did not come up:\n{}", container.log.text()),
        None => await_http(&container, ports(spec.kind)[0], &site.http).await?,
    }
    Ok(Running { spec: spec.clone(), container, addresses })
}

/// Waits until a port gives an HTTP answer: Docker opens it long before the program does. A web server that is quicker than the
/// program behind it says that there is none (502): that is no answer yet.
pub(crate) async fn await_http(container: &Container, port: u16, http: &reqwest::Client) -> anyhow::Result<()> {
    let begun = Instant::now();
    let url = format!("http://{}/", container.address(port)?);
    loop {
        let answer = http.get(&url).timeout(Duration::from_secs(30)).send().await;
        if answer.is_ok_and(|answer| answer.status() != StatusCode::BAD_GATEWAY) {
            return Ok(());
        }
        if let Some(status) = container.exit_status().await? {
            bail!("`{}` ended with status {status}:\n{}", container.role, container.log.text());
        }
        if begun.elapsed() > START_LIMIT {
            bail!("`{}` did not answer within {} s:\n{}", container.role, START_LIMIT.as_secs(), container.log.text());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
