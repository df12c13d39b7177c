//! Transcripts: what the CLI writes down of a conversation, so that it can go on with it later.
//!
//! A transcript is a few files of JSON lines: the conversation itself, and one for each sub-agent. Entries are carried
//! verbatim; of their content only the `uuid` is read, by which an entry that comes twice is known.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Where in a private home a file of a transcript lies: below `projects`, with `/` between the parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TranscriptPath(String);

/// Text that is no path of a transcript's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a path of a transcript's file: expected a relative path without `..`, of at most 1024 bytes")]
pub struct InvalidPath;

impl TranscriptPath {
    /// The longest path, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of `file`, which lies below `projects`.
    pub fn below(projects: &Path, file: &Path) -> Result<Self, InvalidPath> {
        let relative = file.strip_prefix(projects).map_err(|_outside| InvalidPath)?;
        relative.to_str().ok_or(InvalidPath)?.parse()
    }
}

impl fmt::Display for TranscriptPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TranscriptPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |part: &str| !part.is_empty() && part != "." && part != "..";
        if text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) || !text.split('/').all(good) {
            return Err(InvalidPath);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TranscriptPath {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TranscriptPath> for String {
    fn from(path: TranscriptPath) -> Self {
        path.0
    }
}

/// One line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptEntry {
    uuid: Option<Uuid>,
    json: String,
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPlace {
    /// Its file.
    pub path: TranscriptPath,
    /// Its number in the file, from 1.
    pub position: u64,
}

impl fmt::Display for EntryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of {}", self.position, self.path)
    }
}

/// An entry that is torn, or no entry at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} cannot be read: {reason}")]
pub struct BadEntry {
    /// Which one.
    pub place: EntryPlace,
    /// What is wrong with it.
    pub reason: String,
}

impl TranscriptEntry {
    /// The entry that this text is: one JSON object.
    ///
    /// # Errors
    /// With what is wrong, in words.
    pub fn parse(json: String) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Known {
            #[serde(default)]
            uuid: Option<serde_json::Value>,
        }
        if !json.starts_with('{') {
            return Err("it is not a JSON object".to_owned());
        }
        // Reads all of it, so that a torn one is noticed.
        let known: Known = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        if json.contains(['\n', '\r']) {
            return Err("it is more than one line".to_owned());
        }
        let uuid = known
            .uuid
            .as_ref()
            .and_then(|uuid| Uuid::try_parse(uuid.as_str()?).ok());
        Ok(Self { uuid, json })
    }

    /// By what it is known when it comes twice.
    #[must_use]
    pub const fn uuid(&self) -> Option<Uuid> {
        self.uuid
    }

    /// The entry, as it was written.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.json
    }
}

/// One file of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptFile {
    /// Where it lies.
    pub path: TranscriptPath,
    /// Its lines, in order.
    pub entries: Vec<TranscriptEntry>,
}

/// What is kept of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    /// Its files, by their paths.
    pub files: Vec<TranscriptFile>,
    /// The entries that were stored and cannot be read any more. All others are in `files`.
    pub damaged: Vec<BadEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_folder() {
        let projects = Path::new("/home/.claude/projects");
        let below = |file: &str| TranscriptPath::below(projects, Path::new(file));
        assert_eq!(
            below("/home/.claude/projects/-w/a.jsonl").unwrap().as_str(),
            "-w/a.jsonl"
        );
        for wrong in [
            "/etc/passwd",
            "/home/.claude/projects",
            "/home/.claude/projects/../x",
            "/home/.claude/projects/a\nb",
        ] {
            assert_eq!(below(wrong), Err(InvalidPath), "{wrong}");
        }
        for wrong in ["", "/a", "a//b", "./a", "a/..", &"x".repeat(1025)] {
            assert!(wrong.parse::<TranscriptPath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_entry_is_one_json_object_and_is_kept_as_it_was_written() {
        let text = r#"{"b":1.50, "a":"\u0041","uuid":"0199e2c8-a5b0-7c3f-9d1e-2a4b6c8d0e1f"}"#;
        let entry = TranscriptEntry::parse(text.to_owned()).unwrap();
        assert_eq!(entry.as_json(), text);
        assert!(entry.uuid().is_some());
        assert_eq!(
            TranscriptEntry::parse(r#"{"uuid":7}"#.to_owned()).unwrap().uuid(),
            None
        );
        for torn in ["", "{", r#"{"a":"#, "[]", "7", "{}{}", "{\n}"] {
            assert!(TranscriptEntry::parse(torn.to_owned()).is_err(), "{torn}");
        }
    }
}
