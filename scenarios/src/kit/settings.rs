//! What a homeserver's configuration is taken for, without starting it.

use harness::prelude::*;

/// What Synapse says when it reads each of these settings in place of the deployment's own; `null` where it takes them.
pub(crate) fn said_of(settings: &Value) -> Probe {
    let settings = settings.to_string();
    Probe::from(move |hs: Live| {
        let settings = settings.clone();
        async move {
            let program = format!(
                "import json, tempfile\n\
                 from synapse.config.homeserver import HomeServerConfig\n\
                 def said_of(setting):\n\
                 \x20   with tempfile.NamedTemporaryFile('w', suffix='.yaml') as file:\n\
                 \x20       json.dump(setting, file)\n\
                 \x20       file.flush()\n\
                 \x20       try:\n\
                 \x20           HomeServerConfig.load_config('', ['-c', '/data/homeserver.yaml', '-c', file.name])\n\
                 \x20       except Exception as error:\n\
                 \x20           return getattr(error, 'msg', str(error))\n\
                 print(json.dumps([said_of(setting) for setting in json.loads({settings:?})]))"
            );
            Ok(serde_json::from_str(&hs.python(&program).await?)?)
        }
    })
}
