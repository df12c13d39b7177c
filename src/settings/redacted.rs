//! How settings are shown: everything in force, secrets only as being set.

use secrecy::SecretString;
use serde::Serializer;

use super::Settings;

/// Writes that a secret is set, or null.
#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
pub(super) fn redact<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => serializer.serialize_str("[redacted]"),
        None => serializer.serialize_none(),
    }
}

impl Settings {
    /// What is in force, as YAML, without secrets.
    pub fn redacted_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }
}
