//! What checkpoints are held to. `random` makes trees of any kind, `diffs` tells them apart.

mod diffs;
mod random;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::AtomicBool;

use cap_std::ambient_authority;

use super::*;
use crate::domain::{Clock as _, SystemClock};

const ROOM: CheckpointLimits = CheckpointLimits {
    max_bytes: 64 * 1024 * 1024,
    max_entries: 10_000,
    max_file_bytes: 1024 * 1024,
    max_depth: 20,
    max_turns: 50,
    timeout: Duration::from_mins(1),
};

/// A workspace, and where its checkpoints are.
struct Place {
    folder: tempfile::TempDir,
    dir: Dir,
    kept: SessionCheckpoints,
}

impl Place {
    fn new() -> Self {
        Self::with(ROOM)
    }

    fn with(limits: CheckpointLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("workspace")).unwrap();
        let dir = Dir::open_ambient_dir(folder.path().join("workspace"), ambient_authority()).unwrap();
        let checkpoints = Checkpoints::new(&folder.path().join("checkpoints"), limits);
        let kept = checkpoints.of(
            TenantId::generate(&SystemClock),
            SessionId::generate(&SystemClock),
        );
        Self { folder, dir, kept }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("workspace").join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(path), text).unwrap();
    }

    fn try_take(&self, turn: TurnId, moment: Moment) -> Result<Checkpoint, TakeError> {
        self.kept
            .take(&self.dir, turn, moment, SystemClock.now(), &Patience::endless())
    }

    /// The turn before which the workspace is as it is now.
    fn take(&self) -> (TurnId, Checkpoint) {
        let turn = TurnId::generate(&SystemClock);
        (turn, self.try_take(turn, Moment::Before).unwrap())
    }

    fn restore(&self, turn: TurnId) -> Restored {
        self.kept.restore(turn, Moment::Before, &self.dir).unwrap()
    }

    fn diff_of(&self, change: impl FnOnce(&Self), order: &DiffOrder, limits: DiffLimits) -> Diff {
        let (turn, _) = self.take();
        change(self);
        self.try_take(turn, Moment::After).unwrap();
        self.kept.diff(turn, order, limits).unwrap()
    }

    fn shown(&self) -> BTreeMap<OsString, Seen> {
        let mut seen = BTreeMap::new();
        look(&self.path(""), &OsString::new(), &mut seen);
        seen
    }

    /// How many files there are below a folder of the checkpoints.
    fn count(&self, folder: &str) -> usize {
        let mut seen = BTreeMap::new();
        look(&self.kept.folder.join(folder), &OsString::new(), &mut seen);
        seen.values()
            .filter(|seen| matches!(seen, Seen::File(..)))
            .count()
    }
}

/// What somebody sees who looks by path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Folder(u32),
    File(u32, Vec<u8>),
    Link(PathBuf),
    Other,
}

fn look(folder: &Path, path: &OsString, seen: &mut BTreeMap<OsString, Seen>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let mut inner = path.clone();
        inner.push("/");
        inner.push(entry.file_name());
        let metadata = entry.metadata().unwrap();
        let mode = metadata.mode() & 0o7777;
        let is = if metadata.is_dir() {
            look(&entry.path(), &inner, seen);
            Seen::Folder(mode)
        } else if metadata.is_symlink() {
            Seen::Link(std::fs::read_link(entry.path()).unwrap())
        } else if metadata.is_file() {
            Seen::File(mode, std::fs::read(entry.path()).unwrap())
        } else {
            Seen::Other
        };
        seen.insert(inner, is);
    }
}

#[test]
fn what_did_not_change_is_neither_read_nor_kept_again() {
    let place = Place::new();
    place.write("a", "one");
    place.write("b", "other");
    let old = std::time::SystemTime::UNIX_EPOCH;
    let file = std::fs::File::options()
        .write(true)
        .open(place.path("a"))
        .unwrap();
    file.set_modified(old).unwrap();
    let (_, first) = place.take();
    assert_eq!((first.files, first.bytes, first.stored_bytes), (2, 8, 8));
    // Young as they are, none is believed to be unchanged.
    let read = || {
        let text = std::fs::read(place.kept.folder.join("index.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["files"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(read(), 0, "the change of a moment ago is not believed in");
    let waited = std::time::Instant::now();
    let last = loop {
        let (_, last) = place.take();
        if read() == 2 {
            break last;
        }
        assert!(
            waited.elapsed() < Duration::from_mins(1),
            "they never come of age"
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((last.files, last.stored_bytes), (2, 0));
    assert_eq!(place.count("trees"), 1, "the same tree is kept once");
    // A time that is set back does not hide a change: what is said of a file changes with it.
    let modified = std::fs::metadata(place.path("b")).unwrap().modified().unwrap();
    place.write("b", "OTHER");
    let file = std::fs::File::options()
        .write(true)
        .open(place.path("b"))
        .unwrap();
    file.set_modified(modified).unwrap();
    let (turn, changed) = place.take();
    assert_eq!(changed.stored_bytes, 5);
    place.write("b", "x");
    place.restore(turn);
    assert_eq!(std::fs::read_to_string(place.path("b")).unwrap(), "OTHER");
}

#[test]
fn what_is_not_kept_is_told_and_stays_as_it_is() {
    let place = Place::with(CheckpointLimits {
        max_file_bytes: 4,
        max_depth: 2,
        ..ROOM
    });
    place.write("big", "12345");
    place.write("small", "1234");
    std::fs::create_dir_all(place.path("deep/deeper")).unwrap();
    place.write("deep/deeper/file", "x");
    let socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    let (turn, taken) = place.take();
    assert_eq!((taken.files, taken.not_kept), (1, 3));
    place.write("big", "123456");
    place.write("small", "changed");
    place.write("deep/deeper/file", "y");
    place.write("new", "n");
    let restored = place.restore(turn);
    assert_eq!(restored.not_kept, ["big", "deep/deeper", "socket"]);
    let read = |path: &str| std::fs::read_to_string(place.path(path)).unwrap();
    assert_eq!(
        (
            read("big").as_str(),
            read("small").as_str(),
            read("deep/deeper/file").as_str()
        ),
        ("123456", "1234", "y")
    );
    assert!(place.path("socket").exists() && !place.path("new").exists());
    drop(socket);
}

#[test]
fn a_workspace_that_is_too_much_has_a_checkpoint_that_says_so() {
    for (limits, reason) in [
        (
            CheckpointLimits {
                max_entries: 2,
                ..ROOM
            },
            CheckpointFailure::TooManyEntries,
        ),
        (
            CheckpointLimits { max_bytes: 5, ..ROOM },
            CheckpointFailure::TooLarge,
        ),
    ] {
        let place = Place::with(limits);
        for name in ["a", "b", "c"] {
            place.write(name, format!("{name}{name}"));
        }
        let turn = TurnId::generate(&SystemClock);
        let error = place.try_take(turn, Moment::Before).unwrap_err();
        assert_eq!(error.reason(), reason);
        let listed = place.kept.list().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].failure, Some(reason));
        assert!(matches!(
            place.kept.restore(turn, Moment::Before, &place.dir),
            Err(CheckpointError::NotFound)
        ));
        assert_eq!(place.shown().len(), 3, "nothing was touched");
        std::fs::remove_file(place.path("c")).unwrap();
        place.take();
        assert_eq!(place.count("objects"), 2, "what came to nothing is gone");
    }
}

#[test]
fn the_oldest_go_when_more_is_kept_than_may_be_and_what_only_they_needed() {
    let place = Place::with(CheckpointLimits {
        max_bytes: 3000,
        ..ROOM
    });
    place.write("always", [7; 1000]);
    let mut turns = Vec::new();
    for number in 0..5_u8 {
        place.write("changing", [number; 900]);
        turns.push(place.take().0);
    }
    let left: Vec<_> = place.kept.list().unwrap().iter().map(|kept| kept.turn).collect();
    assert_eq!(left, turns[3..]);
    assert_eq!(place.count("objects"), 3);
    assert_eq!(place.count("trees"), 2);
    assert!(matches!(
        place.kept.restore(turns[0], Moment::Before, &place.dir),
        Err(CheckpointError::NotFound)
    ));
    place.restore(turns[3]);
    assert_eq!(std::fs::read(place.path("changing")).unwrap(), [3; 900]);
    assert_eq!(std::fs::read(place.path("always")).unwrap(), [7; 1000]);
}

#[test]
fn checkpoints_of_so_many_turns_are_kept_and_what_others_needed_goes_now_and_then() {
    let place = Place::with(CheckpointLimits { max_turns: 2, ..ROOM });
    for number in 0..15_u8 {
        place.write("file", [number]);
        let (turn, _) = place.take();
        place.try_take(turn, Moment::After).unwrap();
    }
    let kept = place.kept.list().unwrap();
    assert_eq!(kept.len(), 4);
    assert_eq!(kept[0].moment, Moment::Before);
    assert!(place.count("objects") <= 8, "{}", place.count("objects"));
}

#[test]
fn what_a_crash_left_is_in_nobodys_way() {
    let place = Place::new();
    place.write("file", "text");
    let (turn, _) = place.take();
    let folder = &place.kept.folder;
    std::fs::create_dir_all(folder.join("waiting")).unwrap();
    for left in [
        "waiting/1",
        "waiting/record",
        "waiting/now",
        "waiting/index",
        "held.json",
        "index.json",
    ] {
        std::fs::write(folder.join(left), "half").unwrap();
    }
    let (_, again) = place.take();
    assert_eq!((again.files, again.stored_bytes), (1, 0));
    assert_eq!(place.count("waiting"), 0);
    place.write("file", "else");
    place.restore(turn);
    assert_eq!(std::fs::read_to_string(place.path("file")).unwrap(), "text");
}

#[test]
fn what_is_not_what_was_kept_is_never_given_back() {
    let place = Place::new();
    place.write("file", "text");
    let (turn, _) = place.take();
    let id = ObjectId::of(b"text");
    let text = id.to_string();
    let (first, rest) = text.split_at(2);
    let object = place.kept.folder.join("objects").join(first).join(rest);
    std::fs::write(&object, "TEXT").unwrap();
    place.write("file", "now");
    let refused = place.kept.restore(turn, Moment::Before, &place.dir);
    assert!(matches!(refused, Err(CheckpointError::Damaged(_))), "{refused:?}");
    std::fs::remove_file(object).unwrap();
    let refused = place.kept.restore(turn, Moment::Before, &place.dir);
    assert!(matches!(refused, Err(CheckpointError::Damaged(_))), "{refused:?}");
    assert_eq!(place.shown().len(), 1, "no half of a file is left");
    assert_eq!(std::fs::read_to_string(place.path("file")).unwrap(), "now");
}

#[test]
fn going_back_that_broke_off_is_done_to_its_end_when_it_is_asked_for_again() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.write(name, name);
    }
    let before = place.shown();
    let (turn, _) = place.take();
    for name in ["a", "b", "c", "d"] {
        place.write(name, "else");
    }
    let text = ObjectId::of(b"b").to_string();
    let (first, rest) = text.split_at(2);
    let object = place.kept.folder.join("objects").join(first).join(rest);
    std::fs::write(&object, "?").unwrap();
    assert!(place.kept.restore(turn, Moment::Before, &place.dir).is_err());
    let half = place.shown();
    assert!(
        half != before && half.len() == 3,
        "it broke off in the middle: {half:?}"
    );
    // As a process leaves it that is killed.
    place.write(".paddock-restore-1", "half");
    std::fs::write(&object, "b").unwrap();
    place.restore(turn);
    assert_eq!(place.shown(), before);
}

#[test]
fn a_tree_that_leads_out_is_refused() {
    let place = Place::new();
    for path in ["../out", "a/../../out", "/out", "link/out", "", "a//b"] {
        let entry = |path: &str, is| tree::Entry {
            path: PathBytes::new(path.as_bytes().to_vec()),
            is,
        };
        let link = PathBytes::new(b"..".to_vec());
        let tree = Tree {
            entries: vec![
                entry("a", tree::Kind::Folder { mode: 0o700 }),
                entry("link", tree::Kind::Link { to: link.clone() }),
                entry(path, tree::Kind::Link { to: link }),
            ],
        };
        let objects = Objects::of(&place.kept.folder);
        let refused = restoring::restore(&tree, &objects, std::collections::HashMap::new(), &place.dir);
        assert!(matches!(refused, Err(CheckpointError::Damaged(_))), "{path}");
        assert!(place.shown().is_empty(), "{path}");
    }
}

#[test]
fn nothing_that_links_lead_to_is_read_or_changed() {
    let place = Place::new();
    let outside = place.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    std::fs::create_dir(place.path("folder")).unwrap();
    place.write("folder/secret", "mine");
    place.write("file", "mine");
    let (turn, _) = place.take();
    std::fs::remove_dir_all(place.path("folder")).unwrap();
    symlink(&outside, place.path("folder")).unwrap();
    std::fs::remove_file(place.path("file")).unwrap();
    symlink(outside.join("secret"), place.path("file")).unwrap();
    symlink(&outside, place.path("another")).unwrap();
    let (linked, taken) = place.take();
    assert_eq!(taken.files, 0, "links are links");
    place.restore(turn);
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    assert_eq!(
        std::fs::read_to_string(place.path("folder/secret")).unwrap(),
        "mine"
    );
    place.restore(linked);
    assert_eq!(std::fs::read_link(place.path("folder")).unwrap(), outside);
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
}

#[test]
fn what_has_another_name_outside_is_left_as_it_is() {
    let place = Place::new();
    let outside = place.folder.path().join("outside");
    std::fs::write(&outside, "same").unwrap();
    std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o600)).unwrap();
    place.write("file", "same");
    std::fs::set_permissions(place.path("file"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (turn, _) = place.take();
    std::fs::remove_file(place.path("file")).unwrap();
    std::fs::hard_link(&outside, place.path("file")).unwrap();
    place.restore(turn);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&outside), mode(&place.path("file"))), (0o600, 0o644));
}

#[test]
fn folders_in_folders_without_end_are_removed() {
    let place = Place::new();
    let (turn, _) = place.take();
    // No path is as long as this one.
    let mut folder = place.dir.try_clone().unwrap();
    for _ in 0..3000 {
        folder.create_dir("a-name-that-takes-some-room").unwrap();
        folder = folder.open_dir("a-name-that-takes-some-room").unwrap();
    }
    drop(folder);
    let (_, taken) = place.take();
    assert_eq!(taken.not_kept, 1, "it is not gone into");
    let restored = place.restore(turn);
    assert_eq!(restored.removed, 1);
    assert!(place.shown().is_empty());
}

#[test]
fn what_changes_while_it_is_read_is_whole_or_not_kept() {
    let place = Place::new();
    let version = |number: u8| vec![number; 100_000];
    place.write("replaced", version(0));
    place.write("swapped", version(0));
    symlink("/etc/passwd", place.path("link")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u8;
            while !stop.load(Ordering::Relaxed) {
                number = number.wrapping_add(1);
                place.write("part", version(number));
                std::fs::rename(place.path("part"), place.path("replaced")).unwrap();
                // A file, a link and a pipe in one place, in turn.
                std::fs::rename(place.path("swapped"), place.path("aside")).unwrap();
                std::fs::rename(place.path("link"), place.path("swapped")).unwrap();
                std::fs::rename(place.path("swapped"), place.path("link")).unwrap();
                std::fs::rename(place.path("aside"), place.path("swapped")).unwrap();
                let _pipe = rustix::fs::mknodat(
                    rustix::fs::CWD,
                    place.path("pipe"),
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::from_raw_mode(0o600),
                    0,
                );
                std::fs::rename(place.path("pipe"), place.path("other")).unwrap();
                place.write("pipe2", "file");
                std::fs::rename(place.path("pipe2"), place.path("other")).unwrap();
            }
        });
        let mut kept = 0;
        for _ in 0..60 {
            let (turn, _) = place.take();
            let fork = tempfile::tempdir().unwrap();
            let dir = Dir::open_ambient_dir(fork.path(), ambient_authority()).unwrap();
            place.kept.restore(turn, Moment::Before, &dir).unwrap();
            for name in ["replaced", "swapped", "aside", "link"] {
                let path = fork.path().join(name);
                let Ok(found) = std::fs::symlink_metadata(&path) else {
                    continue;
                };
                if found.is_file() {
                    let bytes = std::fs::read(&path).unwrap();
                    assert_eq!(bytes, version(bytes[0]), "{name} is of one version");
                    kept += 1;
                } else {
                    assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("/etc/passwd"));
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(kept > 60, "most of it was kept: {kept}");
    });
}

#[test]
fn taking_one_is_given_up_when_it_is_told_to_be_and_when_it_takes_too_long() {
    let place = Place::new();
    place.write("file", "text");
    let told = Patience::endless();
    told.give_up();
    for (patience, reason) in [
        (told, CheckpointFailure::Interrupted),
        (Patience::lasting(Duration::ZERO), CheckpointFailure::TimedOut),
    ] {
        let turn = TurnId::generate(&SystemClock);
        let taken = place
            .kept
            .take(&place.dir, turn, Moment::Before, SystemClock.now(), &patience);
        assert_eq!(taken.unwrap_err().reason(), reason);
        let failures: Vec<_> = place
            .kept
            .list()
            .unwrap()
            .iter()
            .map(|kept| kept.failure)
            .collect();
        assert_eq!(failures.last(), Some(&Some(reason)));
    }
}

#[test]
fn nobody_else_reads_what_is_kept() {
    let place = Place::new();
    place.write("file", "text");
    place.take();
    let mut seen = BTreeMap::new();
    look(
        &place.folder.path().join("checkpoints"),
        &OsString::new(),
        &mut seen,
    );
    assert!(seen.len() > 5);
    for (path, seen) in seen {
        if let Seen::Folder(mode) = seen {
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }
}
