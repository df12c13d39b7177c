//! What `git diff --raw -z -p` writes: first what changed by path, then, in the same order, the patches.

use crate::domain::{Diff, DiffHunk, DiffLine, DiffLineKind, FileDiff, FileDiffStatus};

/// What changed of a path, as the raw form tells.
#[derive(Debug)]
struct Entry<'a> {
    old_mode: &'a str,
    new_mode: &'a str,
    /// `A`, `M`, `D`, `R`, `C`, `T` or `U`.
    letter: u8,
    old: &'a [u8],
    new: &'a [u8],
}

/// A patch of a path.
#[derive(Debug, Default)]
struct Section<'a> {
    header: &'a [u8],
    binary: bool,
    hunks: Vec<DiffHunk>,
    /// How many lines its last hunk still has, before and after.
    left: (u64, u64),
}

/// The mode of what is not there.
const NOTHING: &str = "000000";

/// What the output tells, of a path and all below it where one is wanted. `cut` says that it was cut off.
pub(super) fn parse(output: &[u8], cut: bool, wanted: Option<&str>) -> Diff {
    let (entries, patches) = entries(output);
    let mut sections = sections(patches).into_iter().peekable();
    let mut files = Vec::new();
    for entry in &entries {
        let header = entry.header();
        let mut own = Section::default();
        let mut has_patch = false;
        // A change of kind has two: one went, one came.
        let most = if entry.letter == b'T' { 2 } else { 1 };
        for _ in 0..most {
            let Some(section) = sections.next_if(|section| section.header == header) else {
                break;
            };
            has_patch = true;
            own.binary |= section.binary;
            own.left = section.left;
            own.hunks.extend(section.hunks);
        }
        let is_last = sections.peek().is_none();
        if wanted.is_none_or(|wanted| entry.lies_in(wanted.as_bytes())) {
            files.push(entry.file(own, cut && (is_last || !has_patch)));
        }
    }
    Diff::of(files, cut)
}

impl Entry<'_> {
    /// The first line of its patch.
    fn header(&self) -> Vec<u8> {
        let mut line = b"diff --git ".to_vec();
        line.extend(quoted(b"a/", self.old));
        line.push(b' ');
        line.extend(quoted(b"b/", self.new));
        line
    }

    fn lies_in(&self, wanted: &[u8]) -> bool {
        [self.old, self.new].into_iter().any(|path| {
            path.strip_prefix(wanted)
                .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
        })
    }

    fn file(&self, patch: Section<'_>, cut: bool) -> FileDiff {
        let status = match self.letter {
            b'A' => FileDiffStatus::Added,
            b'D' => FileDiffStatus::Deleted,
            b'R' => FileDiffStatus::Renamed,
            b'C' => FileDiffStatus::Copied,
            b'T' => FileDiffStatus::TypeChanged,
            _ => FileDiffStatus::Modified,
        };
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let mode = |mode: &str| (mode != NOTHING).then(|| mode.to_owned());
        let count = |kind: DiffLineKind| {
            let lines = patch.hunks.iter().flat_map(|hunk| &hunk.lines);
            lines.filter(|line| line.kind == kind).count() as u64
        };
        FileDiff {
            path: text(self.new),
            old_path: (self.old != self.new).then(|| text(self.old)),
            status,
            binary: patch.binary,
            additions: count(DiffLineKind::Added),
            deletions: count(DiffLineKind::Removed),
            // What a merge left is told by the status, not line by line.
            truncated: cut || patch.left != (0, 0) || self.letter == b'U',
            old_mode: mode(self.old_mode),
            new_mode: mode(self.new_mode),
            hunks: patch.hunks,
        }
    }
}

/// What changed by path, and what comes after.
fn entries(output: &[u8]) -> (Vec<Entry<'_>>, &[u8]) {
    let (mut found, mut rest) = (Vec::new(), output);
    while rest.first() == Some(&b':') {
        let Some((entry, after)) = entry(rest) else {
            return (found, &[]);
        };
        found.push(entry);
        rest = after;
    }
    (found, rest.strip_prefix(b"\0").unwrap_or(rest))
}

fn entry(text: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (meta, rest) = until(text, 0)?;
    let mut words = std::str::from_utf8(meta).ok()?.strip_prefix(':')?.split(' ');
    let (old_mode, new_mode) = (words.next()?, words.next()?);
    let letter = *words.nth(2)?.as_bytes().first()?;
    let (old, rest) = until(rest, 0)?;
    let (new, rest) = if matches!(letter, b'R' | b'C') {
        until(rest, 0)?
    } else {
        (old, rest)
    };
    let entry = Entry {
        old_mode,
        new_mode,
        letter,
        old,
        new,
    };
    Some((entry, rest))
}

/// What stands before a byte, and what after it.
fn until(text: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == end)?;
    let (before, after) = text.split_at_checked(at)?;
    Some((before, after.get(1..)?))
}

fn sections(patches: &[u8]) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in patches.split(|byte| *byte == b'\n') {
        if let Some(section) = sections.last_mut()
            && section.take(line)
        {
            continue;
        }
        if line.starts_with(b"diff --") {
            sections.push(Section {
                header: line,
                ..Section::default()
            });
        }
    }
    sections
}

impl Section<'_> {
    /// Takes a line, if it is this patch's.
    fn take(&mut self, line: &[u8]) -> bool {
        if line.starts_with(b"\\") {
            let last = self.hunks.last_mut().and_then(|hunk| hunk.lines.last_mut());
            if let Some(last) = last {
                last.no_newline = true;
            }
            return true;
        }
        if self.left != (0, 0) {
            return self.take_line(line);
        }
        if line.starts_with(b"Binary files ") {
            self.binary = true;
            return true;
        }
        if let Some(hunk) = line.strip_prefix(b"@@ -").and_then(hunk) {
            self.left = (hunk.old_lines, hunk.new_lines);
            self.hunks.push(hunk);
            return true;
        }
        !line.starts_with(b"diff --")
    }

    fn take_line(&mut self, line: &[u8]) -> bool {
        let Some(hunk) = self.hunks.last_mut() else {
            return false;
        };
        let (kind, text) = match line.split_first() {
            Some((b'+', text)) => (DiffLineKind::Added, text),
            Some((b'-', text)) => (DiffLineKind::Removed, text),
            Some((b' ', text)) => (DiffLineKind::Context, text),
            None if self.left.0 > 0 && self.left.1 > 0 => (DiffLineKind::Context, line),
            // It was cut off.
            _ => return false,
        };
        let is_old = kind != DiffLineKind::Added;
        let is_new = kind != DiffLineKind::Removed;
        let at = (
            hunk.old_start + (hunk.old_lines - self.left.0),
            hunk.new_start + (hunk.new_lines - self.left.1),
        );
        self.left.0 = self.left.0.saturating_sub(u64::from(is_old));
        self.left.1 = self.left.1.saturating_sub(u64::from(is_new));
        hunk.lines.push(DiffLine {
            kind,
            old_line: is_old.then_some(at.0),
            new_line: is_new.then_some(at.1),
            text: String::from_utf8_lossy(text).into_owned(),
            no_newline: false,
        });
        true
    }
}

/// A hunk without its lines, from `1,3 +1,5 @@ fn main()`.
fn hunk(text: &[u8]) -> Option<DiffHunk> {
    let text = String::from_utf8_lossy(text);
    let (ranges, header) = text.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let range = |text: &str| -> Option<(u64, u64)> {
        match text.split_once(',') {
            Some((start, lines)) => Some((start.parse().ok()?, lines.parse().ok()?)),
            None => Some((text.parse().ok()?, 1)),
        }
    };
    let ((old_start, old_lines), (new_start, new_lines)) = (range(old)?, range(new)?);
    Some(DiffHunk {
        old_start,
        old_lines,
        new_start,
        new_lines,
        header: header.strip_prefix(' ').unwrap_or(header).to_owned(),
        lines: Vec::new(),
    })
}

/// A path as `git` writes it with `core.quotePath` off.
fn quoted(prefix: &[u8], path: &[u8]) -> Vec<u8> {
    let mut text = prefix.to_vec();
    let needs_quotes = |byte: &u8| *byte < 0x20 || matches!(*byte, 0x7f | b'"' | b'\\');
    if !path.iter().any(needs_quotes) {
        text.extend(path);
        return text;
    }
    text.insert(0, b'"');
    for byte in path {
        let letter = match *byte {
            0x07 => b'a',
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0b => b'v',
            0x0c => b'f',
            b'\r' => b'r',
            b'"' | b'\\' => *byte,
            other if needs_quotes(&other) => {
                text.extend(format!("\\{other:03o}").into_bytes());
                continue;
            }
            other => {
                text.push(other);
                continue;
            }
        };
        text.extend([b'\\', letter]);
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As git 2.47 wrote it.
    const WRITTEN: &[u8] = b":000000 100644 0000000 bdc955b A\0bin\0\
        :100644 100644 de98044 0000000 M\0f.txt\0\
        :120000 100644 34ed534 0000000 T\0l\0\
        :100644 100644 c1b0730 c1b0730 R100\0od\"d \xc3\xa9\0moved\0\0\
        diff --git a/bin b/bin\nnew file mode 100644\nindex 00..bd\nBinary files /dev/null and b/bin differ\n\
        diff --git a/f.txt b/f.txt\nindex de..7b 100644\n--- a/f.txt\n+++ b/f.txt\n\
        @@ -1,3 +1,3 @@ fn main()\n a\n-b\n+diff --git a/x b/x\n c\n\
        diff --git a/l b/l\ndeleted file mode 120000\nindex 34..00\n--- a/l\n+++ /dev/null\n\
        @@ -1 +0,0 @@\n-/etc\n\\ No newline at end of file\n\
        diff --git a/l b/l\nnew file mode 100644\nindex 00..32\n--- /dev/null\n+++ b/l\n\
        @@ -0,0 +1 @@\n+hi\n\\ No newline at end of file\n\
        diff --git \"a/od\\\"d \xc3\xa9\" b/moved\nsimilarity index 100%\nrename from x\nrename to moved\n";

    #[test]
    fn each_kind_of_change_is_told_with_its_lines() {
        let diff = parse(WRITTEN, false, None);
        let told: Vec<_> = diff
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.status, file.hunks.len(), file.truncated))
            .collect();
        assert_eq!(
            told,
            [
                ("bin", FileDiffStatus::Added, 0, false),
                ("f.txt", FileDiffStatus::Modified, 1, false),
                ("l", FileDiffStatus::TypeChanged, 2, false),
                ("moved", FileDiffStatus::Renamed, 0, false),
            ]
        );
        assert!(diff.files[0].binary);
        assert_eq!(diff.files[3].old_path.as_deref(), Some("od\"d é"));
        assert_eq!((diff.additions, diff.deletions, diff.truncated), (2, 2, false));
        let hunk = &diff.files[1].hunks[0];
        assert_eq!(hunk.header, "fn main()");
        let lines: Vec<_> = hunk
            .lines
            .iter()
            .map(|line| (line.old_line, line.new_line, line.text.as_str()))
            .collect();
        assert_eq!(
            lines,
            [
                (Some(1), Some(1), "a"),
                (Some(2), None, "b"),
                (None, Some(2), "diff --git a/x b/x"),
                (Some(3), Some(3), "c"),
            ]
        );
        assert!(diff.files[2].hunks[0].lines[0].no_newline);
    }

    #[test]
    fn of_a_folder_what_lies_in_it_is_told() {
        let names = |wanted: &str| -> Vec<String> {
            let files = parse(WRITTEN, false, Some(wanted)).files;
            files.into_iter().map(|file| file.path).collect()
        };
        assert_eq!(names("f.txt"), ["f.txt"]);
        assert_eq!(names("f"), [] as [&str; 0]);
        assert_eq!(names("od\"d é"), ["moved"]);
    }

    #[test]
    fn wherever_it_is_cut_off_it_is_told_and_nothing_is_made_up() {
        for end in 0..WRITTEN.len() {
            let diff = parse(&WRITTEN[..end], true, None);
            assert!(diff.truncated && diff.files.len() <= 4);
            for file in &diff.files {
                assert!(file.hunks.len() <= 2, "{file:?}");
            }
        }
    }
}
