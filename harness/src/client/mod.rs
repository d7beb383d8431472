//! Clients of what a deployment offers: Matrix, admin API, SQL, metrics, mail.

mod answer;
mod authentication_service;
mod browser;
mod forward_proxy;
pub(crate) mod live;
mod mail;
mod matrix;
mod patience;
pub use matrix::escape;
pub(crate) mod metrics;
mod recorder;
mod transcript;

pub use answer::{Answer, UnexpectedAnswer};
pub use authentication_service::AuthenticationService;
pub use browser::{Browser, Page};
pub use forward_proxy::ForwardProxy;
pub use live::Live;
pub use mail::{Mail, Mailbox};
pub(crate) use matrix::Identity;
pub use matrix::{Client, Request};
pub use patience::{PATIENCE, SCHEDULED, eventually, within};
pub use recorder::Recorder;
pub(crate) use transcript::Transcript;
