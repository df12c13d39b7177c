//! Repositories in workspaces, as `git` tells of them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// The id of a commit: hexadecimal digits only, so that it can stand where an option could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitId(String);

/// Text that is no commit's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a commit")]
pub struct InvalidCommitId;

impl CommitId {
    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CommitId {
    type Err = InvalidCommitId;

    fn from_str(text: &str) -> Result<Self, InvalidCommitId> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        // SHA-1, SHA-256.
        if matches!(text.len(), 40 | 64) && is_hex {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCommitId)
        }
    }
}

/// How a repository stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitStatus {
    /// The branch; none where a commit is checked out.
    pub branch: Option<String>,
    /// The commit that is checked out; none before the first.
    pub head: Option<String>,
    /// The branch that this one follows.
    pub upstream: Option<String>,
    /// How many commits it has that the other has not.
    pub ahead: u64,
    /// How many commits the other has that it has not.
    pub behind: u64,
    /// What changed.
    pub changes: Vec<GitChange>,
    /// Whether something is left out because there is too much of it.
    pub truncated: bool,
}

/// A path whose content, or place, is not as it was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitChange {
    /// Its path.
    pub path: String,
    /// Its path before it was renamed or copied.
    pub old_path: Option<String>,
    /// What is prepared for the next commit.
    pub index: Option<GitChangeKind>,
    /// What is not prepared.
    pub worktree: Option<GitChangeKind>,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GitChangeKind {
    /// It is new.
    Added,
    /// Its content or its mode changed.
    Modified,
    /// It was removed.
    Deleted,
    /// It has another path.
    Renamed,
    /// It is a copy of another.
    Copied,
    /// It was a file and is a link, or the other way round.
    TypeChanged,
    /// A merge left it with several contents.
    Unmerged,
    /// The repository does not know it.
    Untracked,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCommit {
    /// Its id.
    pub id: String,
    /// Those that it comes after.
    pub parents: Vec<String>,
    /// Who wrote what it holds.
    pub author_name: String,
    /// The author's address.
    pub author_email: String,
    /// When it was written, by the author's clock.
    pub authored_at: DateTime<Utc>,
    /// The first line of its message.
    pub subject: String,
    /// The rest of its message.
    pub body: String,
}

/// Where a list of commits goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// The commit that it began with.
    pub from: CommitId,
    /// How many have been told.
    pub told: u32,
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.from, self.told)
    }
}

impl FromStr for LogPlace {
    type Err = InvalidCommitId;

    fn from_str(text: &str) -> Result<Self, InvalidCommitId> {
        let (from, told) = text.split_once(':').ok_or(InvalidCommitId)?;
        Ok(Self {
            from: from.parse()?,
            told: told.parse().map_err(|_not_a_number| InvalidCommitId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hexadecimal_digits_are_a_commits_id() {
        for good in [
            "0123456789abcdef0123456789abcdef01234567".to_owned(),
            "a".repeat(64),
        ] {
            assert_eq!(good.parse::<CommitId>().unwrap().as_str(), good);
        }
        for bad in ["", "HEAD", "--output=x", "0123", &"A".repeat(40), &"g".repeat(40)] {
            assert_eq!(bad.parse::<CommitId>(), Err(InvalidCommitId), "{bad}");
        }
    }

    #[test]
    fn a_place_in_a_log_reads_back() {
        let place = LogPlace {
            from: "b".repeat(40).parse().unwrap(),
            told: 7,
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!("7".parse::<LogPlace>(), Err(InvalidCommitId));
    }
}
