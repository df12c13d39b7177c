//! The path jail: finds workspaces through directory handles, never by comparing path texts.
//!
//! An agent can plant links in its own tree at any time, so where a path leads is decided at each use. The folders of
//! tenants and users are never followed through a link; inside a user's tree a link may be followed as long as it
//! stays there.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, MetadataExt as _};
use rustix::fs::{Mode, OFlags, openat};

use super::{ownership, walk};
use crate::domain::{Subdir, TenantName, UserId};

/// Why there is no workspace.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// Its folder does not exist.
    #[error("the workspace's folder does not exist")]
    Missing,
    /// Something on the way is a file, not a folder.
    #[error("something on the workspace's path is not a folder")]
    NotAFolder,
    /// The path leads out of the user's tree.
    #[error("the workspace's path leads out of the user's tree")]
    Outside,
    /// The server may not enter it.
    #[error("the server has no permission for the workspace's folder")]
    Denied(#[source] io::Error),
    /// The file system failed.
    #[error("the workspace's folder cannot be opened")]
    Failed(#[source] io::Error),
}

/// Finds and makes workspaces below one folder. Its methods touch the file system and may block.
#[derive(Debug)]
pub struct Workspaces {
    base: Dir,
    path: PathBuf,
    auto_create: bool,
}

/// An open workspace. It stays the folder it was, whatever happens to the path that led there.
#[derive(Debug)]
pub struct Workspace {
    dir: Dir,
    path: PathBuf,
    identity: WorkspaceIdentity,
}

/// Which folder a workspace is: one that was removed and made again is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkspaceIdentity {
    device: u64,
    inode: u64,
}

impl WorkspaceIdentity {
    /// Its device and its inode.
    #[must_use]
    pub fn pair(self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl Workspaces {
    /// Workspaces below `base`, which is made if need be, closed to other users. With `auto_create`, workspaces are
    /// made when they are first asked for.
    pub fn open(base: &Path, auto_create: bool) -> Result<Self, WorkspaceError> {
        let path = std::path::absolute(base).map_err(WorkspaceError::Failed)?;
        ownership::create_own(&path).map_err(explain)?;
        let base = Dir::open_ambient_dir(&path, ambient_authority()).map_err(explain)?;
        Ok(Self {
            base,
            path,
            auto_create,
        })
    }

    /// The workspace, made if it is missing and may be.
    pub fn create(
        &self,
        tenant: &TenantName,
        user: &UserId,
        subdir: Option<&Subdir>,
    ) -> Result<Workspace, WorkspaceError> {
        self.enter(tenant, user, subdir, self.auto_create)
    }

    /// The workspace, which must exist.
    pub fn resolve(
        &self,
        tenant: &TenantName,
        user: &UserId,
        subdir: Option<&Subdir>,
    ) -> Result<Workspace, WorkspaceError> {
        self.enter(tenant, user, subdir, false)
    }

    /// The folder that all lie in, to be shown to people.
    #[must_use]
    pub fn base_path(&self) -> &Path {
        &self.path
    }

    /// Where a workspace is, to be shown to people.
    #[must_use]
    pub fn shown_path(&self, tenant: &TenantName, user: &UserId, subdir: Option<&Subdir>) -> PathBuf {
        let tree = self.path.join(tenant.as_str()).join(user.as_str());
        subdir.map_or_else(|| tree.clone(), |subdir| tree.join(subdir.as_str()))
    }

    /// All of a tenant's folders, or of one of its users'.
    pub fn tree(&self, tenant: &TenantName, user: Option<&UserId>) -> Result<Dir, WorkspaceError> {
        let tree = enter_own(&self.base, tenant.as_str(), false)?;
        match user {
            Some(user) => enter_own(&tree, user.as_str(), false),
            None => Ok(tree),
        }
    }

    /// Removes all of a user's folders. Nobody works in them any more.
    pub fn remove_user(&self, tenant: &TenantName, user: &UserId) -> Result<(), WorkspaceError> {
        let tree = match enter_own(&self.base, tenant.as_str(), false) {
            Ok(tree) => tree,
            Err(WorkspaceError::Missing) => return Ok(()),
            Err(error) => return Err(error),
        };
        remove(&tree, user.as_str())
    }

    /// Removes all of a tenant's folders. Nobody works in them any more.
    pub fn remove_tenant(&self, tenant: &TenantName) -> Result<(), WorkspaceError> {
        remove(&self.base, tenant.as_str())
    }

    fn enter(
        &self,
        tenant: &TenantName,
        user: &UserId,
        subdir: Option<&Subdir>,
        create: bool,
    ) -> Result<Workspace, WorkspaceError> {
        let tree = enter_own(
            &enter_own(&self.base, tenant.as_str(), create)?,
            user.as_str(),
            create,
        )?;
        let dir = match subdir {
            None => tree,
            Some(subdir) => {
                if create {
                    make_all(&tree, subdir)?;
                }
                // Resolved beneath the tree's handle by the kernel: a link that leads out is an error.
                tree.open_dir(subdir.as_str()).map_err(explain)?
            }
        };
        let metadata = dir.dir_metadata().map_err(explain)?;
        let identity = WorkspaceIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
        };
        Ok(Workspace {
            dir,
            path: self.shown_path(tenant, user, subdir),
            identity,
        })
    }
}

impl Workspace {
    /// Its path, as it was asked for: to be shown, not to be opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which folder it is.
    #[must_use]
    pub fn identity(&self) -> WorkspaceIdentity {
        self.identity
    }

    /// Its handle.
    #[must_use]
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// A path by which a child process that is started while this value lives enters this very folder.
    #[must_use]
    pub fn as_current_dir(&self) -> PathBuf {
        use std::os::fd::AsRawFd as _;
        if cfg!(target_os = "linux") {
            // The child changes folder before it executes the program, when it still holds this descriptor: no path is
            // walked, so none can have been swapped.
            format!("/proc/self/fd/{}", self.dir.as_raw_fd()).into()
        } else {
            self.path.clone()
        }
    }
}

/// Removes a folder with all that it holds. Links are removed, and not followed.
fn remove(parent: &Dir, name: &str) -> Result<(), WorkspaceError> {
    let name = CString::new(name).map_err(|error| WorkspaceError::Failed(error.into()))?;
    walk::remove_all(parent, &name).map_err(explain)
}

/// Enters a tenant's or user's own folder, never through a link.
fn enter_own(parent: &Dir, name: &str, create: bool) -> Result<Dir, WorkspaceError> {
    if create {
        make(parent, Path::new(name))?;
    }
    let metadata = parent.symlink_metadata(name).map_err(explain)?;
    if metadata.is_symlink() {
        return Err(WorkspaceError::Outside);
    }
    // Opened without following, so that a link put there since is refused too.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(parent, name, flags, Mode::empty()).map_err(|errno| explain(errno.into()))?;
    Ok(Dir::from_std_file(opened.into()))
}

fn make_all(tree: &Dir, subdir: &Subdir) -> Result<(), WorkspaceError> {
    let mut path = PathBuf::new();
    for part in subdir.parts() {
        path.push(part);
        if make(tree, &path)? {
            // What is made in a user's tree belongs to whom the tree belongs.
            give_like(tree, &path)?;
        }
    }
    Ok(())
}

/// Makes a folder; whether it was missing.
fn make(parent: &Dir, path: &Path) -> Result<bool, WorkspaceError> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    match parent.create_dir_with(path, &builder) {
        // Whatever is there is looked at when it is opened.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(explain(error)),
        Ok(()) => Ok(true),
    }
}

/// Gives a folder that was just made to the owner of the tree that it is in; a server that is not root owns both.
fn give_like(tree: &Dir, path: &Path) -> Result<(), WorkspaceError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = tree.dir_metadata().map_err(explain)?.uid();
    let made = tree.open_dir(path).map_err(explain)?;
    ownership::give(&made, owner).map_err(explain)
}

/// What the file system says of a path.
#[must_use]
pub fn explain(error: io::Error) -> WorkspaceError {
    use rustix::io::Errno;
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => WorkspaceError::Missing,
        Some(Errno::NOTDIR) => WorkspaceError::NotAFolder,
        // What the kernel, and cap-std where it walks itself, say of a path that leaves its folder.
        Some(Errno::XDEV | Errno::LOOP) => WorkspaceError::Outside,
        Some(Errno::ACCESS | Errno::PERM) => WorkspaceError::Denied(error),
        // cap-std's own refusals carry no errno.
        None if error.kind() == io::ErrorKind::PermissionDenied => WorkspaceError::Outside,
        _ => WorkspaceError::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Trees {
        folder: tempfile::TempDir,
        workspaces: Workspaces,
    }

    impl Trees {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let workspaces = Workspaces::open(&folder.path().join("base"), true).unwrap();
            Self { folder, workspaces }
        }

        fn tree(&self, user: &str) -> PathBuf {
            self.folder.path().join("base/acme").join(user)
        }

        fn create(&self, user: &str, subdir: Option<&str>) -> Result<Workspace, WorkspaceError> {
            self.workspaces
                .create(&tenant(), &user.parse().unwrap(), subdir.map(sub).as_ref())
        }

        fn resolve(&self, user: &str, subdir: Option<&str>) -> Result<Workspace, WorkspaceError> {
            self.workspaces
                .resolve(&tenant(), &user.parse().unwrap(), subdir.map(sub).as_ref())
        }
    }

    fn tenant() -> TenantName {
        "acme".parse().unwrap()
    }

    fn sub(text: &str) -> Subdir {
        text.parse().unwrap()
    }

    #[test]
    fn a_workspace_is_made_closed_to_other_users_and_found_again() {
        use std::os::unix::fs::PermissionsExt as _;
        let trees = Trees::new();
        assert!(matches!(
            trees.resolve("alice", Some("a/b")),
            Err(WorkspaceError::Missing)
        ));
        let made = trees.create("alice", Some("a/b")).unwrap();
        assert_eq!(made.path(), trees.tree("alice").join("a/b"));
        assert_eq!(
            made.identity(),
            trees.resolve("alice", Some("a/b")).unwrap().identity()
        );
        let permissions = std::fs::metadata(made.path()).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o700);
    }

    #[test]
    fn nothing_is_made_when_that_is_off() {
        let folder = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::open(folder.path(), false).unwrap();
        let made = workspaces.create(&tenant(), &"alice".parse().unwrap(), None);
        assert!(matches!(made, Err(WorkspaceError::Missing)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_that_leads_out_is_refused_at_creation_and_at_use() {
        let trees = Trees::new();
        trees.create("alice", Some("work")).unwrap();
        trees.create("bob", Some("secret")).unwrap();
        let alice = trees.tree("alice");
        symlink("/etc", alice.join("absolute")).unwrap();
        symlink("../bob/secret", alice.join("sibling")).unwrap();
        symlink("../../..", alice.join("up")).unwrap();
        for name in ["absolute", "sibling", "up", "absolute/ssl", "up/base"] {
            for refused in [
                trees.create("alice", Some(name)),
                trees.resolve("alice", Some(name)),
            ] {
                assert!(
                    matches!(refused, Err(WorkspaceError::Outside)),
                    "{name}: {refused:?}"
                );
            }
        }
        std::fs::remove_dir(alice.join("work")).unwrap();
        symlink("../bob", alice.join("work")).unwrap();
        assert!(matches!(
            trees.resolve("alice", Some("work")),
            Err(WorkspaceError::Outside)
        ));
        assert!(!trees.tree("bob").join("new").exists());
        assert!(trees.create("alice", Some("work/new")).is_err());
        assert!(
            !trees.tree("bob").join("new").exists(),
            "nothing was made behind the link"
        );
    }

    #[test]
    fn a_link_inside_the_users_own_tree_is_followed() {
        let trees = Trees::new();
        let real = trees.create("alice", Some("real")).unwrap();
        symlink("real", trees.tree("alice").join("alias")).unwrap();
        assert_eq!(
            trees.resolve("alice", Some("alias")).unwrap().identity(),
            real.identity()
        );
    }

    #[test]
    fn the_folders_of_tenants_and_users_are_never_links() {
        let trees = Trees::new();
        trees.create("bob", None).unwrap();
        symlink("bob", trees.tree("mallory")).unwrap();
        assert!(matches!(
            trees.resolve("mallory", None),
            Err(WorkspaceError::Outside)
        ));
        assert!(matches!(
            trees.create("mallory", Some("x")),
            Err(WorkspaceError::Outside)
        ));
    }

    #[test]
    fn a_file_in_the_way_is_told_apart() {
        let trees = Trees::new();
        trees.create("alice", None).unwrap();
        std::fs::write(trees.tree("alice").join("file"), "").unwrap();
        assert!(matches!(
            trees.create("alice", Some("file")),
            Err(WorkspaceError::NotAFolder)
        ));
        assert!(matches!(
            trees.create("alice", Some("file/below")),
            Err(WorkspaceError::NotAFolder)
        ));
    }

    #[test]
    fn a_folder_that_was_made_again_is_another() {
        let trees = Trees::new();
        let before = trees.create("alice", Some("work")).unwrap();
        std::fs::remove_dir(before.path()).unwrap();
        assert!(matches!(
            trees.resolve("alice", Some("work")),
            Err(WorkspaceError::Missing)
        ));
        let after = trees.create("alice", Some("work")).unwrap();
        assert_ne!(before.identity(), after.identity());
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a plain child process shows where it starts"
    )]
    fn a_child_starts_in_the_folder_that_was_opened_even_if_its_path_now_leads_elsewhere() {
        let trees = Trees::new();
        let workspace = trees.create("alice", Some("work")).unwrap();
        let moved = trees.tree("alice").join("moved");
        std::fs::rename(workspace.path(), &moved).unwrap();
        symlink("/etc", trees.tree("alice").join("work")).unwrap();
        let shown = std::process::Command::new("/bin/pwd")
            .arg("-P")
            .current_dir(workspace.as_current_dir())
            .output()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
        assert_eq!(inode(Path::new(shown.trim())), inode(&moved));
    }

    #[test]
    fn a_folder_swapped_with_a_link_at_full_speed_never_leads_out() {
        let trees = Trees::new();
        trees.create("alice", Some("work")).unwrap();
        let bob = trees.create("bob", None).unwrap().identity();
        let (work, aside, link) = (
            trees.tree("alice").join("work"),
            trees.tree("alice").join("aside"),
            trees.tree("alice").join("link"),
        );
        symlink("../bob", &link).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::fs::rename(&work, &aside).unwrap();
                    std::fs::rename(&link, &work).unwrap();
                    std::fs::rename(&work, &link).unwrap();
                    std::fs::rename(&aside, &work).unwrap();
                }
            });
            let (mut entered, mut refused) = (0, 0);
            for _ in 0..20_000 {
                match trees.resolve("alice", Some("work")) {
                    Ok(workspace) => {
                        assert_ne!(workspace.identity(), bob, "escaped");
                        entered += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(
                entered > 0 && refused > 0,
                "no race was run: {entered} entered, {refused} refused"
            );
        });
    }
}
