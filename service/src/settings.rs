//! Settings: flags, then environment, then file, from text as typed to values that are known to be good.
//!
//! A mistake is reported as one sentence that names the key, the value, and what would be right.

mod address;
pub mod duration;
mod export;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use address::{Host, ListenAddress, UpstreamAddress};
pub use export::{cap, expiry, export, ratio};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Wrong flags, or `--help` or `--version`.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file is not there or not readable.
    #[error("--config: {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key that does not exist.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A value is wrong.
    #[error("{key}: {value:?} {problem}")]
    Invalid {
        /// The flag, or the key and its file.
        key: String,
        /// As typed.
        value: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// `OTEL_RESOURCE_ATTRIBUTES` is wrong.
    #[error(transparent)]
    Resource(#[from] kafkascope_telemetry::InvalidResource),
    /// A flag or variable of the export is wrong.
    #[error(transparent)]
    Export(#[from] kafkascope_telemetry::otlp::SettingsError),
    /// A setting without which there is nothing to do.
    #[error("{0}")]
    Missing(&'static str),
}

/// The settings in a TOML file.
///
/// # Errors
/// It is not there, not TOML, or has a key that does not exist.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|error| SettingsError::Malformed { path: path.to_owned(), message: error.to_string() })
}

/// A number of things of which there is at least one.
///
/// # Errors
/// What is wrong with it.
pub fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_less_clear| "is not a whole number from 1".to_owned())
}

/// Yes or no.
///
/// # Errors
/// What is wrong with it.
pub fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_less_clear| "is not one of true, false".to_owned())
}

/// Checks a value that may be absent.
pub trait Check {
    /// The value that `parse` makes of it.
    ///
    /// # Errors
    /// What `parse` finds wrong, with the key and the text.
    fn check<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, SettingsError>;
}

impl Check for Option<Value> {
    fn check<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, SettingsError> {
        self.as_ref().map(|value| value.check(key, parse)).transpose()
    }
}

/// What a structure of values as typed needs besides: `or`, which takes what one lacks from another, and `came_from`.
#[macro_export]
macro_rules! as_typed {
    ($flags:ident: one $($one:ident)*, many $($many:ident)*, flag $($flag:ident)*) => {
        impl $flags {
            /// `self`, and what it lacks from `other`.
            pub(super) fn or(self, other: Self) -> Self {
                Self {
                    $($one: self.$one.or(other.$one),)*
                    $($many: self.$many.or(other.$many),)*
                    $($flag: self.$flag.or(other.$flag),)*
                }
            }

            /// Remembers the file that the values came from, for messages.
            pub(super) fn came_from(&mut self, file: &std::path::Path) {
                $(self.$one.iter_mut().for_each(|value| value.came_from(file));)*
                $(self.$many.iter_mut().flatten().for_each(|value| value.came_from(file));)*
            }
        }
    };
}

/// A value as typed.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Scalar")]
pub struct Value {
    text: String,
    /// Where it stands, unless in a flag or the environment.
    file: Option<PathBuf>,
}

impl Value {
    /// Remembers the file that it stands in, for messages.
    pub fn came_from(&mut self, file: &Path) {
        self.file = Some(file.to_owned());
    }

    /// The value that `parse` makes of it.
    ///
    /// # Errors
    /// What `parse` finds wrong, with the key and the text.
    pub fn check<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, SettingsError> {
        parse(&self.text).map_err(|problem| {
            let key = match &self.file {
                Some(file) => format!("{}: {key}", file.display()),
                None => format!("--{key} (KAFKASCOPE_{})", key.replace('-', "_").to_uppercase()),
            };
            SettingsError::Invalid { key, value: self.text.clone(), problem }
        })
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self { text, file: None }
    }
}

/// A TOML file may say `workers = 2` or `workers = "2"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Whole(i64),
    Real(f64),
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        Self::from(match scalar {
            Scalar::Text(text) => text,
            Scalar::Whole(number) => number.to_string(),
            Scalar::Real(number) => number.to_string(),
        })
    }
}
