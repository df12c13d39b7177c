//! The contents of files, each kept once, under the digest of what it holds.
//!
//! New ones gather in a folder of their own and come to their places together, once the disk has them: what has its place
//! is whole, also after a crash.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Patience;
use super::own::{create_new, make_folder};

/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// Up to how many new files each is waited for by itself; more are waited for with all that the disk is told.
const FEW: usize = 32;

/// The SHA-256 of what a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId([u8; 32]);

/// Text that is no digest.
#[derive(Debug, thiserror::Error)]
#[error("not a digest: expected 64 hexadecimal digits")]
pub struct InvalidDigest;

impl ObjectId {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(*self))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ObjectId> for String {
    /// A tree has thousands: not one digit goes through a formatter.
    fn from(id: ObjectId) -> Self {
        let digit = |value: u8| {
            char::from(if value < 10 {
                b'0' + value
            } else {
                b'a' + value - 10
            })
        };
        let mut text = Self::with_capacity(2 * id.0.len());
        for byte in id.0 {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 0xf));
        }
        text
    }
}

impl TryFrom<String> for ObjectId {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl FromStr for ObjectId {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let digits = text.as_bytes();
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        if digits.len() != 64 {
            return Err(InvalidDigest);
        }
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let &[high, low] = pair else {
                return Err(InvalidDigest);
            };
            *byte = (digit(high).ok_or(InvalidDigest)? << 4) | digit(low).ok_or(InvalidDigest)?;
        }
        Ok(Self(id))
    }
}

/// The contents of a session's files.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    folder: PathBuf,
}

/// A content that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) id: ObjectId,
    pub(super) bytes: u64,
    /// Whether it is of one moment, whoever wrote to the file meanwhile.
    pub(super) is_whole: bool,
}

impl Objects {
    pub(super) fn of(session: &Path) -> Self {
        Self {
            folder: session.join("objects"),
        }
    }

    fn path(&self, id: ObjectId) -> PathBuf {
        let text = id.to_string();
        let (first, rest) = text.split_at_checked(2).unwrap_or_default();
        self.folder.join(first).join(rest)
    }

    pub(super) fn has(&self, id: ObjectId) -> bool {
        self.path(id).is_file()
    }

    pub(super) fn open(&self, id: ObjectId) -> io::Result<File> {
        File::open(self.path(id))
    }

    /// All that have a place: which, and how long.
    pub(super) fn all(&self) -> io::Result<Vec<(ObjectId, u64)>> {
        let mut all = Vec::new();
        for folder in entries(&self.folder)? {
            let first = folder.file_name();
            for entry in entries(&folder.path())? {
                let name = format!(
                    "{}{}",
                    first.to_string_lossy(),
                    entry.file_name().to_string_lossy()
                );
                // What has no digest for a name is nobody's.
                if let Ok(id) = name.parse() {
                    all.push((id, entry.metadata()?.len()));
                }
            }
        }
        Ok(all)
    }

    pub(super) fn remove(&self, id: ObjectId) -> io::Result<()> {
        match std::fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The entries of a folder; of none where there is none.
fn entries(folder: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// New contents that have no place yet.
#[derive(Debug)]
pub(super) struct NewObjects<'a> {
    objects: &'a Objects,
    /// Where they are until then.
    waiting: PathBuf,
    new: HashMap<ObjectId, PathBuf>,
    new_bytes: u64,
    count: u64,
    /// Whether the file system can share content between files, as far as is known.
    shares: bool,
}

impl<'a> NewObjects<'a> {
    pub(super) fn new(objects: &'a Objects, waiting: PathBuf) -> Self {
        Self {
            objects,
            waiting,
            new: HashMap::new(),
            new_bytes: 0,
            count: 0,
            shares: true,
        }
    }

    /// How long they are together, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.new_bytes
    }

    /// Takes what a file holds, unless it is longer than `max_bytes`.
    pub(super) fn add(
        &mut self,
        file: &mut File,
        max_bytes: u64,
        patience: &Patience,
    ) -> io::Result<Option<Content>> {
        self.count += 1;
        let path = self.waiting.join(self.count.to_string());
        let mut copy = create_new(&path)?;
        self.shares = self.shares && share(&copy, &*file);
        let is_whole = self.shares;
        let read = if is_whole {
            digest(&mut copy, &mut io::sink(), max_bytes, patience)
        } else {
            digest(file, &mut copy, max_bytes, patience)
        };
        let content = match read {
            Ok(Some((id, bytes))) => Content { id, bytes, is_whole },
            Ok(None) => {
                std::fs::remove_file(&path)?;
                return Ok(None);
            }
            Err(error) => {
                let _gone = std::fs::remove_file(&path);
                return Err(error);
            }
        };
        if self.new.contains_key(&content.id) || self.objects.has(content.id) {
            std::fs::remove_file(&path)?;
        } else {
            self.new.insert(content.id, path);
            self.new_bytes += content.bytes;
        }
        Ok(Some(content))
    }

    /// Waits until the disk has them, and gives them their places.
    pub(super) fn place(self) -> io::Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let many = self.new.len() > FEW;
        if many {
            sync_all(&self.waiting)?;
        } else {
            self.new
                .values()
                .try_for_each(|path| File::open(path)?.sync_all())?;
        }
        let mut touched = BTreeSet::from([self.objects.folder.clone()]);
        for (id, path) in &self.new {
            let place = self.objects.path(*id);
            if let Some(folder) = place.parent() {
                if touched.insert(folder.to_owned()) {
                    make_folder(folder)?;
                }
                std::fs::rename(path, &place)?;
            }
        }
        if many {
            sync_all(&self.objects.folder)
        } else {
            touched
                .iter()
                .try_for_each(|folder| File::open(folder)?.sync_all())
        }
    }
}

/// Waits until the disk has all that its file system was told.
pub(super) fn sync_all(folder: &Path) -> io::Result<()> {
    sync_file_system(File::open(folder)?)
}

/// The same, by a handle.
#[cfg(target_os = "linux")]
pub(super) fn sync_file_system(handle: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(handle)?)
}

/// The same, by a handle.
#[cfg(not(target_os = "linux"))]
pub(super) fn sync_file_system(_handle: impl AsFd) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Has a new file share the content of another, where the file system can.
#[cfg(target_os = "linux")]
pub(super) fn share(new: impl AsFd, with: impl AsFd) -> bool {
    rustix::fs::ioctl_ficlone(new, with).is_ok()
}

/// Has a new file share the content of another, where the file system can.
#[cfg(not(target_os = "linux"))]
pub(super) fn share(_new: impl AsFd, _with: impl AsFd) -> bool {
    false
}

/// Copies to the end, and tells the digest and the length; `None` when it is longer than may be.
pub(super) fn digest(
    from: &mut impl Read,
    to: &mut impl Write,
    max_bytes: u64,
    patience: &Patience,
) -> io::Result<Option<(ObjectId, u64)>> {
    let mut piece = vec![0; PIECE_BYTES];
    let (mut digest, mut bytes) = (Sha256::new(), 0_u64);
    loop {
        patience.check()?;
        let read = match from.read(&mut piece) {
            Ok(0) => return Ok(Some((ObjectId(digest.finalize().into()), bytes))),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = piece.get(..read).unwrap_or_default();
        bytes += read as u64;
        if bytes > max_bytes {
            return Ok(None);
        }
        digest.update(piece);
        to.write_all(piece)?;
    }
}
