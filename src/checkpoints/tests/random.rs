//! Any tree is what it was, whatever took its place.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use proptest::prelude::*;

use super::*;

/// Something in a tree that a test makes.
#[derive(Debug, Clone)]
enum Made {
    Folder(u32),
    File(u32, Vec<u8>),
    Link(Vec<u8>),
}

/// Names that a shell, a terminal or a careless program would stumble over.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just("a".as_bytes().to_vec()),
        Just("b".as_bytes().to_vec()),
        Just("ünïcödé 文件".as_bytes().to_vec()),
        Just(b"-rf *".to_vec()),
        Just(b"new\nline".to_vec()),
        Just(b"%41%".to_vec()),
        Just(b"\xff\xfe".to_vec()),
        Just(b".paddock-restore-1".to_vec()),
    ]
}

fn made() -> impl Strategy<Value = Made> {
    prop_oneof![
        prop_oneof![Just(0o700_u32), Just(0o755), Just(0o1777), Just(0o2750)].prop_map(Made::Folder),
        (
            prop_oneof![Just(0o600_u32), Just(0o644), Just(0o755), Just(0o444)],
            prop::collection::vec(any::<u8>(), 0..20)
        )
            .prop_map(|(mode, bytes)| Made::File(mode, bytes)),
        prop_oneof![
            Just(b"a".to_vec()),
            Just(b"../../nowhere".to_vec()),
            Just(b"/etc/passwd".to_vec()),
            Just(b"\xff".to_vec())
        ]
        .prop_map(Made::Link),
    ]
}

fn trees() -> impl Strategy<Value = Vec<(Vec<Vec<u8>>, Made)>> {
    prop::collection::vec((prop::collection::vec(name(), 1..5), made()), 0..25)
}

/// Makes what is asked for, as far as it can be: what is in the way of something else stays.
fn make(root: &Path, tree: &[(Vec<Vec<u8>>, Made)]) {
    let mut modes = Vec::new();
    for (names, made) in tree {
        let mut path = root.to_owned();
        for name in names.iter().take(names.len() - 1) {
            if !std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                break;
            }
            path.push(OsString::from_vec(name.clone()));
            if std::fs::symlink_metadata(&path).is_err() {
                std::fs::create_dir(&path).unwrap();
            }
        }
        let is_folder = std::fs::symlink_metadata(&path).unwrap().is_dir();
        path.push(OsString::from_vec(names.last().unwrap().clone()));
        if !is_folder || std::fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match made {
            Made::Folder(mode) => {
                std::fs::create_dir(&path).unwrap();
                modes.push((path, *mode));
            }
            Made::File(mode, bytes) => {
                std::fs::write(&path, bytes).unwrap();
                modes.push((path, *mode));
            }
            Made::Link(to) => symlink(std::ffi::OsStr::from_bytes(to), &path).unwrap(),
        }
    }
    for (path, mode) in modes {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn clear(root: &Path) {
    for entry in std::fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            std::fs::remove_dir_all(entry.path()).unwrap();
        } else {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_what_it_was_whatever_took_its_place(first in trees(), second in trees(), keeps in any::<bool>()) {
        let place = Place::new();
        make(&place.path(""), &first);
        let before = place.shown();
        let (one, _) = place.take();
        if !keeps {
            clear(&place.path(""));
        }
        make(&place.path(""), &second);
        let between = place.shown();
        let (two, _) = place.take();
        place.restore(one);
        prop_assert_eq!(&place.shown(), &before);
        prop_assert_eq!(place.restore(one), Restored::default(), "nothing is left to be done");
        place.restore(two);
        prop_assert_eq!(&place.shown(), &between);
        // And in a folder of its own, as a fork has it.
        let fork = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(fork.path(), ambient_authority()).unwrap();
        place.kept.restore(one, Moment::Before, &dir).unwrap();
        let mut seen = BTreeMap::new();
        look(fork.path(), &OsString::new(), &mut seen);
        prop_assert_eq!(&seen, &before);
        // What is the same is kept once.
        let distinct: std::collections::BTreeSet<_> = before
            .values()
            .chain(between.values())
            .filter_map(|seen| match seen {
                Seen::File(_, bytes) => Some(bytes),
                _ => None,
            })
            .collect();
        prop_assert_eq!(place.count("objects"), distinct.len());
    }
}
