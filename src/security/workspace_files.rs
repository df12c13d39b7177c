//! Single files of a workspace, through its handle: nothing outside of it is read or written.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use cap_std::fs::{Dir, MetadataExt as _, OpenOptions, OpenOptionsExt as _};

use super::ownership;
use super::workspace::{WorkspaceError, explain};
use crate::domain::Subdir;

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("there is no such file or folder")]
    Missing,
    /// The path leads out of the workspace.
    #[error("the path leads out of the workspace")]
    Outside,
    /// The way to it cannot be gone.
    #[error("it cannot be opened")]
    Path(#[source] WorkspaceError),
    /// It is a folder, a pipe, or the like.
    #[error("it is not a file")]
    NotAFile,
    /// It is longer than files may be here.
    #[error("it has more than {max_bytes} bytes")]
    TooLong {
        /// How long they may be, in bytes.
        max_bytes: u64,
    },
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match explain(error) {
            WorkspaceError::Missing => Self::Missing,
            WorkspaceError::Outside => Self::Outside,
            error => Self::Path(error),
        }
    }
}

/// Reads a file. May block.
pub fn read(dir: &Dir, path: &Subdir, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    // Looked at before it is opened: opening a pipe waits for its other end.
    if !dir.metadata(path.as_str())?.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut data = Vec::new();
    let file = dir.open(path.as_str())?;
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut data)?;
    if data.len() as u64 > max_bytes {
        return Err(FileError::TooLong { max_bytes });
    }
    Ok(data)
}

/// Writes a file, in place of one that is there; whoever reads meanwhile sees either. It belongs to whom its folder
/// belongs. `part` is what it is called until it is whole. May block.
pub fn write(dir: &Dir, path: &Subdir, data: &[u8], max_bytes: u64, part: &str) -> Result<(), FileError> {
    if data.len() as u64 > max_bytes {
        return Err(FileError::TooLong { max_bytes });
    }
    let whole = Path::new(path.as_str());
    let name = whole.file_name().ok_or(FileError::NotAFile)?;
    let folder = match whole.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => dir.open_dir(parent)?,
        None => dir.try_clone()?,
    };
    match folder.symlink_metadata(name) {
        Ok(there) if there.is_dir() => return Err(FileError::NotAFile),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = folder.open_with(part, &options)?;
    let written = file.write_all(data).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| {
        if rustix::process::geteuid().is_root() {
            let owner = folder.dir_metadata()?;
            ownership::give_file(&file, owner.uid())?;
        }
        folder.rename(part, &folder, name)
    });
    if let Err(error) = placed {
        // Nothing half written is left.
        let _gone = folder.remove_file(part);
        return Err(error.into());
    }
    Ok(())
}

/// Removes a file. A link is removed, not what it leads to. May block.
pub fn remove(dir: &Dir, path: &Subdir) -> Result<(), FileError> {
    if dir.symlink_metadata(path.as_str())?.is_dir() {
        return Err(FileError::NotAFile);
    }
    Ok(dir.remove_file(path.as_str())?)
}

/// The names of what lies in a folder, in order, at most so many. May block.
pub fn list(dir: &Dir, path: Option<&Subdir>, most: usize) -> Result<Vec<String>, FileError> {
    let entries = match path {
        Some(path) => dir.read_dir(path.as_str())?,
        None => dir.entries()?,
    };
    let mut names = Vec::new();
    for entry in entries.take(most) {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    fn path(path: &str) -> Subdir {
        path.parse().unwrap()
    }

    #[test]
    fn a_file_is_written_read_listed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        for text in ["one", "another"] {
            write(&dir, &path("a/file"), text.as_bytes(), 7, ".part").unwrap();
            assert_eq!(read(&dir, &path("a/file"), 7).unwrap(), text.as_bytes());
        }
        assert_eq!(list(&dir, Some(&path("a")), 9).unwrap(), ["file"]);
        assert_eq!(list(&dir, None, 9).unwrap(), ["a"]);
        let too_long = write(&dir, &path("a/file"), b"too long", 7, ".part");
        assert!(matches!(too_long, Err(FileError::TooLong { max_bytes: 7 })));
        assert!(matches!(
            read(&dir, &path("a/file"), 6),
            Err(FileError::TooLong { .. })
        ));
        for not_a_file in [
            read(&dir, &path("a"), 7).map(|_| ()),
            write(&dir, &path("a"), b"", 7, ".part"),
            remove(&dir, &path("a")),
        ] {
            assert!(matches!(not_a_file, Err(FileError::NotAFile)), "{not_a_file:?}");
        }
        remove(&dir, &path("a/file")).unwrap();
        let gone = read(&dir, &path("a/file"), 7);
        assert!(matches!(gone, Err(FileError::Missing)), "{gone:?}");
    }

    #[test]
    fn a_link_that_leads_out_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("out")).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), inside.join("link")).unwrap();
        let dir = Dir::open_ambient_dir(&inside, ambient_authority()).unwrap();
        let led_out = read(&dir, &path("out/secret"), 9);
        assert!(matches!(led_out, Err(FileError::Outside)), "{led_out:?}");
        assert!(read(&dir, &path("link"), 9).is_err());
        assert!(list(&dir, Some(&path("out")), 9).is_err());
        assert!(write(&dir, &path("out/new"), b"x", 9, ".part").is_err());
        assert!(remove(&dir, &path("out/secret")).is_err());
        // A file takes the link's place.
        write(&dir, &path("link"), b"mine", 9, ".part").unwrap();
        assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
        assert_eq!(read(&dir, &path("link"), 9).unwrap(), b"mine");
        assert!(!outside.join("new").exists());
    }
}
