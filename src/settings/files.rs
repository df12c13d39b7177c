//! `files`: files of workspaces over the API.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, require};

/// Files of workspaces over the API. How much a workspace may hold at all is `isolation.disk_max_bytes` and
/// `isolation.disk_max_entries`, or the tenant's own limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesSection {
    /// The longest file that is written, in bytes.
    pub max_file_bytes: u64,
    /// The most files of one upload.
    pub upload_max_files: usize,
    /// How long a body that brings files may be silent.
    #[serde(with = "duration")]
    pub upload_patience: Duration,
    /// How many levels of folders are looked into at most: by lists, searches and archives.
    pub depth_max: u32,
    /// How many files and folders are looked at for one page of a list.
    pub list_max_seen: usize,
    /// Longer files are not searched, in bytes.
    pub search_max_file_bytes: u64,
    /// How long a search may take; what was found until then is told.
    #[serde(with = "duration")]
    pub search_timeout: Duration,
    /// How much of a line that matches is told, in bytes.
    pub search_line_max_bytes: usize,
    /// The longest archive that is taken, in bytes, as it comes.
    pub archive_max_bytes: u64,
    /// The most that an archive which is taken may hold, in bytes, unpacked.
    pub archive_max_unpacked_bytes: u64,
    /// The most files and folders that an archive which is taken may hold.
    pub archive_max_entries: u64,
    /// How many archives are packed, unpacked, and how many searches made, at once.
    pub heavy_max: usize,
    /// How long a client may leave an archive that is packed for it unread.
    #[serde(with = "duration")]
    pub archive_patience: Duration,
}

impl Default for FilesSection {
    fn default() -> Self {
        Self {
            max_file_bytes: 1024 * 1024 * 1024,
            upload_max_files: 100,
            upload_patience: Duration::from_secs(30),
            depth_max: 128,
            list_max_seen: 100_000,
            search_max_file_bytes: 4 * 1024 * 1024,
            search_timeout: Duration::from_secs(10),
            search_line_max_bytes: 1000,
            archive_max_bytes: 512 * 1024 * 1024,
            archive_max_unpacked_bytes: 2 * 1024 * 1024 * 1024,
            archive_max_entries: 50_000,
            heavy_max: 8,
            archive_patience: Duration::from_mins(1),
        }
    }
}

impl FilesSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for (good, name) in [
            (self.max_file_bytes > 0, "max_file_bytes"),
            (self.upload_max_files > 0, "upload_max_files"),
            (!self.upload_patience.is_zero(), "upload_patience"),
            (self.depth_max > 0, "depth_max"),
            (self.list_max_seen > 0, "list_max_seen"),
            (self.search_max_file_bytes > 0, "search_max_file_bytes"),
            (!self.search_timeout.is_zero(), "search_timeout"),
            (self.search_line_max_bytes > 0, "search_line_max_bytes"),
            (self.archive_max_bytes > 0, "archive_max_bytes"),
            (self.archive_max_unpacked_bytes > 0, "archive_max_unpacked_bytes"),
            (self.archive_max_entries > 0, "archive_max_entries"),
            (self.heavy_max > 0, "heavy_max"),
            (!self.archive_patience.is_zero(), "archive_patience"),
        ] {
            require(good, problems, &format!("files.{name}: must be more than 0"));
        }
        require(
            self.depth_max <= DEPTH_MOST,
            problems,
            &format!("files.depth_max: must be at most {DEPTH_MOST}"),
        );
    }
}

/// The most levels that can be looked into: each takes an open folder, and room on a thread's stack.
const DEPTH_MOST: u32 = 256;
