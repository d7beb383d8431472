//! Reading a path; errors point at the place.

use std::{fmt, ops::Range, str::FromStr, time::Duration};

use images::Version;

use super::{Ending, Extent, Leg, Moment, Occurrence, Path};
use crate::Database;

/// A text that is no path, and where it goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsePathError {
    text: String,
    place: Range<usize>,
    problem: String,
}

impl fmt::Display for ParsePathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.text[..self.place.start].chars().count();
        let marked = self.text[self.place.clone()].chars().count().max(1);
        write!(f, "{}\n  {}\n  {}{}", self.problem, self.text, " ".repeat(before), "^".repeat(marked))
    }
}

impl std::error::Error for ParsePathError {}

type Parsed<T> = Result<T, ParsePathError>;

/// A text under way, and how far it has been read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl FromStr for Path {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text: text.trim_end(), at: 0 };
        let mut path = reader.head()?;
        loop {
            path.legs.push(reader.leg(&path)?);
            reader.blank();
            if reader.rest().is_empty() {
                return Ok(path);
            }
            reader.expect('>', "`>` and a further leg, or the end")?;
        }
    }
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn fail<T>(&self, place: Range<usize>, problem: impl Into<String>) -> Parsed<T> {
        Err(ParsePathError { text: self.text.to_owned(), place, problem: problem.into() })
    }

    /// The next word, and where it is: up to a blank or one of the language's own signs.
    fn word(&mut self) -> (&'a str, Range<usize>) {
        self.blank();
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || ":>()=,\"".contains(c)).unwrap_or(rest.len());
        let place = self.at..self.at + end;
        self.at = place.end;
        (&rest[..end], place)
    }

    fn takes(&mut self, sign: char) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len_utf8();
        }
        found
    }

    fn expect(&mut self, sign: char, what: &str) -> Parsed<()> {
        if self.takes(sign) {
            return Ok(());
        }
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        self.fail(self.at..self.at + length, format!("expected {what}"))
    }

    /// The value after `key=`.
    fn value<T: FromStr>(&mut self, key: &str) -> Parsed<T>
    where
        T::Err: fmt::Display,
    {
        self.expect('=', &format!("`{key}=` and a value"))?;
        let (word, place) = self.word();
        word.parse().or_else(|error: T::Err| self.fail(place, format!("`{key}`: {error}")))
    }

    fn head(&mut self) -> Parsed<Path> {
        let (word, place) = self.word();
        let (name, major) = word.split_once('-').map_or((word, None), |(name, major)| (name, Some(major)));
        let database = Database::ALL.into_iter().find(|database| database.key() == name);
        let (Some(database), Ok(postgres)) = (database, major.map(str::parse).transpose()) else {
            return self.fail(place, "a path begins with its database: `sqlite:`, `postgres:` or `postgres-13:`");
        };
        if database == Database::Sqlite && postgres.is_some() {
            return self.fail(place, "SQLite's version is the suite's: `sqlite suite=bookworm:`");
        }
        let mut path = Path { postgres, ..Path::over(database, &[]) };
        loop {
            self.blank();
            if self.takes(':') {
                return Ok(path);
            }
            let (word, place) = self.word();
            let twice = match word {
                "config" => path.config.replace(self.value(word)?).is_some(),
                "suite" => path.suite.replace(self.value(word)?).is_some(),
                "seed" => path.seed.replace(self.value(word)?).is_some(),
                "estate" => {
                    let (begin, extent) = (self.at + 1, self.value::<String>(word)?);
                    let extent = match extent.as_str() {
                        "small" => Extent::Small,
                        "none" => Extent::None,
                        _ => {
                            let problem =
                                "expected `estate=small` or `estate=none`; without it the estate has all its parts";
                            return self.fail(begin..self.at, problem);
                        }
                    };
                    std::mem::replace(&mut path.estate, extent) != Extent::Whole
                }
                _ => {
                    return self
                        .fail(place, "expected `config=…`, `suite=…`, `estate=…`, `seed=…`, or `:` and the first leg");
                }
            };
            if twice {
                return self.fail(place, format!("`{word}` is said twice"));
            }
        }
    }

    fn leg(&mut self, path: &Path) -> Parsed<Leg> {
        let (mut word, mut place) = self.word();
        let ported = word == "port";
        if ported {
            let is_first = path.legs.is_empty();
            if path.database == Database::Postgres || path.is_ported() {
                return self.fail(place, "the data is on PostgreSQL already");
            } else if is_first {
                return self.fail(place, "there is no data yet that could be moved");
            }
            (word, place) = self.word();
        }
        let release = match word.parse::<Version>() {
            Ok(release) => release,
            Err(_) if word.is_empty() => return self.fail(place, "expected a release, like `1.53.0`"),
            Err(error) => return self.fail(place, error.to_string()),
        };
        let mut leg = Leg { ported, ..Leg::on(release) };
        let (mut word, mut place) = self.word();
        if word == "workers" {
            leg.workers = Some(self.value(word)?);
            (word, place) = self.word();
        }
        leg.ending = match word {
            "" => Ending::Stopped,
            "undrained" if self.takes('(') => {
                let (key, place) = self.word();
                if key != "batches" {
                    return self.fail(place, "expected `batches=…`: how many are done");
                }
                let batches = self.value(key)?;
                self.expect(')', "`)`")?;
                Ending::Undrained { batches }
            }
            "undrained" => Ending::Undrained { batches: 0 },
            "kill" if self.takes('(') => Ending::KilledAt(self.moment()?),
            "kill" => Ending::Killed,
            _ => {
                let problem = format!("`{word}` is no ending of a leg (expected `undrained`, `kill` or `kill(…)`)");
                return self.fail(place, problem);
            }
        };
        Ok(leg)
    }

    fn moment(&mut self) -> Parsed<Moment> {
        let (mut event, mut after, mut batch, mut done) = (None, None, None, None);
        loop {
            let (key, place) = self.word();
            let begins = matches!(key, "delta" | "update" | "log");
            if begins && event.is_some() {
                return self.fail(place, "a process is killed at one event");
            }
            match key {
                "delta" => event = Some(Occurrence::Delta(self.name(key)?)),
                "update" => event = Some(Occurrence::Update { name: self.name(key)?, batch: 1 }),
                "log" => event = Some(Occurrence::Log(self.quoted()?)),
                "batch" => batch = Some((self.value::<u32>(key)?, place.clone())),
                "done" => done = Some(place.clone()),
                "ms" => after = Some(Duration::from_millis(self.value(key)?)),
                _ => {
                    let problem = "expected a moment: `delta=…`, `update=…[,batch=N|,done]`, `log=\"…\"` or `ms=N`";
                    return self.fail(place, problem);
                }
            }
            self.blank();
            if self.takes(',') {
                continue;
            }
            self.expect(')', "`,` or `)`")?;
            match (&mut event, batch) {
                (_, None) => {}
                (Some(Occurrence::Update { batch: of, .. }), Some((number, _))) if number > 0 => *of = number,
                (_, Some((0, place))) => return self.fail(place, "batches are counted from 1"),
                (_, Some((_, place))) => return self.fail(place, "only a background update has batches"),
            }
            event = match (event, done) {
                (event, None) => event,
                (Some(Occurrence::Update { name, batch: 1 }), Some(_)) => Some(Occurrence::Updated(name)),
                (_, Some(place)) => return self.fail(place, "a background update is done, and not one of its batches"),
            };
            return Ok(Moment { event, after: after.unwrap_or_default() });
        }
    }

    /// A delta's or an update's name.
    fn name(&mut self, key: &str) -> Parsed<String> {
        let name: String = self.value(key)?;
        if name.is_empty() { self.fail(self.at..self.at, format!("`{key}`: expected a name")) } else { Ok(name) }
    }

    /// A text as JSON has it.
    fn quoted(&mut self) -> Parsed<String> {
        self.expect('=', "`log=` and a text in quotation marks")?;
        let begin = self.at;
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        match values.next() {
            Some(Ok(text)) => {
                self.at += values.byte_offset();
                Ok(text)
            }
            _ => self.fail(begin..self.text.len(), "expected a text in quotation marks: `log=\"…\"`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use images::Suite;
    use proptest::prelude::*;

    use super::*;
    use crate::path::Archetype;

    fn version() -> impl Strategy<Value = Version> {
        let candidate = prop::option::of(1..4_u32);
        (0..2_u32, 0..200_u32, 0..4_u32, candidate).prop_map(|(major, minor, patch, candidate)| {
            let candidate = candidate.map_or(String::new(), |number| format!("rc{number}"));
            format!("{major}.{minor}.{patch}{candidate}").parse().unwrap()
        })
    }

    fn moment() -> impl Strategy<Value = Moment> {
        let event = prop_oneof![
            "[0-9]{2}/[0-9]{2}[a-z_.]{0,8}".prop_map(Occurrence::Delta),
            ("[a-z_]{1,12}", 1..9_u32).prop_map(|(name, batch)| Occurrence::Update { name, batch }),
            "[a-z_]{1,12}".prop_map(Occurrence::Updated),
            "\\PC{0,12}".prop_map(Occurrence::Log),
        ];
        (prop::option::of(event), 0..5000_u64)
            .prop_map(|(event, after)| Moment { event, after: Duration::from_millis(after) })
    }

    fn ending() -> impl Strategy<Value = Ending> {
        prop_oneof![
            Just(Ending::Stopped),
            (0..5_u32).prop_map(|batches| Ending::Undrained { batches }),
            Just(Ending::Killed),
            moment().prop_map(Ending::KilledAt),
        ]
    }

    fn path() -> impl Strategy<Value = Path> {
        let leg = (version(), prop::option::of(version()), ending()).prop_map(|(release, workers, ending)| Leg {
            release,
            ported: false,
            workers,
            ending,
        });
        let head = (
            prop_oneof![
                Just((Database::Sqlite, None)),
                prop::option::of(9..18_u32).prop_map(|major| (Database::Postgres, major))
            ],
            prop::option::of(prop::sample::select(&Archetype::ALL[..])),
            prop::option::of(prop::sample::select(&Suite::ALL[..])),
            (prop::option::of(any::<u64>()), prop::sample::select(vec![Extent::Whole, Extent::Small, Extent::None])),
        );
        (head, prop::collection::vec(leg, 1..6), any::<prop::sample::Index>(), any::<bool>()).prop_map(
            |(((database, postgres), config, suite, (seed, estate)), mut legs, index, port)| {
                if port && database == Database::Sqlite && legs.len() > 1 {
                    let at = 1 + index.index(legs.len() - 1);
                    legs[at].ported = true;
                }
                Path { database, postgres, config, suite, estate, seed, legs }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_printed_can_be_pasted_back(path in path()) {
            let printed = path.to_string();
            prop_assert_eq!(printed.parse::<Path>().map_err(|error| error.to_string()), Ok(path));
        }

        #[test]
        fn no_text_is_too_odd_to_be_refused_in_words(text in "\\PC{0,40}") {
            if let Err(error) = text.parse::<Path>() {
                prop_assert!(error.to_string().contains('^'));
            }
        }
    }

    #[test]
    fn blanks_do_not_matter() {
        let loose = "sqlite :1.52.0 undrained>1.53.0 kill( update=x , batch=2 , ms=5 )>  1.53.0 ";
        let path: Path = loose.parse().unwrap();
        assert_eq!(path.to_string(), "sqlite: 1.52.0 undrained > 1.53.0 kill(update=x,batch=2,ms=5) > 1.53.0");
        assert_eq!(path.slug(), "1.52.0-undrained..1.53.0-kill-update=x-batch=2-ms=5..1.53.0");
    }

    #[test]
    fn an_update_is_done_after_its_batches() {
        let path: Path = "sqlite: 1.53.0 kill( ms=5, update=x, done )".parse().unwrap();
        assert_eq!(path.to_string(), "sqlite: 1.53.0 kill(update=x,done,ms=5)");
        assert_eq!(path.slug(), "1.53.0-kill-update=x-done-ms=5");
    }

    #[test]
    fn errors_point_at_the_place() {
        let wrong = [
            "mysql: 1.52.0",
            "sqlite-3: 1.52.0",
            "sqlite 1.52.0",
            "sqlite:",
            "sqlite config=fancy: 1.52.0",
            "sqlite estate=large: 1.52.0",
            "sqlite estate=none estate=small: 1.52.0",
            "sqlite: 1.52.0 undraned > 1.53.0",
            "sqlite: 1.52.0 > 1.53.x",
            "sqlite: 1.52.0 kill(dleta=68/05) > 1.53.0",
            "sqlite: 1.52.0 kill(delta=68/05,batch=2) > 1.53.0",
            "sqlite: 1.52.0 kill(delta=68/05,done) > 1.53.0",
            "sqlite: 1.52.0 kill(update=x,batch=2,done) > 1.53.0",
            "sqlite: 1.52.0 kill(log=ready) > 1.53.0",
            "sqlite: 1.52.0 kill undrained > 1.53.0",
            "postgres: 1.52.0 > port 1.53.0",
        ];
        let errors: Vec<String> = wrong.iter().map(|text| text.parse::<Path>().unwrap_err().to_string()).collect();
        insta::assert_snapshot!(errors.join("\n\n"));
    }
}
