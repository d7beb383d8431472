//! A device that waits, dehydrated, as it was before MSC3814: it is given no name, and taken over by a login.

use super::prelude::*;

const ROOT: &str = "/_matrix/client/unstable/org.matrix.msc2697.v2";
const DEVICE: [&str; 2] = [ROOT, "dehydrated_device"];

pub(super) fn part() -> Part {
    Part::new("dehydrated devices of old")
        .since("1.60.0")
        // Since then it is off where the other kind is on, as the part `dehydrated devices` has it.
        .until("1.89.0rc1")
        .fills(&["dehydrated_devices"])
        .write(|it: Visit| async move {
            let person = it.somebody("parched").await?;
            // 1.70 refuses it, which is looked for when others read.
            if !it.from("1.70.0rc1") || it.from("1.71.0rc1") {
                person.put(&DEVICE, device()).await?;
            }
            Ok(json!({ "token": person.token() }))
        })
        .read(|it: Visit| async move {
            let waits = it.owner.with_token(&it.kept("token")?).answer(Method::GET, &DEVICE, None).await?.json()?;
            let person = it.somebody("thirsty").await?;
            // From 1.70.0 to 1.70.1 a name is demanded that clients do not give (#14336).
            let is_taken = super::is_looked_for(&it, "1.70.0rc1", "1.70.1", "1.71.0rc1");
            let put = if is_taken { person.answer(Method::PUT, &DEVICE, Some(device())).await?.status() } else { 200 };
            // On 1.78.0 nobody answers who claims one (#15180).
            let is_claimed = is_taken && super::is_looked_for(&it, "1.78.0rc1", "1.79.0rc1", "1.79.0rc1");
            let claims = if is_claimed && put == 200 { claims(&it, &person).await? } else { json!([200, 404]) };
            Ok(json!({ "waits": waits["device_data"], "another is put": put, "and claimed, once": claims }))
        })
}

fn device() -> Value {
    let data = json!({ "algorithm": "org.matrix.msc2697.v1.dehydration.v1.olm", "account": "secret" });
    json!({ "device_data": data, "initial_device_display_name": "Dry" })
}

/// What is answered to who claims the device after a login, and to who looks for it then.
async fn claims(it: &Visit, person: &Person) -> Result<Value> {
    let waits = person.get(&DEVICE).await?;
    let again = it.owner.with_token(&super::passwords::login(it, person.id(), person.password()).await?);
    let path = [&DEVICE[..], &["claim"]].concat();
    let claimed = again.answer(Method::POST, &path, Some(json!({ "device_id": waits["device_id"] }))).await?;
    Ok(json!([claimed.status(), again.answer(Method::GET, &DEVICE, None).await?.status()]))
}
