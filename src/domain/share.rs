//! Links by which a session is shown to people who have no credential.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{KeyDigest, SessionId, ShareId};

/// A link by which a session is shown, as it is kept: what it is opened with is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Its id.
    pub id: ShareId,
    /// The one session that it shows.
    pub session: SessionId,
    /// Whether it shows the session's files too.
    pub files: bool,
    /// What its token is recognised by.
    pub digest: KeyDigest,
    /// What the credential is called that made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Share {
    /// Whether it was revoked, or has ended.
    #[must_use]
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_some() || self.expires_at <= now
    }
}
