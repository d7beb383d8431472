//! Who keeps the estate on a walk: lays its parts out on every leg, and holds what later legs read against what the leg
//! that wrote it read.

use std::{fmt::Write as _, sync::Arc, time::Instant};

use anyhow::Context as _;
use futures::{FutureExt as _, StreamExt as _};
use images::Version;
use reports::Observed;
use serde_json::{Value, json};

use super::{Part, Person, Place, Size, Visit, differences};
use crate::{
    Deployment, Live,
    checks::{
        rows::Counts,
        tolerance::{Subject, Tolerances},
    },
    client::{UnexpectedAnswer, live},
    scenario::{deployment::merge, probe::BoxFuture},
};

/// Parts that are at work at once: enough to keep a homeserver busy, few enough for each to be answered in time.
const AT_ONCE: usize = 3;

/// What a part's row shows where all is well.
const SAME: &str = "as before";

/// Tables that hold nobody's data as far as is known, and that no part fills.
const ACCOUNTED: &str = "tables that no part fills";

/// The estate of one walk.
pub(crate) struct Keeper {
    /// On every leg, not only on the first?
    writes_anew: bool,
    parts: Vec<Part>,
    memory: Arc<live::Rider>,
    tolerances: Tolerances,
    written: Vec<Written>,
}

/// What a part wrote on a leg.
#[derive(Clone, Debug)]
struct Written {
    part: usize,
    leg: usize,
    release: Version,
    room: String,
    kept: Value,
    /// What a later reading must show.
    shown: Value,
}

/// A row of the report, on one leg.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) observed: Observed,
    pub(crate) expected: Option<Value>,
    pub(crate) seconds: f64,
}

/// What became of one part on one leg.
#[derive(Clone, Debug, Default)]
struct Outcome {
    /// Readings of older legs' data that were made.
    readings: usize,
    /// The homeserver's doing.
    amiss: Vec<Value>,
    /// The harness's.
    errors: Vec<String>,
    seconds: f64,
}

/// What all parts stand on: two people of each leg's own, and a room of this leg's with both of its people in it.
struct Ground {
    live: Live,
    leg: usize,
    /// The owner and the friend of each leg until now. What somebody synchronises costs a homeserver the more, the more
    /// rooms they are in: on a long walk nobody should have all of what all legs write.
    people: Vec<(Person, Person)>,
    room: String,
}

impl Ground {
    async fn lay(live: &Live, leg: usize) -> Result<Self, Trouble> {
        let make = async {
            let mut people = Vec::new();
            for of in 1..=leg + 1 {
                let owner = Person::new(live.user(&format!("owner-{of}")).await?);
                people.push((owner, Person::new(live.user(&format!("friend-{of}")).await?)));
            }
            let (owner, friend) = &people[leg];
            // The first owner has been here for longest, and still takes part.
            let guests = if leg == 0 { vec![friend] } else { vec![friend, &people[0].0] };
            let invited: Vec<&str> = guests.iter().map(|guest| guest.id()).collect();
            let name = format!("room {}", leg + 1);
            let options = json!({ "name": name, "preset": "private_chat", "invite": invited });
            let room = owner.client().room(&name, &options).await?;
            for guest in guests {
                guest.join(&room).await?;
            }
            anyhow::Ok(Self { live: live.clone(), leg, people, room })
        };
        make.await.context("two people and a room").map_err(Trouble::from)
    }

    /// Waits until what was written comes with a synchronisation: an event does when all that were written before it do, and a
    /// server answers before.
    async fn settle(&self) -> Result<(), Trouble> {
        let wait = async {
            let (owner, _) = &self.people[self.leg];
            let last = owner.say(&self.room, "all is written").await?;
            let timeline = json!({ "rooms": [self.room], "timeline": { "limit": 10 } });
            let filter = json!({ "presence": { "limit": 0 }, "room": timeline });
            let there = |seen: &Value| {
                let events = &seen["rooms"]["join"][&self.room]["timeline"]["events"];
                super::list(events).iter().any(|event| event["event_id"] == *last)
            };
            let seen = crate::eventually(|| owner.sync(None, filter.clone()), there).await?;
            anyhow::ensure!(there(&seen), "an event that was sent does not come with a synchronisation");
            anyhow::Ok(())
        };
        wait.await.map_err(Trouble::from)
    }

    /// A visit to what a leg wrote in this room.
    fn visit(&self, room: &str, leg: usize, release: &Version, kept: &Value) -> Visit {
        let (owner, friend) = self.people[leg].clone();
        let (room, mark) = (room.to_owned(), (leg + 1).to_string());
        let written_on = release.clone();
        Visit { live: self.live.clone(), owner, friend, room, mark, written_on, kept: kept.clone() }
    }
}

/// A part's action came to nothing.
enum Trouble {
    Homeserver {
        text: String,
        /// It answered with an error of its own (5xx). Others may be by right: then a part asks for too much.
        fails: bool,
    },
    Harness(String),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        let text = format!("{error:#}");
        match error.downcast_ref::<UnexpectedAnswer>() {
            Some(answer) => Self::Homeserver { text, fails: answer.status.is_some_and(|status| status >= 500) },
            None => Self::Harness(text),
        }
    }
}

impl Keeper {
    /// Of those that can be had in a deployment; `is_ported` says that its database is moved to PostgreSQL.
    pub(crate) fn new(
        parts: &[Part],
        size: &Size,
        deployment: &Deployment,
        is_ported: bool,
        tolerances: Tolerances,
    ) -> Self {
        let is_had = |place| match place {
            Place::Anywhere => true,
            Place::Under(archetype) => archetype.is_of(deployment),
            Place::NotUnder(archetype) => !archetype.is_of(deployment),
            Place::NotPorted => !is_ported,
        };
        let has = |part: &&Part| size.has(part) && is_had(part.place);
        Self {
            writes_anew: *size != Size::Small,
            parts: parts.iter().filter(has).cloned().collect(),
            memory: Arc::new(live::Rider::new(".estate")),
            tolerances,
            written: Vec::new(),
        }
    }

    /// What the parts need, below the deployment's own. A section without anything in it stays so: who needs something of it is
    /// not had.
    pub(crate) fn configure(&mut self, deployment: &mut Deployment) {
        let is_empty = |section: &String| deployment.config.get(section).is_some_and(Value::is_null);
        self.parts.retain(|part| !part.needs.config.keys().any(is_empty));
        let mut needs = Deployment::default();
        let of_parts = self.parts.iter().map(|part| part.needs.clone());
        for Deployment { config, files, environment, companions, .. } in of_parts {
            merge(&mut needs.config, config);
            needs.files.extend(files);
            needs.environment.extend(environment);
            needs.companions.extend(companions);
        }
        merge(&mut needs.config, std::mem::take(&mut deployment.config));
        needs.files.append(&mut deployment.files);
        needs.environment.append(&mut deployment.environment);
        needs.companions.append(&mut deployment.companions);
        (deployment.config, deployment.files) = (needs.config, needs.files);
        (deployment.environment, deployment.companions) = (needs.environment, needs.companions);
    }

    pub(crate) fn live(&self, state: &Arc<live::Leg>) -> Live {
        Live { leg: Arc::clone(state), rider: Arc::clone(&self.memory) }
    }

    /// Reads what older legs wrote, then writes something new, and reads that for the legs to come. One row for each part.
    ///
    /// A walk of many legs would spend its time on reading: a leg reads what the first leg, the two before it and every
    /// tenth wrote, and the last leg reads all.
    pub(crate) async fn tend(&mut self, state: &Arc<live::Leg>, leg: usize, is_last: bool) -> Vec<Row> {
        let live = self.live(state);
        let mut outcomes: Vec<Outcome> = vec![Outcome::default(); self.parts.len()];
        let ground = match Ground::lay(&live, leg).await {
            Ok(ground) => ground,
            Err(Trouble::Homeserver { text, .. }) if leg > 0 => {
                let row = json!({ "the leg's own room": live.scrub(json!(text)) });
                return vec![Row::of("part: rooms", Observed::Value(row), Some(json!(SAME)))];
            }
            Err(Trouble::Homeserver { text, .. } | Trouble::Harness(text)) => {
                return vec![Row::of("part: rooms", Observed::Error(format!("the leg's own room: {text}")), None)];
            }
        };
        self.read_older(&ground, is_last, &mut outcomes).await;
        // A note's own deployment may be broken by right once it has been upgraded; who rides along there only reads.
        if leg == 0 || self.writes_anew {
            self.write_anew(&ground, &mut outcomes).await;
        }
        self.rows(&live, &outcomes)
    }

    async fn read_older(&mut self, ground: &Ground, is_last: bool, outcomes: &mut [Outcome]) {
        let (live, leg) = (&ground.live, ground.leg);
        let due = |of: usize| is_last || of == 0 || of + 2 >= leg || of % 10 == leg % 10;
        let mut readings: Vec<BoxFuture<'static, _>> = Vec::new();
        for (index, written) in self.written.iter().enumerate() {
            let part = &self.parts[written.part];
            if due(written.leg) && part.readable(live.release()).is_ok() {
                let visit = ground.visit(&written.room, written.leg, &written.release, &written.kept);
                let (read, consumes) = (Arc::clone(&part.read), part.consumes);
                readings.push(Box::pin(async move {
                    let begun = Instant::now();
                    let mut shown = act(&read, visit.clone()).await;
                    // What could not be read is there to be read later.
                    let is_consumed = consumes && shown.is_ok();
                    if is_consumed {
                        shown = match act(&read, visit).await {
                            Ok(again) if again == json!([]) => shown,
                            Ok(again) => shown.map(|first| json!({ "first": first, "and again": again })),
                            Err(trouble) => Err(trouble),
                        };
                    }
                    (index, shown, is_consumed, begun.elapsed().as_secs_f64())
                }));
            }
        }
        let mut consumed = Vec::new();
        for (index, shown, is_consumed, seconds) in all_of(readings).await {
            let written = &self.written[index];
            let outcome = &mut outcomes[written.part];
            outcome.readings += 1;
            outcome.seconds += seconds;
            if is_consumed {
                consumed.push(index);
            }
            match shown {
                Ok(after) => outcome.amiss.extend(self.lost(live, written, &after)),
                Err(Trouble::Homeserver { text, .. }) => outcome.amiss.push(
                    json!({ "written on": written.release.to_string(), "not readable": live.scrub(json!(text)) }),
                ),
                Err(Trouble::Harness(text)) => {
                    outcome.errors.push(format!("reading what {} wrote: {text}", written.release));
                }
            }
        }
        for index in consumed {
            self.written[index].shown = json!([]);
        }
    }

    /// Nothing is read before all is written: while another's event is being stored, a homeserver may hold back later ones.
    async fn write_anew(&mut self, ground: &Ground, outcomes: &mut [Outcome]) {
        let live = &ground.live;
        let visit = |kept: &Value| ground.visit(&ground.room, ground.leg, live.release(), kept);
        let mut writings: Vec<BoxFuture<'static, _>> = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            if part.available(live.release()).is_ok() {
                let writing = act(&part.write, visit(&Value::Null));
                writings.push(Box::pin(timed(index, writing)));
            }
        }
        let all_kept = all_of(writings).await;
        if let (Err(Trouble::Homeserver { text, .. } | Trouble::Harness(text)), Some(first)) =
            (ground.settle().await, outcomes.first_mut())
        {
            first.errors.push(format!("waiting for what was written: {text}"));
        }
        let mut readings: Vec<BoxFuture<'static, _>> = Vec::new();
        for (index, kept, seconds) in all_kept {
            let part = &self.parts[index];
            readings.push(match kept {
                Err(trouble) => Box::pin(async move { (index, Err(trouble), seconds) }),
                Ok(kept) if part.consumes || part.reads_since.is_some() => {
                    let shown = kept["waiting"].clone();
                    Box::pin(async move { (index, Ok((kept, shown)), seconds) })
                }
                Ok(kept) => {
                    let reading = act(&part.read, visit(&kept));
                    let reading = timed(index, async move { reading.await.map(|shown| (kept, shown)) });
                    Box::pin(reading.map(move |(index, read, more)| (index, read, seconds + more)))
                }
            });
        }
        for (part, written, seconds) in all_of(readings).await {
            outcomes[part].seconds += seconds;
            let seen_before = self.written.iter().any(|written| written.part == part);
            match written {
                Ok((kept, shown)) => self.written.push(Written {
                    part,
                    leg: ground.leg,
                    release: live.release().clone(),
                    room: ground.room.clone(),
                    kept,
                    shown,
                }),
                // An older release took the same: this one does not.
                Err(Trouble::Homeserver { text, .. }) if seen_before => {
                    outcomes[part].amiss.push(json!({ "could not be written anew": live.scrub(json!(text)) }));
                }
                // It is written here for the first time, and the server fails. On a first leg nothing says that it is the
                // path's doing.
                Err(Trouble::Homeserver { text, fails: true }) if ground.leg > 0 => {
                    outcomes[part].amiss.push(json!({ "could not be written": live.scrub(json!(text)) }));
                }
                Err(Trouble::Homeserver { text, .. } | Trouble::Harness(text)) => {
                    outcomes[part].errors.push(format!("writing: {text}"));
                }
            }
        }
    }

    /// What a later reading shows otherwise, where nothing permits it.
    fn lost(&self, live: &Live, written: &Written, after: &Value) -> Vec<Value> {
        let release = &live.leg.release;
        differences(self.parts[written.part].name, &written.shown, after)
            .into_iter()
            .filter(|found| {
                let (there, back) = (found.to_string(), found.reversed().to_string());
                !self.tolerances.permits_change(Subject::Estate, (&written.release, &back), (release, &there))
            })
            .map(|found| {
                let mut told = live.scrub(json!({ "what": found.path, "before": found.before, "after": found.after }));
                // As it is: a part may have been shown the number of a release.
                told["written on"] = json!(written.release.to_string());
                told
            })
            .collect()
    }

    fn rows(&self, live: &Live, outcomes: &[Outcome]) -> Vec<Row> {
        let row = |(part, outcome): (&Part, &Outcome)| {
            let (observed, expected) = if let Err(reason) = part.available(&live.leg.release) {
                (Observed::Nothing(reason), None)
            } else if !outcome.amiss.is_empty() {
                (Observed::Value(json!({ "lost or changed": outcome.amiss })), Some(json!(SAME)))
            } else if !outcome.errors.is_empty() {
                (Observed::Error(outcome.errors.join("\n")), None)
            } else if let Err(reason) = part.readable(&live.leg.release) {
                (Observed::Nothing(reason), None)
            } else if outcome.readings == 0 {
                (Observed::Nothing("written here first".to_owned()), None)
            } else {
                (Observed::Value(json!(SAME)), Some(json!(SAME)))
            };
            Row { name: part.row(), observed, expected, seconds: outcome.seconds }
        };
        self.parts.iter().zip(outcomes).map(row).collect()
    }

    /// Every table with its rows, the parts that fill it, and why no part does: text for the evidence. And the row that
    /// names the tables of which neither is known, and those that a part is said to fill and does not.
    pub(crate) fn account(&self, release: &Version, counts: &Counts) -> (String, Row) {
        let mut text = String::new();
        let mut unaccounted = Vec::new();
        for (table, rows) in counts {
            let fills = |part: &&Part| part.available(release).is_ok() && part.tables.contains(&table.as_str());
            let parts: Vec<&str> = self.parts.iter().filter(fills).map(|part| part.name).collect();
            let excuse = self.tolerances.reason(Subject::Table, release, table);
            let by = match (&excuse, parts.as_slice()) {
                (Some(reason), []) => format!("none: {reason}"),
                (None, []) => "nobody knows".to_owned(),
                (_, parts) => parts.join(", "),
            };
            writeln!(text, "{table:<46} {rows:>7}  {by}").expect("writing to a string");
            match (&excuse, parts.as_slice()) {
                (None, []) => unaccounted.push(json!({ table: "no part fills it" })),
                (None, parts) if *rows == 0 => {
                    unaccounted.push(json!({ table: format!("empty, after {}", parts.join(", ")) }));
                }
                _ => {}
            }
        }
        (text, Row::of(ACCOUNTED, Observed::Value(json!(unaccounted)), Some(json!([]))))
    }

    /// All of the estate is here that can be had under any configuration.
    pub(crate) fn is_whole(&self, all: &[Part]) -> bool {
        self.parts.len() >= all.iter().filter(|part| !matches!(part.place, Place::Under(_))).count()
    }
}

/// Everything, a few at once.
async fn all_of<T>(futures: Vec<BoxFuture<'static, T>>) -> Vec<T> {
    futures::stream::iter(futures).buffer_unordered(AT_ONCE).collect().await
}

/// What came of a part's action, and how many seconds it took.
async fn timed<T>(part: usize, action: impl Future<Output = T>) -> (usize, T, f64) {
    let begun = Instant::now();
    (part, action.await, begun.elapsed().as_secs_f64())
}

/// Runs an action. A panic is the harness's fault, and no reason to lose the other parts.
fn act(action: &super::part::Action, visit: Visit) -> impl Future<Output = Result<Value, Trouble>> + use<> {
    let action = Arc::clone(action);
    async move {
        match tokio::spawn(action(visit)).await {
            Ok(done) => done.map_err(Trouble::from),
            Err(panic) => Err(Trouble::Harness(format!("it panicked: {panic}"))),
        }
    }
}

impl Row {
    pub(crate) fn of(name: &str, observed: Observed, expected: Option<Value>) -> Self {
        Self { name: name.to_owned(), observed, expected, seconds: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Answer;

    #[test]
    fn an_error_of_the_servers_own_is_told_from_a_refusal() {
        let fails = |status: u16| {
            let answer =
                Answer { request: "POST /x".to_owned(), status, headers: <_>::default(), body: <_>::default() };
            match Trouble::from(answer.ok().unwrap_err().context("a room")) {
                Trouble::Homeserver { fails, .. } => fails,
                Trouble::Harness(text) => panic!("{text}"),
            }
        };
        assert!(fails(500));
        assert!(fails(503));
        assert!(!fails(400));
        assert!(!fails(404));
    }
}
