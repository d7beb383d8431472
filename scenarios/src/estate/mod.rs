//! What users own, one part a file. A new part is a file here and its name in the list below.

/// What a module of a part needs.
mod prelude {
    pub(super) use harness::{
        Method,
        estate::{Part, Person, Signer, Visit, event, list, text, typed},
        prelude::{Result, Value, eventually, json},
    };

    /// How a control logs everybody out but those who own most: the first of them takes part in each later leg's room.
    pub(super) const LOG_OUT: &str = "DELETE FROM access_tokens WHERE user_id NOT LIKE '@owner%'";
}

/// Declares the modules, and lists what their `part` makes.
macro_rules! parts {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*

        /// All parts, in this order.
        pub(crate) fn parts() -> Vec<harness::estate::Part> {
            vec![$($name::part()),*]
        }
    };
}

/// Is a fault looked for that was there from `since` on, until it was `mended`? Before and after; and up to `later` in
/// what is older than it, or every walk that ends on one of these releases would show it.
fn is_looked_for(it: &harness::estate::Visit, since: &str, later: &str, mended: &str) -> bool {
    !it.from(since) || it.from(mended) || !it.from(later) && !it.written_from(since)
}

/// Is a fault looked for that was there from `since` on, until it was `mended`, in releases to which others come for what
/// they have mended? Before and after; and in what is older than they are, but no older than `from`.
fn is_looked_for_next_door(it: &harness::estate::Visit, from: &str, since: &str, mended: &str) -> bool {
    !it.from(since) || it.from(mended) || it.written_from(from) && !it.written_from(since)
}

parts!(
    account_data,
    accounts,
    addresses,
    admin_rooms,
    aliases,
    answers,
    barred,
    bridge_down,
    bridged,
    bridged_receipts,
    by_time,
    communities,
    context,
    cross_signing,
    dehydrated_devices,
    dehydrated_of_old,
    delayed_events,
    device_changes,
    device_keys,
    devices,
    directories,
    experimental,
    fallback_keys,
    filters,
    forgotten,
    going_on,
    guests,
    history_purged_later,
    ignored,
    invitations_of_who_left,
    key_backup,
    knocks,
    labels,
    levels_as_text,
    login_tokens,
    mailed,
    many_invitations,
    many_settings,
    measured,
    media,
    media_deleted_later,
    members,
    modules,
    names_in_rooms,
    odd_content,
    odd_requests,
    out_of_reach,
    passwords,
    people_erased_later,
    pictures,
    presence,
    profile,
    profile_fields,
    public_rooms,
    purged_history,
    push_rules,
    pushed,
    pushers,
    rate_limits,
    receipts,
    redactions,
    refresh_tokens,
    registration_tokens,
    rejected_last,
    relations,
    reloading,
    reported_rooms,
    reports,
    retention,
    rights,
    room_of_unknown_version,
    room_without_version,
    room_versions,
    rooms,
    rooms_deleted_later,
    rooms_left,
    rooms_upgraded_by_moderators,
    rooms_upgraded_later,
    search,
    server_notices,
    shadowed_rules,
    sliding_rooms,
    sliding_sync,
    space_children,
    spaces,
    statistics,
    strangers,
    sync_tokens,
    synchronising,
    tags,
    thread_subscriptions,
    threads,
    thumbnails,
    timeline,
    to_device,
    to_device_of_old,
    tokens,
    tools,
    topics,
    uia,
    unread,
    upgraded_room,
    vouched,
);
