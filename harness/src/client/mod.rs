//! Clients of what a deployment offers: Matrix, admin API, SQL, metrics, mail.

mod answer;
mod browser;
pub(crate) mod database;
mod forward_proxy;
mod mail;
mod matrix;
pub use matrix::escape;
pub(crate) mod metrics;
mod recorder;
mod transcript;

pub use answer::{Answer, UnexpectedAnswer};
pub use browser::{Browser, Page};
pub use forward_proxy::ForwardProxy;
pub use mail::{Mail, Mailbox};
pub(crate) use matrix::Identity;
pub use matrix::{Client, Request};
pub use recorder::Recorder;
pub(crate) use transcript::Transcript;
