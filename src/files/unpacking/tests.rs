//! Archives that were made to harm, and good ones.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::tests::Place;
use super::*;

/// A gzipped tar of what `fill` puts in.
fn tarred(fill: impl FnOnce(&mut tar::Builder<flate2::write::GzEncoder<Vec<u8>>>)) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut tar = tar::Builder::new(gz);
    fill(&mut tar);
    tar.into_inner().unwrap().finish().unwrap()
}

/// A header whose name is taken as it is, whatever it is.
fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o4755);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

fn one(name: &str, kind: tar::EntryType, data: &[u8]) -> Vec<u8> {
    tarred(|tar| tar.append(&header(name, kind, data.len() as u64), data).unwrap())
}

fn zipped(fill: impl FnOnce(&mut zip::ZipWriter<std::io::Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    fill(&mut zip);
    zip.finish().unwrap().into_inner()
}

/// Whether an archive was refused for what is wrong with it.
type Wanted = fn(&Refused) -> bool;

#[test]
#[expect(clippy::too_many_lines, reason = "one entry for each attack")]
fn archives_that_are_made_to_harm_are_refused_by_name_and_leave_nothing() {
    use ArchiveFormat::{TarGz, Zip};
    use tar::EntryType;
    let options = zip::write::SimpleFileOptions::default();
    let many = tarred(|tar| {
        for number in 0..51 {
            let name = format!("{number}");
            tar.append(&header(&name, EntryType::Regular, 0), std::io::empty())
                .unwrap();
        }
    });
    let many_zipped = zipped(|zip| {
        for number in 0..51 {
            zip.start_file(format!("{number}"), options).unwrap();
        }
    });
    let zeros = vec![0; 2_000_000];
    let zip_slip = zipped(|zip| {
        zip.start_file("../outside/slipped", options).unwrap();
    });
    let zip_bomb = zipped(|zip| {
        zip.start_file("zeros", options).unwrap();
        std::io::Write::write_all(zip, &zeros).unwrap();
    });
    let zip_link = zipped(|zip| zip.add_symlink("link", "/etc/passwd", options).unwrap());
    let twice = tarred(|tar| {
        for _ in 0..2 {
            tar.append(&header("a", EntryType::Regular, 0), std::io::empty())
                .unwrap();
        }
    });
    let in_a_file = tarred(|tar| {
        for name in ["a", "a/b"] {
            tar.append(&header(name, EntryType::Regular, 0), std::io::empty())
                .unwrap();
        }
    });
    let long_record = one("x", EntryType::XHeader, &vec![b'a'; 100_000]);
    let renamed = tarred(|tar| {
        tar.append(
            &header("x", EntryType::XHeader, 31),
            &b"31 path=../../outside/extended\n"[..],
        )
        .unwrap();
        tar.append(&header("good", EntryType::Regular, 0), std::io::empty())
            .unwrap();
    });
    let mut cut = one("a", EntryType::Regular, &[7; 10_000]);
    cut.truncate(cut.len() - 20);
    let cases: Vec<(&str, Vec<u8>, ArchiveFormat, Wanted)> = vec![
        (
            "slip",
            one("../outside/slipped", EntryType::Regular, b"x"),
            TarGz,
            |r| {
                matches!(
                    r,
                    Refused::Name {
                        reason: InvalidName::ParentFolder,
                        ..
                    }
                )
            },
        ),
        (
            "absolute",
            one("/etc/slipped", EntryType::Regular, b"x"),
            TarGz,
            |r| {
                matches!(
                    r,
                    Refused::Name {
                        reason: InvalidName::Absolute,
                        ..
                    }
                )
            },
        ),
        (
            "backslash",
            one("..\\slipped", EntryType::Regular, b"x"),
            TarGz,
            |r| {
                matches!(
                    r,
                    Refused::Name {
                        reason: InvalidName::Backslash,
                        ..
                    }
                )
            },
        ),
        ("line break", one("a\nb", EntryType::Regular, b"x"), TarGz, |r| {
            matches!(
                r,
                Refused::Name {
                    reason: InvalidName::ControlCharacter,
                    ..
                }
            )
        }),
        ("zip slip", zip_slip, Zip, |r| matches!(r, Refused::Name { .. })),
        ("renamed", renamed, TarGz, |r| matches!(r, Refused::Name { .. })),
        ("symlink", one("a", EntryType::Symlink, b""), TarGz, |r| {
            matches!(r, Refused::Link(_))
        }),
        ("hard link", one("a", EntryType::Link, b""), TarGz, |r| {
            matches!(r, Refused::Link(_))
        }),
        ("zip link", zip_link, Zip, |r| matches!(r, Refused::Link(_))),
        ("device", one("a", EntryType::Block, b""), TarGz, |r| {
            matches!(r, Refused::Special(_))
        }),
        ("character device", one("a", EntryType::Char, b""), TarGz, |r| {
            matches!(r, Refused::Special(_))
        }),
        ("pipe", one("a", EntryType::Fifo, b""), TarGz, |r| {
            matches!(r, Refused::Special(_))
        }),
        ("sparse", one("a", EntryType::GNUSparse, b""), TarGz, |r| {
            matches!(r, Refused::Special(_))
        }),
        ("bomb", one("zeros", EntryType::Regular, &zeros), TarGz, |r| {
            matches!(r, Refused::TooLarge { max_bytes: 1_000_000 })
        }),
        ("zip bomb", zip_bomb, Zip, |r| {
            matches!(r, Refused::TooLarge { .. })
        }),
        ("many", many, TarGz, |r| {
            matches!(r, Refused::TooMany { max_entries: 50 })
        }),
        ("many in a zip", many_zipped, Zip, |r| {
            matches!(r, Refused::TooMany { .. })
        }),
        (
            "deep",
            one(&"a/".repeat(49), EntryType::Directory, b""),
            TarGz,
            |_| false,
        ),
        ("twice", twice, TarGz, |r| matches!(r, Refused::Twice(_))),
        ("in a file", in_a_file, TarGz, |r| matches!(r, Refused::Twice(_))),
        ("long record", long_record, TarGz, |r| {
            matches!(r, Refused::Damaged(_))
        }),
        ("cut off", cut, TarGz, |r| matches!(r, Refused::Damaged(_))),
        ("no archive", b"no archive at all".to_vec(), TarGz, |r| {
            matches!(r, Refused::Damaged(_))
        }),
        ("no zip", b"PK no zip at all".to_vec(), Zip, |r| {
            matches!(r, Refused::Damaged(_))
        }),
    ];
    for (what, archive, format, is_wanted) in cases {
        let place = Place::new();
        match place.unpack(&archive, format, true) {
            Err(FileError::Archive(refused)) => assert!(is_wanted(&refused), "{what}: {refused}"),
            Ok(_) if what == "deep" => continue,
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(place.all(), Vec::<String>::new(), "{what}");
        assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 2, "{what}");
        assert_eq!(
            fs::read_dir(place.folder.path().join("outside")).unwrap().count(),
            1,
            "{what}"
        );
    }
}

#[test]
fn an_archive_goes_into_what_is_there_and_replaces_only_when_told() {
    let place = Place::new();
    place.write("a/kept", "kept");
    place.write("a/old", "old");
    let archive = tarred(|tar| {
        for (name, data) in [("a/old", "new"), ("a/b/run", "run")] {
            tar.append(
                &header(name, tar::EntryType::Regular, data.len() as u64),
                data.as_bytes(),
            )
            .unwrap();
        }
    });
    let refused = place.unpack(&archive, ArchiveFormat::TarGz, false);
    assert!(matches!(refused, Err(FileError::Exists)), "{refused:?}");
    assert_eq!(place.all(), ["a", "a/kept", "a/old"]);
    let told = place.unpack(&archive, ArchiveFormat::TarGz, true).unwrap();
    assert_eq!(
        told,
        Unpacked {
            files: 2,
            folders: 2,
            bytes: 6
        }
    );
    assert_eq!(place.text("a/old"), "new");
    assert_eq!(place.text("a/kept"), "kept");
    let mode = fs::metadata(place.path("a/b/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "nothing runs as somebody else");
    // A folder does not take a file's place, nor a link lead out.
    let place = Place::new();
    symlink(place.folder.path().join("outside"), place.path("a")).unwrap();
    let refused = place.unpack(&archive, ArchiveFormat::TarGz, true);
    assert!(matches!(refused, Err(FileError::Exists)), "{refused:?}");
    assert_eq!(
        fs::read_dir(place.folder.path().join("outside")).unwrap().count(),
        1
    );
}

#[test]
fn what_a_killed_server_left_of_an_archive_is_swept_and_what_is_in_use_is_not() {
    let place = Place::new();
    place.write(".paddock-unpacking-old/a/b", "left");
    place.write(".paddock-unpacking-used/a/b", "used");
    let used = open_own(&place.root, ".paddock-unpacking-used").unwrap();
    rustix::fs::flock(&used, rustix::fs::FlockOperation::LockExclusive).unwrap();
    place
        .unpack(
            &one("a", tar::EntryType::Regular, b"x"),
            ArchiveFormat::TarGz,
            false,
        )
        .unwrap();
    assert!(!place.path(".paddock-unpacking-old").exists());
    assert!(place.path(".paddock-unpacking-used/a/b").exists());
}
