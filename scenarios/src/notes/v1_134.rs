//! Synapse 1.134.0.

use harness::prelude::*;

notes!("1.134.0": icu_bundled);

/// Names are taken apart into words by a library that comes with Synapse; before, by the system's if it was installed.
///
/// Upstream: PR 18553.
fn icu_bundled() -> Scenario {
    let said = "import importlib.metadata as m, json; d = m.metadata('matrix-synapse'); print(json.dumps({\
        'extras': [e for e in d.get_all('Provides-Extra') if e == 'user-search'],\
        'requirements': [r.split()[0].lower() for r in d.get_all('Requires-Dist') if 'icu' in r.lower()]}))";
    let words = "import json\n\
        try:\n    from synapse.synapse_rust import segmenter\n    print(json.dumps(segmenter.parse_words('two words')))\n\
        except ImportError as error:\n    print(json.dumps(str(error)))";
    Scenario::for_note("ICU bundled with Synapse")
        .on_both()
        .disagreement(
            "nothing but the packaging changes",
            "without PyICU names in scripts without spaces are found otherwise: some that were not, and not some that were",
        )
        .hop("1.133.0", "1.134.0")
        .config(json!({ "user_directory": { "enabled": true, "search_all_users": true } }))
        .fact("what the package says of ICU", move |hs: Live| async move {
            Ok(serde_json::from_str(&hs.python(said).await?)?)
        })
        .changes(
            json!({ "extras": ["user-search"], "requirements": ["pyicu"] }),
            json!({ "extras": [], "requirements": [] }),
        )
        .fact("words by what comes with Synapse", move |hs: Live| async move {
            Ok(serde_json::from_str(&hs.python(words).await?)?)
        })
        .changes(contains("segmenter"), json!(["two", " ", "words"]))
        .variant("without PyICU", |it| {
            it.module("icu", "raise ModuleNotFoundError('PyICU is not installed')")
                .fact("สวัสดี", found("สวัสดีครับ", "สวัสดี"))
                .changes(json!([]), json!(["สวัสดีครับ"]))
                .fact("你好", found("你好世界", "你好"))
                .always(json!(["你好世界"]))
                .fact("你好世界", found("你好世界", "你好世界"))
                .changes(json!(["你好世界"]), json!([]))
                .fact("Latin", found("Ada Lovelace", "love"))
                .always(json!(["Ada Lovelace"]))
        })
        .variant("with PyICU", |it| {
            it.fact("สวัสดี", found("สวัสดีครับ", "สวัสดี"))
                .always(json!(["สวัสดีครับ"]))
                .fact("Latin", found("Ada Lovelace", "love"))
                .always(json!(["Ada Lovelace"]))
                .fact("a user's id", found("Ada Lovelace", "{alice}"))
                .always(json!(["Ada Lovelace"]))
        })
}

/// The names of those who are found by a term, after somebody has taken a name; that the directory knows her is waited for.
fn found(name: &'static str, term: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let (alice, bob) = (hs.user("alice").await?, hs.user("bob").await?);
        let path = format!("/_matrix/client/v3/profile/{}/displayname", escape(alice.id()));
        alice.put(&path, &json!({ "displayname": name })).await?.ok()?;
        let names = async |term: &str| -> Result<Vec<Value>> {
            let search = json!({ "search_term": term });
            let answer = bob.post("/_matrix/client/v3/user_directory/search", &search).await?.ok()?.json()?;
            let results = answer["results"].as_array().cloned().unwrap_or_default();
            let hers = results.iter().filter(|result| result["user_id"] == alice.id());
            Ok(hers.map(|result| result["display_name"].clone()).collect())
        };
        eventually(|| names("alice"), |names| *names == [name]).await?;
        Ok(json!(names(&hs.fill(term)?).await?))
    })
}
