//! Files of a folder that an attacker may have prepared, as one thread sees them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use cap_std::ambient_authority;
use proptest::prelude::*;

use super::changing::{self, make_folder, rename};
use super::listing::{ListOrder, Room, list, stat};
use super::packing::{ArchiveFormat, pack};
use super::part::PartFile;
use super::reading::{open, read};
use super::searching::{SearchLimits, SearchOrder, search};
use super::unpacking::{UnpackLimits, UnpackOrder, Unpacked, unpack};
use super::*;
use crate::security::workspace_copy::CopyLimits;

pub(super) struct Place {
    pub(super) folder: tempfile::TempDir,
    pub(super) root: Dir,
}

const ROOM: Room = Room {
    bytes: None,
    entries: None,
};
const COPY: CopyLimits = CopyLimits {
    max_bytes: 1_000_000,
    max_entries: 100,
};
const UNPACK: UnpackLimits = UnpackLimits {
    max_bytes: 1_000_000,
    max_entries: 50,
};

impl Place {
    /// A workspace beside a folder that is not to be reached.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inside")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret"), "secret").unwrap();
        let root = Dir::open_ambient_dir(folder.path().join("inside"), ambient_authority()).unwrap();
        Self { folder, root }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("inside").join(path)
    }

    pub(super) fn write(&self, path: &str, data: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), data).unwrap();
    }

    fn put(&self, path: &str, data: &str, expected: &Expected) -> Result<(), FileError> {
        let at = at(path);
        let part = PartFile::create(&self.root, ".part".to_owned())?;
        std::io::Write::write_all(&mut part.file(), data.as_bytes())?;
        let (folder, name) = changing::make_holder(&self.root, &at, true)?;
        part.place(&folder, name, expected, None)?;
        Ok(())
    }

    pub(super) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Every path in it.
    pub(super) fn all(&self) -> Vec<String> {
        let page = list(&self.root, &all()).unwrap();
        page.items.into_iter().map(|entry| entry.path).collect()
    }

    pub(super) fn unpack(
        &self,
        archive: &[u8],
        format: ArchiveFormat,
        overwrite: bool,
    ) -> Result<Unpacked, FileError> {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, archive).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let order = UnpackOrder {
            format,
            folder: None,
            overwrite,
            part: "part".to_owned(),
        };
        unpack(&self.root, file, &order, UNPACK, ROOM)
    }
}

fn at(path: &str) -> FilePath {
    path.parse().unwrap()
}

fn all() -> ListOrder {
    ListOrder {
        folder: None,
        depth: 100,
        glob: None,
        after: None,
        limit: 1000,
        most_seen: 1000,
    }
}

#[test]
fn a_file_is_replaced_whole_and_keeps_its_mode() {
    let place = Place::new();
    place.put("a/b.sh", "one", &Expected::Nothing).unwrap();
    assert_eq!(
        fs::metadata(place.path("a/b.sh")).unwrap().permissions().mode() & 0o777,
        0o644
    );
    fs::set_permissions(place.path("a/b.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    place.put("a/b.sh", "two", &Expected::Anything).unwrap();
    assert_eq!(place.text("a/b.sh"), "two");
    assert_eq!(
        fs::metadata(place.path("a/b.sh")).unwrap().permissions().mode() & 0o777,
        0o755
    );
    assert_eq!(place.all(), ["a", "a/b.sh"]);
}

#[test]
fn a_file_is_written_only_in_the_state_that_is_expected() {
    let place = Place::new();
    place.put("a", "one", &Expected::Anything).unwrap();
    let tag = || {
        let entry = stat(&place.root, Some(&at("a"))).unwrap();
        Expected::Tags(vec![entry.tag.unwrap().to_string()])
    };
    let old = tag();
    place.put("a", "two", &old).unwrap();
    for wrong in [old, Expected::Nothing] {
        let refused = place.put("a", "three", &wrong);
        assert!(matches!(refused, Err(FileError::Changed)), "{refused:?}");
    }
    let missing = place.put("b", "three", &Expected::Something);
    assert!(matches!(missing, Err(FileError::Changed)), "{missing:?}");
    assert_eq!(place.all(), ["a"], "nothing is left of what was refused");
    let stale = tag();
    fs::write(place.path("a"), "too").unwrap();
    assert!(
        place.put("a", "three", &stale).is_err(),
        "what is written in place counts"
    );
    let fresh = tag();
    fs::set_permissions(place.path("a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(tag(), fresh, "its mode does not");
    let removed = changing::remove(&place.root, &at("a"), false, &stale);
    assert!(matches!(removed, Err(FileError::Changed)), "{removed:?}");
    changing::remove(&place.root, &at("a"), false, &tag()).unwrap();
    assert!(place.all().is_empty());
}

#[test]
fn what_leads_out_is_neither_read_nor_written_nor_listed() {
    let place = Place::new();
    let outside = place.folder.path().join("outside");
    symlink(&outside, place.path("out")).unwrap();
    symlink(outside.join("secret"), place.path("secret")).unwrap();
    symlink("../outside", place.path("up")).unwrap();
    for path in ["out/secret", "secret", "up/secret"] {
        let read = read(&place.root, &at(path), 100);
        assert!(matches!(read, Err(FileError::Outside)), "{path}: {read:?}");
    }
    for path in ["out/new", "up/new", "out/new/deeper"] {
        assert!(place.put(path, "x", &Expected::Anything).is_err(), "{path}");
        assert!(make_folder(&place.root, &at(path)).is_err(), "{path}");
        assert!(rename(&place.root, &at("secret"), &at(path), true).is_err());
        assert!(changing::copy(&place.root, &at("secret"), &at("mine"), true, COPY, ROOM, ".p").is_err());
        assert!(changing::remove(&place.root, &at(path), true, &Expected::Anything).is_err());
    }
    let folder = ListOrder {
        folder: Some(at("out")),
        ..all()
    };
    assert!(list(&place.root, &folder).is_err());
    assert_eq!(
        place.all(),
        ["out", "secret", "up"],
        "links are told and not followed"
    );
    // A file takes a link's place.
    place.put("secret", "mine", &Expected::Anything).unwrap();
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    changing::remove(&place.root, &at("out"), true, &Expected::Anything).unwrap();
    assert_eq!(
        fs::read_dir(&outside).unwrap().count(),
        1,
        "the link went, and what it led to stays"
    );
}

#[test]
fn a_pipe_is_no_file_and_keeps_nobody_waiting() {
    let place = Place::new();
    rustix::fs::mknodat(
        &place.root,
        "pipe",
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let refused = open(&place.root, &at("pipe"));
    assert!(matches!(refused, Err(FileError::NotAFile)), "{refused:?}");
    assert!(matches!(
        open(&place.root, &at("nothing")),
        Err(FileError::Missing)
    ));
    let found = search_for(&place, "x");
    assert!(found.is_empty());
    let mut packed = Vec::new();
    pack(&place.root, None, ArchiveFormat::TarGz, 9, &mut packed).unwrap();
    assert_eq!(names(&packed), Vec::<String>::new());
}

#[test]
fn a_list_is_told_in_pages_that_neither_miss_nor_repeat() {
    let place = Place::new();
    let paths = ["a", "a.b", "a/b", "a/b/c", "b", "ä/日本", "z"];
    for path in ["a/b/c/file", "a.b", "b", "ä/日本/x", "z/1", "z/2", "z/3"] {
        place.write(path, "");
    }
    let whole = place.all();
    assert!(
        paths.iter().all(|path| whole.iter().any(|told| told == path)),
        "{whole:?}"
    );
    for limit in 1..=whole.len() {
        let mut told = Vec::new();
        let mut order = ListOrder { limit, ..all() };
        loop {
            let page = list(&place.root, &order).unwrap();
            told.extend(page.items.into_iter().map(|entry| entry.path));
            let Some(next) = page.next else { break };
            order.after = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(told, whole, "pages of {limit}");
    }
    let some = ListOrder {
        glob: Some("**/[12]".parse().unwrap()),
        most_seen: 3,
        ..all()
    };
    let (mut told, mut order) = (Vec::new(), some);
    loop {
        let page = list(&place.root, &order).unwrap();
        told.extend(page.items.into_iter().map(|entry| entry.path));
        let Some(next) = page.next else { break };
        order.after = Some(next);
    }
    assert_eq!(told, ["z/1", "z/2"], "also where a page has nothing that matches");
    let flat = ListOrder { depth: 1, ..all() };
    assert_eq!(list(&place.root, &flat).unwrap().items.len(), 5);
}

#[test]
fn moving_and_copying_keep_what_is_there() {
    let place = Place::new();
    place.write("a/one", "1");
    place.write("b/two", "2");
    let taken = rename(&place.root, &at("a/one"), &at("b/two"), false);
    assert!(matches!(taken, Err(FileError::Exists)), "{taken:?}");
    let full = rename(&place.root, &at("a"), &at("b"), true);
    assert!(matches!(full, Err(FileError::NotEmpty)), "{full:?}");
    let inside = rename(&place.root, &at("a"), &at("a/b/c"), true);
    assert!(matches!(inside, Err(FileError::IntoItself)), "{inside:?}");
    let missing = rename(&place.root, &at("nothing"), &at("new/x"), false);
    assert!(matches!(missing, Err(FileError::Missing)), "{missing:?}");
    assert!(
        !place.path("new").exists(),
        "no folder is made for what is not there"
    );
    rename(&place.root, &at("a/one"), &at("b/two"), true).unwrap();
    assert_eq!(place.text("b/two"), "1");
    let copy = |from: &str, to: &str, overwrite| {
        changing::copy(&place.root, &at(from), &at(to), overwrite, COPY, ROOM, ".part")
    };
    copy("b", "c/d", false).unwrap();
    assert_eq!(place.text("c/d/two"), "1");
    assert!(matches!(copy("b/two", "c/d/two", false), Err(FileError::Exists)));
    assert!(matches!(copy("b", "c", false), Err(FileError::Exists)));
    let room = Room {
        bytes: Some(0),
        entries: None,
    };
    let full = changing::copy(&place.root, &at("b"), &at("e"), false, COPY, room, ".part");
    assert!(matches!(full, Err(FileError::Full)), "{full:?}");
    assert_eq!(place.all(), ["a", "b", "b/two", "c", "c/d", "c/d/two"]);
}

fn search_for(place: &Place, pattern: &str) -> Vec<(String, u64, u64)> {
    let order = SearchOrder {
        pattern: pattern.to_owned(),
        is_regex: true,
        case_sensitive: false,
        folder: None,
        glob: Some("**/*.txt".parse().unwrap()),
        limit: 10,
    };
    let limits = SearchLimits {
        max_file_bytes: 50,
        timeout: std::time::Duration::from_mins(1),
        line_max_bytes: 5,
        depth: 10,
    };
    let found = search(&place.root, &order, limits).unwrap();
    assert!(found.hits.iter().all(|hit| hit.text.len() <= 5));
    let told = |hit: super::searching::Hit| (hit.path, hit.line, hit.column);
    found.hits.into_iter().map(told).collect()
}

#[test]
fn text_is_found_by_line_and_not_in_what_is_no_text() {
    let place = Place::new();
    place.write("a.txt", "one\ntwo Needle\n");
    place.write("b/c.txt", "éé needle");
    place.write("b/binary.txt", "\0needle");
    place.write("b/long.txt", &"needle ".repeat(50));
    place.write("b/c.rs", "needle");
    symlink(place.folder.path().join("outside/secret"), place.path("link.txt")).unwrap();
    assert_eq!(
        search_for(&place, "need.e"),
        [("a.txt".to_owned(), 2, 5), ("b/c.txt".to_owned(), 1, 4)]
    );
    assert!(search_for(&place, "secret").is_empty());
}

/// The names in a gzipped tar.
fn names(packed: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let name =
        |entry: std::io::Result<tar::Entry<'_, _>>| entry.unwrap().path().unwrap().display().to_string();
    archive.entries().unwrap().map(name).collect()
}

/// The names and contents of a tree without links.
fn trees() -> impl Strategy<Value = Vec<(String, Option<Vec<u8>>)>> {
    let name = "[a-zé日 ._-]{1,8}".prop_filter("a name", |name| name != "." && name != "..");
    let path = prop::collection::vec(name, 1..4).prop_map(|parts| parts.join("/"));
    prop::collection::vec(
        (path, prop::option::of(prop::collection::vec(any::<u8>(), 0..200))),
        0..12,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_packed_is_unpacked_equal(tree in trees(), zip in any::<bool>()) {
        let place = Place::new();
        for (path, data) in tree {
            let path = place.path(&path);
            match data {
                None => { let _ = fs::create_dir_all(&path); }
                Some(data) => {
                    if fs::create_dir_all(path.parent().unwrap()).is_ok() {
                        let _ = fs::write(&path, data);
                    }
                }
            }
        }
        let format = if zip { ArchiveFormat::Zip } else { ArchiveFormat::TarGz };
        let mut packed = Vec::new();
        pack(&place.root, None, format, 20, &mut packed).unwrap();
        let copy = Place::new();
        copy.unpack(&packed, format, false).unwrap();
        prop_assert_eq!(copy.all(), place.all());
        for path in place.all() {
            let (one, other) = (place.path(&path), copy.path(&path));
            prop_assert_eq!(one.is_dir(), other.is_dir());
            if one.is_file() {
                prop_assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap());
            }
        }
    }
}
