//! What a workspace was like: its files, folders and links, without the contents.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::object::ObjectId;

/// The bytes of a path, or of what a link leads to. Names need not be text: what is none of UTF-8 is written as `%` and two
/// hexadecimal digits, and so is `%`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathBytes(Vec<u8>);

/// Text that is no path as it is written here.
#[derive(Debug, thiserror::Error)]
#[error("not a path: a `%` is not followed by two hexadecimal digits")]
pub struct InvalidPathBytes;

impl PathBytes {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As the file system takes it.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// As people read it: what is not UTF-8 in it is replaced.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Debug for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown(), f)
    }
}

impl From<PathBytes> for String {
    fn from(path: PathBytes) -> Self {
        let mut text = Self::new();
        for chunk in path.0.utf8_chunks() {
            text.push_str(&chunk.valid().replace('%', "%25"));
            for byte in chunk.invalid() {
                // Text takes all that is written to it.
                let _written = write!(text, "%{byte:02x}");
            }
        }
        text
    }
}

impl TryFrom<String> for PathBytes {
    type Error = InvalidPathBytes;

    fn try_from(text: String) -> Result<Self, InvalidPathBytes> {
        if !text.contains('%') {
            return Ok(Self(text.into_bytes()));
        }
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or(InvalidPathBytes)?;
                bytes.push(u8::try_from(high * 16 + low).map_err(|_too_high| InvalidPathBytes)?);
            } else {
                bytes.push(byte);
            }
        }
        Ok(Self(bytes))
    }
}

/// One of a workspace's files, folders and links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path in the workspace.
    pub path: PathBytes,
    /// What it is.
    pub is: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A folder.
    Folder {
        /// Its permissions.
        mode: u32,
    },
    /// A file.
    File {
        /// Its permissions.
        mode: u32,
        /// How long it is, in bytes.
        size: u64,
        /// What it holds.
        holds: ObjectId,
    },
    /// A link.
    Link {
        /// What it leads to.
        to: PathBytes,
    },
    /// Something that is not kept: it stays as it is when it is gone back.
    NotKept {
        /// Why.
        why: NotKept,
        /// How long it was, in bytes.
        size: u64,
        /// When it was changed: seconds and nanoseconds.
        changed: (i64, i64),
    },
}

/// Why something is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotKept {
    /// The file is larger than is kept of one.
    TooLarge,
    /// The server may not read it.
    Unreadable,
    /// It did not hold still.
    Changing,
    /// It lies in more folders than are gone into.
    TooDeep,
    /// It is a pipe, a socket or a device.
    Special,
}

/// What a workspace was like: each folder before what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tree {
    /// Its files, folders and links.
    pub entries: Vec<Entry>,
}

impl Tree {
    /// How many files it has, and how long they are together in bytes.
    #[must_use]
    pub fn files(&self) -> (u64, u64) {
        let sizes = self.entries.iter().filter_map(|entry| match entry.is {
            Kind::File { size, .. } => Some(size),
            _ => None,
        });
        sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
    }

    /// What is not kept.
    pub fn not_kept(&self) -> impl Iterator<Item = (&PathBytes, NotKept)> {
        self.entries.iter().filter_map(|entry| match entry.is {
            Kind::NotKept { why, .. } => Some((&entry.path, why)),
            _ => None,
        })
    }

    /// What its files hold.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.entries.iter().filter_map(|entry| match entry.is {
            Kind::File { holds, .. } => Some(holds),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_read_back_from_how_they_are_written(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let path = PathBytes::new(bytes);
            let text = String::from(path.clone());
            prop_assert_eq!(PathBytes::try_from(text).unwrap(), path);
        }
    }

    #[test]
    fn what_is_no_such_text_is_refused() {
        for text in ["%", "%4", "%zz", "a%"] {
            assert!(PathBytes::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
