//! Diffs: what changed between two states of a folder, file by file, line by line, and as unified text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use utoipa::ToSchema;

/// What changed between two states of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = DiffView)]
pub struct Diff {
    /// What changed, by path.
    pub files: Vec<FileDiff>,
    /// How many lines were added in all.
    #[schema(example = 3)]
    pub additions: u64,
    /// How many lines were removed in all.
    #[schema(example = 1)]
    pub deletions: u64,
    /// Whether something is left out because there is too much of it.
    #[schema(example = false)]
    pub truncated: bool,
}

/// What changed of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = FileDiffView)]
pub struct FileDiff {
    /// Its path in the workspace; what was removed has its old one.
    #[schema(example = "src/main.rs")]
    pub path: String,
    /// Its path before it was renamed or copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "src/old.rs")]
    pub old_path: Option<String>,
    /// What happened to it.
    pub status: FileDiffStatus,
    /// Whether it is no text; then there are no hunks.
    #[schema(example = false)]
    pub binary: bool,
    /// How many lines were added.
    #[schema(example = 3)]
    pub additions: u64,
    /// How many lines were removed.
    #[schema(example = 1)]
    pub deletions: u64,
    /// Whether its hunks are left out, or some of them, because there is too much of them.
    #[schema(example = false)]
    pub truncated: bool,
    /// Its mode before, in octal, with what it is: `100644`, `100755` or `120000` for a link. Absent when it is new, or not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "100644")]
    pub old_mode: Option<String>,
    /// Its mode after, as `old_mode`. Absent when it was removed, or is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "100644")]
    pub new_mode: Option<String>,
    /// The places that changed, from the first to the last.
    pub hunks: Vec<DiffHunk>,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[schema(as = FileDiffStatus)]
pub enum FileDiffStatus {
    /// It is new.
    Added,
    /// Its content or its mode changed.
    Modified,
    /// It was removed.
    Deleted,
    /// It has another path.
    Renamed,
    /// It is a copy of another.
    Copied,
    /// It was a file and is a link, or the other way round.
    TypeChanged,
}

/// A place that changed, with lines around it that did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DiffHunkView)]
pub struct DiffHunk {
    /// Its first line before, from 1; 0 when it had none.
    #[schema(example = 10)]
    pub old_start: u64,
    /// How many lines it had before.
    #[schema(example = 3)]
    pub old_lines: u64,
    /// Its first line after, from 1; 0 when it has none.
    #[schema(example = 10)]
    pub new_start: u64,
    /// How many lines it has after.
    #[schema(example = 5)]
    pub new_lines: u64,
    /// What stands after the second `@@`: often the function that it is in. May be empty.
    #[schema(example = "fn main()")]
    pub header: String,
    /// Its lines.
    pub lines: Vec<DiffLine>,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DiffLineView)]
pub struct DiffLine {
    /// Whether it was added, removed, or neither.
    pub kind: DiffLineKind,
    /// Its number before, from 1; `null` when it was added.
    #[schema(required = true, example = 11)]
    pub old_line: Option<u64>,
    /// Its number after, from 1; `null` when it was removed.
    #[schema(required = true, example = 12)]
    pub new_line: Option<u64>,
    /// It, without its end. What is not UTF-8 in it is replaced.
    #[schema(example = "    let answer = 42;")]
    pub text: String,
    /// Whether it is the file's last and has no newline at its end. Absent when it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(example = true)]
    pub no_newline: bool,
}

/// Whether a line was added, removed, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DiffLineKind)]
pub enum DiffLineKind {
    /// It is in both.
    Context,
    /// It is only in the new one.
    Added,
    /// It is only in the old one.
    Removed,
}

impl Diff {
    /// The diff of these files, with the sums of theirs.
    #[must_use]
    pub fn of(files: Vec<FileDiff>, truncated: bool) -> Self {
        let (mut additions, mut deletions) = (0, 0);
        let mut truncated = truncated;
        for file in &files {
            additions += file.additions;
            deletions += file.deletions;
            truncated |= file.truncated;
        }
        Self {
            files,
            additions,
            deletions,
            truncated,
        }
    }

    /// As unified text, as `git diff` writes it.
    #[must_use]
    pub fn to_unified(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            file.write_unified(&mut text);
        }
        text
    }
}

impl FileDiff {
    fn write_unified(&self, out: &mut String) {
        let old_path = self.old_path.as_deref().unwrap_or(&self.path);
        let (old, new) = (quoted("a/", old_path), quoted("b/", &self.path));
        let (old_mode, new_mode) = (self.old_mode.as_deref(), self.new_mode.as_deref());
        if self.status == FileDiffStatus::TypeChanged {
            // One that went and one that came: nothing else can be applied.
            self.write_half(out, true);
            self.write_half(out, false);
            return;
        }
        push(out, format_args!("diff --git {old} {new}\n"));
        match self.status {
            FileDiffStatus::Added => push(
                out,
                format_args!("new file mode {}\n", new_mode.unwrap_or("100644")),
            ),
            FileDiffStatus::Deleted => push(
                out,
                format_args!("deleted file mode {}\n", old_mode.unwrap_or("100644")),
            ),
            _ => {
                if let (Some(before), Some(after)) = (old_mode, new_mode)
                    && before != after
                {
                    push(out, format_args!("old mode {before}\nnew mode {after}\n"));
                }
            }
        }
        let moved = match self.status {
            FileDiffStatus::Renamed => Some("rename"),
            FileDiffStatus::Copied => Some("copy"),
            _ => None,
        };
        if let Some(moved) = moved {
            let (from, to) = (quoted("", old_path), quoted("", &self.path));
            push(out, format_args!("{moved} from {from}\n{moved} to {to}\n"));
        }
        let old = if self.status == FileDiffStatus::Added {
            "/dev/null"
        } else {
            &old
        };
        let new = if self.status == FileDiffStatus::Deleted {
            "/dev/null"
        } else {
            &new
        };
        if self.binary {
            push(out, format_args!("Binary files {old} and {new} differ\n"));
        } else if !self.hunks.is_empty() {
            push(out, format_args!("--- {old}\n+++ {new}\n"));
            for hunk in &self.hunks {
                hunk.write_unified(out);
            }
        }
    }

    /// The one side of a change of kind, as a file that was removed or added.
    fn write_half(&self, out: &mut String, removed: bool) {
        let wanted = if removed {
            DiffLineKind::Removed
        } else {
            DiffLineKind::Added
        };
        let lines: Vec<DiffLine> = self
            .hunks
            .iter()
            .flat_map(|hunk| &hunk.lines)
            .filter(|line| line.kind == wanted)
            .cloned()
            .collect();
        let count = lines.len() as u64;
        let start = u64::from(count > 0);
        let hunk = DiffHunk {
            old_start: if removed { start } else { 0 },
            old_lines: if removed { count } else { 0 },
            new_start: if removed { 0 } else { start },
            new_lines: if removed { 0 } else { count },
            header: String::new(),
            lines,
        };
        let half = Self {
            old_path: removed.then(|| self.old_path.clone()).flatten(),
            status: if removed {
                FileDiffStatus::Deleted
            } else {
                FileDiffStatus::Added
            },
            hunks: if count > 0 { vec![hunk] } else { Vec::new() },
            ..self.clone()
        };
        half.write_unified(out);
    }
}

impl DiffHunk {
    fn write_unified(&self, out: &mut String) {
        let range = |start: u64, lines: u64| {
            if lines == 1 {
                start.to_string()
            } else {
                format!("{start},{lines}")
            }
        };
        push(
            out,
            format_args!(
                "@@ -{} +{} @@{}{}\n",
                range(self.old_start, self.old_lines),
                range(self.new_start, self.new_lines),
                if self.header.is_empty() { "" } else { " " },
                self.header
            ),
        );
        for line in &self.lines {
            let sign = match line.kind {
                DiffLineKind::Context => ' ',
                DiffLineKind::Added => '+',
                DiffLineKind::Removed => '-',
            };
            push(out, format_args!("{sign}{}\n", line.text));
            if line.no_newline {
                out.push_str("\\ No newline at end of file\n");
            }
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Text takes all that is written to it.
    let _written = out.write_fmt(text);
}

/// A path as `git` writes it: in quotes where it holds what would end it.
fn quoted(prefix: &str, path: &str) -> String {
    let needs_quotes = |symbol: char| symbol.is_control() || symbol == '"' || symbol == '\\';
    if !path.contains(needs_quotes) {
        return format!("{prefix}{path}");
    }
    let mut quoted = format!("\"{prefix}");
    for symbol in path.chars() {
        match symbol {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            other if other.is_control() => {
                let mut bytes = [0; 4];
                for byte in other.encode_utf8(&mut bytes).bytes() {
                    push(&mut quoted, format_args!("\\{byte:03o}"));
                }
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: DiffLineKind, text: &str) -> DiffLine {
        DiffLine {
            kind,
            old_line: (kind != DiffLineKind::Added).then_some(1),
            new_line: (kind != DiffLineKind::Removed).then_some(1),
            text: text.to_owned(),
            no_newline: false,
        }
    }

    fn file(status: FileDiffStatus) -> FileDiff {
        FileDiff {
            path: "a b.txt".to_owned(),
            old_path: None,
            status,
            binary: false,
            additions: 1,
            deletions: 1,
            truncated: false,
            old_mode: Some("100644".to_owned()),
            new_mode: Some("100644".to_owned()),
            hunks: vec![DiffHunk {
                old_start: 1,
                old_lines: 1,
                new_start: 1,
                new_lines: 1,
                header: String::new(),
                lines: vec![
                    line(DiffLineKind::Removed, "old"),
                    DiffLine {
                        no_newline: true,
                        ..line(DiffLineKind::Added, "new")
                    },
                ],
            }],
        }
    }

    #[test]
    fn a_changed_file_reads_as_git_writes_it() {
        let diff = Diff::of(vec![file(FileDiffStatus::Modified)], false);
        assert_eq!((diff.additions, diff.deletions), (1, 1));
        assert_eq!(
            diff.to_unified(),
            "diff --git a/a b.txt b/a b.txt\n--- a/a b.txt\n+++ b/a b.txt\n@@ -1 +1 @@\n-old\n+new\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn a_file_that_became_a_link_goes_and_comes() {
        let changed = FileDiff {
            new_mode: Some("120000".to_owned()),
            ..file(FileDiffStatus::TypeChanged)
        };
        let text = Diff::of(vec![changed], false).to_unified();
        let went = text.find("deleted file mode 100644\n").unwrap();
        let came = text.find("new file mode 120000\n").unwrap();
        assert!(went < came, "{text}");
        assert!(text.contains("@@ -1 +0,0 @@\n-old\n"), "{text}");
        assert!(text.contains("@@ -0,0 +1 @@\n+new\n"), "{text}");
    }

    #[test]
    fn a_path_with_a_line_break_cannot_begin_a_line_of_its_own() {
        let odd = FileDiff {
            path: "a\n+++ b/\"x\"\u{1b}".to_owned(),
            status: FileDiffStatus::Renamed,
            old_path: Some("é".to_owned()),
            ..file(FileDiffStatus::Modified)
        };
        let text = Diff::of(vec![odd], false).to_unified();
        assert!(
            text.starts_with("diff --git a/é \"b/a\\n+++ b/\\\"x\\\"\\033\"\nrename from é\n"),
            "{text}"
        );
    }
}
