//! Whatever an image comes from, it keeps the contract that the harness relies on. Needs Docker.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig, PortBinding},
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, LogsOptionsBuilder, PushImageOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptions, StartContainerOptions, TagImageOptionsBuilder,
    },
};
use futures::{StreamExt as _, TryStreamExt as _};
use images::{
    Companion, Error, Image, ImagesFrom, Of, Options, Override, Patch, Progress, Source, Store, Version, Wanted,
};

const RELEASE: &str = "1.53.0";

fn release() -> Version {
    RELEASE.parse().unwrap()
}

fn homeserver() -> Wanted {
    Wanted::Homeserver { version: release(), suite: None }
}

/// A store, and what it told.
async fn store(options: Options) -> (Store, Arc<Mutex<Vec<Progress>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = told.clone();
    let store = Store::open(options, move |progress| sink.lock().unwrap().push(progress)).await.unwrap();
    (store, told)
}

async fn built() -> Image {
    let (store, _) = store(Options { images_from: ImagesFrom::Build, ..Options::default() }).await;
    store.obtain(&homeserver()).await.unwrap()
}

async fn docker() -> Docker {
    Docker::connect_with_defaults().unwrap().negotiate_version().await.unwrap()
}

/// A container that is gone when the test ends well; what a failed one leaves can be looked at.
struct Container {
    docker: Docker,
    id: String,
}

impl Container {
    async fn run(image: &str, command: &[&str], environment: &[&str]) -> Self {
        let docker = docker().await;
        let any = BTreeMap::from([(
            "8008/tcp".to_owned(),
            Some(vec![PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some("0".to_owned()) }]),
        )]);
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
            env: Some(environment.iter().map(|&word| word.to_owned()).collect()),
            host_config: Some(HostConfig { port_bindings: Some(any.into_iter().collect()), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        Self::start(docker, body).await
    }

    async fn shell(image: &str, script: &str) -> String {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(["sh", "-euc", script].map(str::to_owned).to_vec()),
            ..ContainerCreateBody::default()
        };
        let container = Self::start(docker().await, body).await;
        let output = container.output().await;
        container.remove().await;
        output
    }

    async fn start(docker: Docker, body: ContainerCreateBody) -> Self {
        let id = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
        docker.start_container(&id, None::<StartContainerOptions>).await.unwrap();
        Self { docker, id }
    }

    /// Everything it prints until it ends.
    async fn output(&self) -> String {
        let options = LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).build();
        let parts: Vec<_> = self.docker.logs(&self.id, Some(options)).try_collect().await.unwrap();
        parts.iter().map(ToString::to_string).collect()
    }

    async fn port(&self) -> u16 {
        let details = self.docker.inspect_container(&self.id, None::<InspectContainerOptions>).await.unwrap();
        let ports = details.network_settings.unwrap().ports.unwrap();
        ports["8008/tcp"].as_ref().unwrap()[0].host_port.as_ref().unwrap().parse().unwrap()
    }

    async fn remove(self) {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        self.docker.remove_container(&self.id, Some(options)).await.unwrap();
    }
}

/// What the harness relies on, and what an operator of the official image would.
async fn keeps_the_contract(reference: &str) {
    let seen = Container::shell(
        reference,
        "python -c 'import synapse; print(synapse.__version__)'
         python3 -c 'import psycopg2, saml2, authlib, lxml, txredisapi; print(\"extras\")'
         test -d /data && test -x /start.py && xmlsec1 --version >/dev/null && echo tools
         command -v register_new_matrix_user synapse_port_db update_synapse_database >/dev/null && echo scripts",
    )
    .await;
    assert_eq!(seen, format!("{RELEASE}\nextras\ntools\nscripts\n"));

    // The way of the official image: make a configuration, and run it as an ordinary user.
    let environment = ["SYNAPSE_SERVER_NAME=contract.test", "SYNAPSE_REPORT_STATS=no"];
    let script = r#"/start.py generate
        python - <<'END'
import yaml
config = yaml.safe_load(open("/data/homeserver.yaml"))
for listener in config["listeners"]:
    listener["bind_addresses"] = ["0.0.0.0"]
config["trusted_key_servers"] = []
yaml.safe_dump(config, open("/data/homeserver.yaml", "w"))
END
        exec /start.py run"#;
    let docker = docker().await;
    let any = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some("0".to_owned()) };
    let body = ContainerCreateBody {
        image: Some(reference.to_owned()),
        entrypoint: Some(["sh", "-euc", script].map(str::to_owned).to_vec()),
        env: Some(environment.map(str::to_owned).to_vec()),
        host_config: Some(HostConfig {
            port_bindings: Some([("8008/tcp".to_owned(), Some(vec![any]))].into()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let server = Container::start(docker, body).await;
    let url = format!("http://127.0.0.1:{}/_matrix/client/versions", server.port().await);
    let limit = Instant::now() + Duration::from_secs(120);
    let answer = loop {
        match reqwest::get(&url).await {
            Ok(answer) if answer.status().is_success() => break answer.text().await.unwrap(),
            _ if Instant::now() > limit => panic!("no answer at {url}: {}", logs(&server).await),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    assert!(answer.contains("r0.6.1"), "{answer}");
    server.remove().await;

    // Without a configuration it says so, and does not wait.
    let empty = Container::run(reference, &["run"], &[]).await;
    let words = empty.output().await;
    assert!(words.contains("/data/homeserver.yaml"), "{words}");
    empty.remove().await;
}

async fn logs(container: &Container) -> String {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let mut parts = container.docker.logs(&container.id, Some(options));
    let mut text = String::new();
    while let Some(Ok(part)) = parts.next().await {
        text.push_str(&part.to_string());
    }
    text
}

#[tokio::test]
async fn an_image_that_was_built_keeps_the_contract() {
    keeps_the_contract(&built().await.reference).await;
}

#[tokio::test]
async fn what_was_built_is_present_from_then_on() {
    let image = built().await;
    let (store, told) = store(Options { images_from: ImagesFrom::Present, ..Options::default() }).await;
    let (first, second) = (homeserver(), homeserver());
    let (first, second) = tokio::join!(store.obtain(&first), store.obtain(&second));
    let first = first.unwrap();
    assert_eq!((first.source, &first.id), (Source::Present, &image.id));
    assert_eq!(first, second.unwrap());
    // Looked for once, however many ask.
    assert!(matches!(told.lock().unwrap().as_slice(), [Progress::Ready(_)]));
}

#[tokio::test]
async fn an_override_is_used_as_it_is() {
    let image = built().await;
    let overrides = vec![Override { of: Of::One(homeserver()), reference: image.id.clone() }];
    let (store, _) = store(Options { overrides, ..Options::default() }).await;
    let found = store.obtain(&homeserver()).await.unwrap();
    assert_eq!((found.source, &found.id), (Source::Override, &image.id));
    assert_eq!(found.reference, image.id);
}

#[tokio::test]
async fn an_override_that_is_not_there_is_an_error() {
    // The port that nobody listens on.
    let reference = "127.0.0.1:9/none/synapse:v1";
    let overrides = vec![Override { of: Of::One(homeserver()), reference: reference.to_owned() }];
    let (store, _) = store(Options { overrides, ..Options::default() }).await;
    let error = store.obtain(&homeserver()).await.unwrap_err();
    assert!(matches!(&*error, Error::Override { .. }), "{error}");
    assert!(error.to_string().contains(reference), "{error}");
}

#[tokio::test]
async fn an_unknown_release_is_an_error_that_says_what_to_do() {
    let (store, _) = store(Options::default()).await;
    let wanted = Wanted::Homeserver { version: "1.53.7".parse().unwrap(), suite: None };
    let error = store.obtain(&wanted).await.unwrap_err();
    insta::assert_snapshot!(
        error,
        @"Synapse 1.53.7 is not in the release table (nearest there: 1.53.0rc1, 1.53.0, 1.54.0rc1); if it was published lately, add it with `cargo run -p images -- refresh`"
    );
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_told_once_and_not_asked_again() {
    built().await;
    // Absent, so that the registry has to be asked; nobody listens on that port.
    let options =
        Options { registry: "127.0.0.1:9".to_owned(), images_from: ImagesFrom::Registry, ..Options::default() };
    let (store, told) = store(options).await;
    for version in ["1.53.0", "1.52.0"] {
        let wanted = Wanted::Homeserver { version: version.parse().unwrap(), suite: None };
        let error = store.obtain(&wanted).await.unwrap_err();
        assert!(matches!(&*error, Error::Registry { .. }), "{error}");
    }
    let pulls = told.lock().unwrap().iter().filter(|told| matches!(told, Progress::Started { .. })).count();
    assert_eq!(pulls, 1);
}

#[tokio::test]
async fn a_forged_image_has_the_code_of_one_release_and_the_version_of_another() {
    let (store, _) = store(Options { images_from: ImagesFrom::Build, ..Options::default() }).await;
    let wanted = homeserver().reporting("1.54.0".parse().unwrap());
    let image = store.obtain(&wanted).await.unwrap();
    let script = "python -c '
import synapse
from importlib.metadata import version
print(synapse.__version__, version(\"matrix-synapse\"))'
        python - <<'END'
import hashlib, synapse.app.homeserver
print(hashlib.sha256(open(synapse.app.homeserver.__file__, 'rb').read()).hexdigest())
END";
    let forged = Container::shell(&image.reference, script).await;
    let real = Container::shell(&built().await.reference, script).await;
    assert!(forged.starts_with("1.54.0 1.54.0\n"), "{forged}");
    assert!(real.starts_with("1.53.0 1.53.0\n"), "{real}");
    assert_eq!(forged.lines().last(), real.lines().last());
}

fn patch(file: &str, find: Option<&str>, replace: Option<&str>) -> Patch {
    Patch { file: file.to_owned(), find: find.map(str::to_owned), replace: replace.map(str::to_owned) }
}

#[tokio::test]
async fn a_mutant_runs_the_patched_code() {
    let (store, _) = store(Options { images_from: ImagesFrom::Build, ..Options::default() }).await;
    let patches = vec![
        patch("api/constants.py", Some("MAX_PDU_SIZE = 65536"), Some("MAX_PDU_SIZE = 5")),
        patch("handlers/stats.py", None, None),
        patch("handlers/more.py", None, Some("MORE = 1\n")),
    ];
    let image = store.obtain(&homeserver().patched(patches)).await.unwrap();
    // As the user that cannot compile anything, from what was compiled.
    let script = "gosu 991 python - <<'END'
import importlib.util
from synapse.api.constants import MAX_PDU_SIZE
from synapse.handlers.more import MORE
print(MAX_PDU_SIZE, MORE, importlib.util.find_spec('synapse.handlers.stats'))
END";
    assert_eq!(Container::shell(&image.reference, script).await, "5 1 None\n");
}

#[tokio::test]
async fn a_patch_that_does_not_fit_says_why() {
    let (store, _) = store(Options { images_from: ImagesFrom::Build, ..Options::default() }).await;
    let wrong = [
        (patch("api/constants.py", Some("NOWHERE"), Some("")), "api/constants.py has this 0 times, not once"),
        (patch("api/constants.py", Some("class "), None), "times, not once"),
        (patch("api/constant.py", Some("x"), None), "api/constant.py is not there"),
        (patch("api/constants.py", None, Some("")), "is there already"),
        (patch("../six.py", None, Some("")), "is not inside the package"),
        (patch("api/new.py", None, Some("def (")), "does not compile once patched"),
    ];
    for (patch, reason) in wrong {
        let error = store.obtain(&homeserver().patched(vec![patch])).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_homeserver_can_have_further_distributions() {
    let (store, _) = store(Options { images_from: ImagesFrom::Build, ..Options::default() }).await;
    let image = store.obtain(&homeserver().with_packages(vec!["humanize==4.9.0".to_owned()])).await.unwrap();
    let script = "gosu 991 python -c 'import synapse, humanize; print(humanize.__version__, humanize.__cached__)'
        test -e $(python -c 'import humanize; print(humanize.__cached__)') && echo compiled";
    let seen = Container::shell(&image.reference, script).await;
    assert!(seen.starts_with("4.9.0 ") && seen.ends_with("compiled\n"), "{seen}");

    let odd = homeserver().with_packages(vec!["--index-url http://example.test".to_owned()]);
    let error = store.obtain(&odd).await.unwrap_err();
    assert!(error.to_string().contains("is no requirement"), "{error}");
}

#[tokio::test]
async fn every_postgresql_is_what_it_says() {
    let (store, _) = store(Options { images_from: ImagesFrom::Build, ..Options::default() }).await;
    for major in [11, 13, 14, 15, 16, 17, 18] {
        let image = store.obtain(&Wanted::Companion(Companion::Postgres(major))).await.unwrap();
        // As the harness runs it, and as the official image would be asked.
        let script = "POSTGRES_PASSWORD=secret /entrypoint.sh postgres -c fsync=off 2>/tmp/log &
            export PGPASSWORD=secret
            until psql -qtA -h 127.0.0.1 -U postgres -c 'SELECT 1' >/dev/null 2>&1; do kill -0 $! || exec cat /tmp/log; sleep 0.1; done
            psql -qtA -h 127.0.0.1 -U postgres -c 'SHOW server_version' -c 'SHOW server_encoding' \
                -c \"CREATE DATABASE c TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'\" \
                -c \"CREATE DATABASE u TEMPLATE template0 LC_COLLATE 'en_US.utf8' LC_CTYPE 'en_US.utf8'\" \
                -c \"SELECT to_tsvector('english', 'went walking')\"
            pg_dump -h 127.0.0.1 -U postgres c | grep -c 'dump complete'";
        let seen = Container::shell(&image.reference, script).await;
        let lines: Vec<_> = seen.lines().collect();
        assert!(lines[0].starts_with(&format!("{major}.")), "{seen}");
        assert_eq!(lines[1..], ["UTF8", "'walk':2 'went':1", "1"], "PostgreSQL {major}");
    }
}

/// What a script beside a companion prints, which was started after `before`.
async fn asked(companion: Companion, before: &str, script: &str) -> String {
    let (store, _) = store(Options { images_from: ImagesFrom::Build, ..Options::default() }).await;
    let image = store.obtain(&Wanted::Companion(companion)).await.unwrap();
    let details = docker().await.inspect_image(&image.reference).await.unwrap();
    let command = details.config.unwrap().cmd.unwrap().join(" ");
    let script = format!(
        "{before}
        {command} >/tmp/log 2>&1 & server=$!
        await() {{ until curl -so /dev/null $1; do kill -0 $server || exec cat /tmp/log; sleep 0.1; done; }}
        {script}"
    );
    Container::shell(&image.reference, &script).await
}

#[tokio::test]
async fn a_recorder_can_be_an_application_service() {
    let manners = r#"[{"path": "/transactions/.*", "header": {"authorization": "Bearer t"}, "json": {}},
        {"path": "/transactions/.*", "body": "knock", "status": 202}, {"path": ".*", "status": 403, "json": {"errcode": "M_FORBIDDEN"}}]"#;
    let script = r#"say() { curl -s -o /dev/null -w '%{http_code} ' -X PUT "$@"; }
        url=127.0.0.1:8080; await $url/_recorder/requests
        say $url/transactions/1 -H 'Authorization: Bearer t' -d '{}'
        say $url/transactions/2 -H 'Authorization: Bearer x' -d '{}'
        say $url/transactions/3 -d 'knock knock'
        say $url/_recorder/script -d '[{"status": 502, "times": 1}]'
        say $url/transactions/4 -H 'Authorization: Bearer t' -d '{}'
        say $url/transactions/4 -H 'Authorization: Bearer t' -d '{}'
        curl -s $url/_recorder/requests | python3 -c 'import json, sys; print([r["answered"] for r in json.load(sys.stdin)])'"#;
    let before = format!("mkdir -p /etc/recorder; echo '{manners}' > /etc/recorder/manners.json");
    let seen = asked(Companion::Recorder, &before, script).await;
    assert_eq!(seen, "200 403 202 200 502 200 [200, 403, 202, 502, 200]\n");
}

#[tokio::test]
async fn the_stand_in_for_the_authentication_service_speaks_its_protocol() {
    let script = r#"url=127.0.0.1:8080; await $url/_recorder/requests
        pick() { python3 -c "import json, sys; d = json.load(sys.stdin); print($1)"; }
        curl -s $url/.well-known/openid-configuration | pick 'd["issuer"], d["introspection_endpoint"], d["account_management_uri"]'
        token=$(curl -s $url/_mas/sessions -d '{"username": "alice", "device_id": "DEV"}' | pick 'd["access_token"]')
        compat=$(curl -s $url/_mas/sessions -d '{"username": "alice", "device_id": "OLD", "compat": true}' | pick 'd["access_token"]')
        ask() { curl -s $url/oauth2/introspect "$@"; }
        ask -H 'Authorization: Bearer s' -d token=$token | pick 'd["active"], d["username"], d["scope"], d["expires_in"] > 250'
        ask -d "token=$token&client_id=c&client_secret=d" | pick 'd["active"]'
        ask -u c:d -H 'X-MAS-Supports-Device-Id: 1' -d token=$compat | pick 'd["scope"], d["device_id"], "expires_in" in d'
        ask -H 'Authorization: Bearer s' -d token=nobody | pick d
        ask -H 'Authorization: Bearer x' -d token=$token -w '%{http_code}
'
        curl -s -X DELETE $url/_mas/sessions/$token
        ask -H 'Authorization: Bearer s' -d token=$token | pick d
        curl -s -X PUT $url/_recorder/script -d '[{"path": "/oauth2/introspect", "status": 503}]' -o /dev/null
        ask -d token=$compat -o /dev/null -w '%{http_code}
'
        curl -s $url/_recorder/requests | pick 'len(d)'
        head -1 /tmp/log"#;
    let environment = "export MAS_ISSUER=http://mas.test MAS_SECRET=s MAS_CLIENT_ID=c MAS_CLIENT_SECRET=d";
    let seen = asked(Companion::AuthenticationService, environment, script).await;
    insta::assert_snapshot!(seen, @r#"
    http://mas.test/ http://mas.test/oauth2/introspect http://mas.test/account/
    True alice openid urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:DEV True
    True
    urn:matrix:org.matrix.msc2967.client:api:* OLD False
    {'active': False}
    {"error": "invalid_client", "error_description": "Client authentication failed"}401
    {}{'active': False}
    503
    8
    this is a stand-in for the Matrix Authentication Service, not the real one
    "#);
}

#[tokio::test]
async fn an_object_store_keeps_what_it_is_given() {
    let script = "url=127.0.0.1:9000; await $url/
        curl -s -o /dev/null -w '%{http_code} ' -X PUT -H 'Content-Type: text/plain' -d bytes $url/media/a/b
        curl -s \"$url/media/a/b?Signature=any\"
        curl -s -w ' %{http_code} ' \"$url/media/a/c?Signature=any\" | grep -o 'NoSuchKey\\|404'
        curl -s -o /dev/null -w '%{http_code}\\n' \"$url/none/a?Signature=any\"";
    let seen = asked(Companion::ObjectStore, "export S3_BUCKETS=media", script).await;
    assert_eq!(seen, "200 bytesNoSuchKey\n404\n404\n");
}

/// A registry of our own on loopback: Debian's, unpacked into a cache.
struct Registry {
    server: Child,
    address: String,
    _storage: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let program = Self::program();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let storage = tempfile::tempdir().unwrap();
        let config = storage.path().join("config.yml");
        let root = storage.path().display();
        let text =
            format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}\nhttp:\n  addr: {address}\n");
        std::fs::write(&config, text).unwrap();
        let server =
            Command::new(program).arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let registry = Self { server: server.unwrap(), address, _storage: storage };
        let limit = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(&registry.address).is_err() {
            assert!(Instant::now() < limit, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    fn program() -> PathBuf {
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/upgrades/docker-registry");
        let program = cache.join("usr/bin/docker-registry");
        if !program.exists() {
            std::fs::create_dir_all(&cache).unwrap();
            let fetch =
                "apt-get download docker-registry && dpkg-deb -x docker-registry_*.deb . && rm docker-registry_*.deb";
            let output = Command::new("sh").args(["-ec", fetch]).current_dir(&cache).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        program
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

#[tokio::test]
async fn an_image_from_a_registry_keeps_the_contract() {
    let registry = Registry::start();
    let image = built().await;
    let docker = docker().await;
    let repository = format!("{}/fork/synapse", registry.address);
    let tag = format!("v{RELEASE}");
    let reference = format!("{repository}:{tag}");
    let options = TagImageOptionsBuilder::default().repo(&repository).tag(&tag).build();
    docker.tag_image(&image.reference, Some(options)).await.unwrap();
    let options = PushImageOptionsBuilder::default().tag(&tag).build();
    let pushed: Result<Vec<_>, _> = docker.push_image(&repository, Some(options), None).try_collect().await;
    pushed.unwrap();
    docker.remove_image(&reference, None::<RemoveImageOptions>, None).await.unwrap();

    let options = Options {
        registry: registry.address.clone(),
        repository: "fork/synapse".to_owned(),
        images_from: ImagesFrom::Registry,
        ..Options::default()
    };
    let (store, told) = store(options.clone()).await;
    let found = store.obtain(&homeserver()).await.unwrap();
    assert_eq!((found.source, found.reference.as_str()), (Source::Registry, reference.as_str()));
    keeps_the_contract(&found.reference).await;

    // A tag that the registry lacks says nothing of the rest of it.
    let other = Wanted::Homeserver { version: "1.52.0".parse().unwrap(), suite: None };
    let error = store.obtain(&other).await.unwrap_err();
    assert!(matches!(&*error, Error::Registry { .. }), "{error}");
    let notices = told.lock().unwrap().iter().filter(|told| matches!(told, Progress::Notice(_))).count();
    assert_eq!(notices, 0);

    // Once pulled, it is present.
    let (store, _) = self::store(Options { images_from: ImagesFrom::Auto, ..options }).await;
    assert_eq!(store.obtain(&homeserver()).await.unwrap().source, Source::Present);
    docker.remove_image(&reference, None::<RemoveImageOptions>, None).await.unwrap();
}
