//! Synapse 1.5.0.

use harness::prelude::*;

notes!("1.5.0": devices_migration);

/// Before the server answers, every row of `devices` is marked as not hidden. The time that this takes is not looked at: it
/// matters above a million rows only, and on PostgreSQL before 11.
///
/// Upstream: PR 5759, `56/hidden_devices.sql`.
fn devices_migration() -> Scenario {
    let many = "INSERT INTO devices (user_id, device_id, display_name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL \
                SELECT i + 1 FROM n WHERE i < 999) SELECT '{alice}', 'old ' || i, 'old device' FROM n;";
    let column = per_database(
        "SELECT name, type, dflt_value FROM pragma_table_info('devices') WHERE name = 'hidden'",
        "SELECT column_name::text AS name, data_type::text AS type, column_default::text AS dflt_value \
         FROM information_schema.columns WHERE table_name = 'devices' AND column_name = 'hidden'",
    );
    let update = "SELECT version, file FROM applied_schema_deltas WHERE file LIKE '%hidden_devices%'";
    let recorded = |deltas: &[(u32, &str)]| {
        deltas.iter().map(|(version, file)| json!({ "version": version, "file": file })).collect::<Value>()
    };
    let (made, fixed, emptied) = (
        (56, "56/hidden_devices.sql"),
        (56, "56/hidden_devices_fix.sql.sqlite"),
        (65, "65/03remove_hidden_devices_from_device_inbox.sql"),
    );
    Scenario::for_note("Upgrading to v1.5.0")
        .on_both()
        .hop("1.4.1", "1.5.0")
        .seed(move |hs| async move {
            hs.user("alice").await?;
            hs.execute(&hs.fill(many)?).await
        })
        .fact("the column", sql(column))
        .changes(
            json!([]),
            per_database(
                json!([{ "name": "hidden", "type": "BOOLEAN", "dflt_value": "FALSE" }]),
                json!([{ "name": "hidden", "type": "boolean", "dflt_value": "false" }]),
            ),
        )
        // SQLite before 3.23 took `FALSE` for a text, so there the table is made anew: `56/hidden_devices_fix.sql.sqlite`.
        .since(
            "1.6.0",
            per_database(
                json!([{ "name": "hidden", "type": "BOOLEAN", "dflt_value": "0" }]),
                json!([{ "name": "hidden", "type": "boolean", "dflt_value": "false" }]),
            ),
        )
        .fact("rows from before", |hs: Live| async move {
            let rows = hs.sql(&hs.fill("SELECT * FROM devices WHERE user_id = '{alice}'")?).await?;
            let marked = |as_what: &[Value]| rows.iter().filter(|row| as_what.contains(&row["hidden"])).count();
            Ok(json!({
                "all": rows.len(),
                "not hidden": marked(&[json!(false), json!(0)]),
                "hidden": marked(&[json!(true), json!(1)]),
            }))
        })
        .changes(
            json!({ "all": 1000, "not hidden": 0, "hidden": 0 }),
            json!({ "all": 1000, "not hidden": 1000, "hidden": 0 }),
        )
        .fact("devices that their user sees", |hs: Live| async move {
            let answer = hs.user("alice").await?.get("/_matrix/client/r0/devices").await?.ok()?.json()?;
            let devices = answer["devices"].as_array().cloned().unwrap_or_default();
            let named = devices.iter().filter(|device| device["display_name"] == json!("old device"));
            Ok(json!({ "all": devices.len(), "named as before": named.count() }))
        })
        .always(json!({ "all": 1000, "named as before": 999 }))
        // What the column is for.
        .fact("a device that is hidden, to its user", |hs: Live| async move {
            let key = "INSERT INTO devices (user_id, device_id, hidden) VALUES ('{alice}', 'a key', TRUE);";
            let made = hs.attempt(&hs.fill(key)?).await?;
            if made != json!("done") {
                return Ok(made);
            }
            let (alice, device) = (hs.user("alice").await?, "/_matrix/client/r0/devices/a%20key");
            let devices = alice.get("/_matrix/client/r0/devices").await?.ok()?.json()?;
            let login = json!({
                "type": "m.login.password",
                "identifier": { "type": "m.id.user", "user": alice.id() },
                "password": alice.password(),
                "device_id": "a key",
            });
            Ok(json!({
                "listed": devices["devices"].to_string().contains("a key"),
                "shown": alice.get(device).await?.brief(),
                "renamed": alice.put(device, &json!({ "display_name": "a device" })).await?.brief(),
                "logged in with": hs.anonymous().post("/_matrix/client/r0/login", &login).await?.brief(),
            }))
        })
        .changes(
            contains("hidden"),
            json!({
                "listed": false,
                "shown": error(404, "M_NOT_FOUND"),
                "renamed": error(404, "M_NOT_FOUND"),
                "logged in with": error(400, "M_FORBIDDEN"),
            }),
        )
        .fact("the update on record", sql(update))
        .changes(json!([]), json!([{ "version": 56, "file": "56/hidden_devices.sql" }]))
        .since("1.6.0", per_database(recorded(&[made, fixed]), recorded(&[made])))
        // What was sent to hidden devices is deleted: PR 11199.
        .since("1.47.0", per_database(recorded(&[made, fixed, emptied]), recorded(&[made, emptied])))
        .fact("the log up to the first listener", |hs: Live| async move {
            let (applying, listening) = ("Applying schema 56/hidden_devices.sql", "now listening on");
            let lines = hs.log_lines("").await?;
            let told =
                lines.iter().filter_map(|line| [applying, listening].into_iter().find(|text| line.contains(text)));
            Ok(json!(told.collect::<Vec<_>>()))
        })
        .changes(json!(["now listening on"]), json!(["Applying schema 56/hidden_devices.sql", "now listening on"]))
}
