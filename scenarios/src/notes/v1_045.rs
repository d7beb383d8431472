//! Synapse 1.45.0.

use harness::prelude::*;

use crate::kit::media;

notes!("1.45.0": storage_provider_config_sections);

/// A media storage provider names the section of a setting that it reads. When it does not, it fails where it reads: the
/// server does not start, or uploads fail.
///
/// Upstream: PR 10985. The form with a section is understood by the releases before, too, so modules can be ported early.
fn storage_provider_config_sections() -> Scenario {
    let module = r#"
import os, shutil
from synapse.rest.media.v1.storage_provider import StorageProvider

class Provider(StorageProvider):
    def __init__(self, hs, config):
        self.hs = hs

    @staticmethod
    def parse_config(config):
        return config

    def copy(self, media, path):
        copy = os.path.join("/data/copies", path)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copyfile(os.path.join(media, path), copy)

    async def fetch(self, path, file_info):
        return None

class ReadsAtStart(Provider):
    def __init__(self, hs, config):
        self.media = hs.config.media_store_path

    async def store_file(self, path, file_info):
        self.copy(self.media, path)

class ReadsLater(Provider):
    async def store_file(self, path, file_info):
        self.copy(self.hs.config.media_store_path, path)

class Ported(Provider):
    async def store_file(self, path, file_info):
        self.copy(self.hs.config.media.media_store_path, path)
"#;
    let provider = |class: &str| {
        let module = format!("storage.{class}");
        let entry = json!({ "module": module, "store_local": true, "store_remote": true, "store_synchronous": true });
        json!({ "media_storage_providers": [entry] })
    };
    let missing = "'HomeServerConfig' object has no attribute 'media_store_path'";
    let copied = || json!({ "answer": status(200), "copy": "kept twice" });
    let failed = json!({ "status": 500, "errcode": "M_UNKNOWN", "error": "Internal server error" });
    Scenario::for_note(
        "Changes required to media storage provider modules when reading from the Synapse configuration object",
    )
    .hop("1.44.0", "1.45.0")
    .module("storage", module)
    .fact("an upload", upload())
    .always(copied())
    .variant("a module that reads while it is loaded", |it| {
        it.config(provider("ReadsAtStart"))
            .fact("start", start())
            .changes(started(), refused(&format!("AttributeError: {missing}")))
            .step("the module is ported", |it| it.reconfigure(provider("Ported")).now("start", started()))
    })
    .variant("a module that reads when a file comes", |it| {
        it.config(provider("ReadsLater"))
            .log_error("Failed handle request via 'Upload(Resource|Servlet)'")
            .fact("an upload", upload())
            .changes(copied(), json!({ "answer": failed, "copy": null }))
            .fact("what is logged of it", log_lines(missing))
            .changes(json!([]), json!([format!("AttributeError: {missing}")]))
            .step("the module is ported", |it| {
                it.reconfigure(provider("Ported")).now("an upload", copied()).now("what is logged of it", json!([]))
            })
    })
    .variant("a module that was ported before", |it| it.config(provider("Ported")))
}

/// Uploads a file; what the provider made of it.
fn upload() -> Probe {
    Probe::from(|hs: Live| async move {
        let alice = hs.user("alice").await?;
        let path = "/_matrix/media/r0/upload?filename=kept.txt";
        let answer = alice.request(harness::Method::POST, path).body("text/plain", b"kept twice".to_vec()).await?;
        let copy = match answer.field("content_uri") {
            Ok(uri) => hs.read(&format!("/data/copies/local_content/{}", media::place(&uri))).await?,
            Err(_) => Value::Null,
        };
        Ok(json!({ "answer": answer.refusal(), "copy": copy }))
    })
}
