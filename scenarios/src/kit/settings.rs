//! What a homeserver's configuration is taken for, without starting it.

use harness::prelude::*;

/// Reads a setting in place of the deployment's own.
const READ: &str = r#"
import json, tempfile
from synapse.config.homeserver import HomeServerConfig
def read(setting):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(setting, file)
        file.flush()
        return HomeServerConfig.load_config("", ["-c", "/data/homeserver.yaml", "-c", file.name])
"#;

/// What Synapse says when it reads each of these settings; `null` where it takes them.
pub(crate) fn said_of(settings: &Value) -> Probe {
    printed_by(format!(
        "{READ}\
         def said_of(setting):\n\
         \x20   try:\n\
         \x20       read(setting)\n\
         \x20   except Exception as error:\n\
         \x20       return getattr(error, 'msg', str(error))\n\
         print(json.dumps([said_of(setting) for setting in json.loads({:?})]))",
        settings.to_string()
    ))
}

/// What Synapse makes of a setting: a Python expression of its `config`.
pub(crate) fn made_of(setting: &Value, expression: &str) -> Probe {
    printed_by(format!("{READ}config = read(json.loads({:?}))\nprint(json.dumps({expression}))", setting.to_string()))
}

fn printed_by(program: String) -> Probe {
    Probe::from(move |hs: Live| {
        let program = program.clone();
        async move { Ok(serde_json::from_str(&hs.python(&program).await?)?) }
    })
}
