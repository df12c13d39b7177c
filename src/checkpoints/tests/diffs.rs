//! What differs between two checkpoints.

use super::*;
use crate::domain::FileDiffStatus;

const DIFFS: DiffLimits = DiffLimits {
    file_max_bytes: 10_000,
    max_bytes: 10_000,
    files_max: 100,
    timeout: Duration::from_secs(10),
};

const ORDER: DiffOrder = DiffOrder {
    path: None,
    context: 3,
};

#[test]
fn a_diff_tells_what_was_added_changed_moved_and_removed() {
    let place = Place::new();
    place.write("changed", "one\ntwo\nthree\n");
    place.write("gone", "old\n");
    place.write("moved", "the same\n");
    place.write("tool", "#!/bin/sh\n");
    place.write("picture", b"\x00\x01");
    place.write("same", "same");
    let diff = place.diff_of(
        |place| {
            place.write("changed", "one\n2\nthree\nfour");
            std::fs::remove_file(place.path("gone")).unwrap();
            std::fs::rename(place.path("moved"), place.path("to")).unwrap();
            std::fs::set_permissions(place.path("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
            place.write("picture", b"\x00\x02");
            place.write("new", "new\n");
            symlink("same", place.path("link")).unwrap();
        },
        &ORDER,
        DIFFS,
    );
    let told: Vec<_> = diff
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.status, file.additions, file.deletions))
        .collect();
    assert_eq!(
        told,
        [
            ("changed", FileDiffStatus::Modified, 2, 1),
            ("gone", FileDiffStatus::Deleted, 0, 1),
            ("link", FileDiffStatus::Added, 1, 0),
            ("new", FileDiffStatus::Added, 1, 0),
            ("picture", FileDiffStatus::Modified, 0, 0),
            ("to", FileDiffStatus::Renamed, 0, 0),
            ("tool", FileDiffStatus::Modified, 0, 0),
        ]
    );
    assert_eq!((diff.additions, diff.deletions, diff.truncated), (4, 2, false));
    let text = diff.to_unified();
    for part in [
        "@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n\\ No newline at end of file\n",
        "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+new\n",
        "deleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n",
        "new file mode 120000\n--- /dev/null\n+++ b/link\n@@ -0,0 +1 @@\n+same\n\\ No newline at end of file\n",
        "Binary files a/picture and b/picture differ\n",
        "rename from moved\nrename to to\n",
        "old mode 100644\nnew mode 100755\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
}

#[test]
fn a_diff_is_of_one_part_where_that_is_asked_for_and_never_too_much() {
    let place = Place::new();
    for folder in ["a", "ab"] {
        std::fs::create_dir(place.path(folder)).unwrap();
        place.write(&format!("{folder}/file"), "");
    }
    place.write("large", "");
    let change = |place: &Place| {
        place.write("a/file", "x\n".repeat(100));
        place.write("ab/file", "y\n");
        place.write("large", "z\n".repeat(200));
    };
    let of = |path: &str| DiffOrder {
        path: Some(path.to_owned()),
        context: 0,
    };
    let diff = place.diff_of(change, &of("a"), DIFFS);
    assert_eq!(diff.files.len(), 1, "{diff:?}");
    assert_eq!(diff.files[0].path, "a/file");
    let reset = || {
        for file in ["a/file", "ab/file", "large"] {
            place.write(file, "");
        }
    };
    reset();
    let few = DiffLimits {
        files_max: 1,
        ..DIFFS
    };
    let diff = place.diff_of(change, &ORDER, few);
    assert_eq!((diff.files.len(), diff.truncated), (1, true));
    reset();
    let small = DiffLimits {
        file_max_bytes: 300,
        max_bytes: 100,
        ..DIFFS
    };
    let diff = place.diff_of(change, &ORDER, small);
    let told: Vec<_> = diff
        .files
        .iter()
        .map(|file| (file.truncated, file.hunks.len(), file.additions))
        .collect();
    // Too much text; nothing left for the next; too long to be compared.
    assert_eq!(told, [(true, 0, 100), (false, 1, 1), (true, 0, 0)]);
    assert!(diff.truncated);
}
