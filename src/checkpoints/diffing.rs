//! What differs between two trees, line by line where that is text.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use super::CheckpointError;
use super::object::{ObjectId, Objects};
use super::tree::{Kind, PathBytes, Tree};
use crate::domain::{Diff, DiffHunk, DiffLine, DiffLineKind, FileDiff, FileDiffStatus};

/// How much of a file is looked at to tell whether it is text, in bytes.
const LOOKED_AT: u64 = 8000;
/// What a link is, as a mode.
const LINK_MODE: &str = "120000";

/// How much a diff may come to.
#[derive(Debug, Clone, Copy)]
pub struct DiffLimits {
    /// The longest file that is compared line by line, in bytes.
    pub file_max_bytes: u64,
    /// The most text of all lines together, in bytes.
    pub max_bytes: usize,
    /// The most files.
    pub files_max: usize,
    /// How long is looked for the shortest way from one file to another; past that, a longer one is told.
    pub timeout: Duration,
}

/// Which diff is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiffOrder {
    /// Of this file, or of what lies in this folder; of all when absent.
    pub path: Option<String>,
    /// How many lines that did not change are told around those that did.
    pub context: usize,
}

/// What differs between two trees.
pub(super) fn diff(
    before: &Tree,
    after: &Tree,
    objects: &Objects,
    order: &DiffOrder,
    limits: DiffLimits,
) -> Result<Diff, CheckpointError> {
    let mut changes = changes(before, after, order);
    let truncated = changes.len() > limits.files_max;
    changes.truncate(limits.files_max);
    let mut differ = Differ {
        objects,
        context: order.context,
        file_max_bytes: limits.file_max_bytes,
        left_bytes: limits.max_bytes,
        deadline: Instant::now().checked_add(limits.timeout),
    };
    let files = changes.into_iter().map(|change| differ.file(change));
    Ok(Diff::of(files.collect::<Result<_, _>>()?, truncated))
}

/// What became of a path.
#[derive(Debug, Clone, Copy)]
struct Change<'a> {
    path: &'a PathBytes,
    /// The path before, if it was another.
    old_path: Option<&'a PathBytes>,
    old: Option<&'a Kind>,
    new: Option<&'a Kind>,
}

fn changes<'a>(before: &'a Tree, after: &'a Tree, order: &DiffOrder) -> Vec<Change<'a>> {
    let listed = |tree: &'a Tree| -> BTreeMap<&'a PathBytes, &'a Kind> {
        let entries = tree.entries.iter();
        entries
            .filter(|entry| !matches!(entry.is, Kind::Folder { .. }))
            .map(|entry| (&entry.path, &entry.is))
            .collect()
    };
    let (before, after) = (listed(before), listed(after));
    let removed = before.iter().filter(|(path, _)| !after.contains_key(*path));
    // What came under another path with the same content was moved.
    let mut moved: HashMap<ObjectId, VecDeque<&PathBytes>> = HashMap::new();
    for (path, kind) in removed {
        if let Kind::File { holds, size: 1.., .. } = kind {
            moved.entry(*holds).or_default().push_back(path);
        }
    }
    let mut changes: BTreeMap<&PathBytes, Change<'_>> = BTreeMap::new();
    let mut left: HashSet<&PathBytes> = HashSet::new();
    for (path, new) in &after {
        let (mut old, mut old_path) = (before.get(*path).copied(), None);
        if let (None, Kind::File { holds, .. }) = (old, new)
            && let Some(from) = moved.get_mut(holds).and_then(VecDeque::pop_front)
        {
            (old, old_path) = (before.get(from).copied(), Some(from));
            left.insert(from);
        }
        if old != Some(*new) || old_path.is_some() {
            changes.insert(
                path,
                Change {
                    path,
                    old_path,
                    old,
                    new: Some(new),
                },
            );
        }
    }
    for (path, old) in &before {
        if !after.contains_key(*path) && !left.contains(path) {
            changes.insert(
                path,
                Change {
                    path,
                    old_path: None,
                    old: Some(old),
                    new: None,
                },
            );
        }
    }
    let wanted = |path: &PathBytes| {
        order.path.as_ref().is_none_or(|wanted| {
            let rest = path.as_bytes().strip_prefix(wanted.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    };
    changes
        .into_values()
        .filter(|change| wanted(change.path) || change.old_path.is_some_and(wanted))
        .collect()
}

struct Differ<'a> {
    objects: &'a Objects,
    context: usize,
    file_max_bytes: u64,
    left_bytes: usize,
    deadline: Option<Instant>,
}

/// What a file holds, as far as it is compared.
enum Side {
    Text(Vec<u8>),
    Binary,
    /// Text, and too long.
    TooLong,
    /// It was not kept.
    Unknown,
}

impl Differ<'_> {
    fn file(&mut self, change: Change<'_>) -> Result<FileDiff, CheckpointError> {
        let status = match (change.old, change.new) {
            (None, _) => FileDiffStatus::Added,
            (_, None) => FileDiffStatus::Deleted,
            _ if change.old_path.is_some() => FileDiffStatus::Renamed,
            (Some(Kind::Link { .. }), Some(Kind::File { .. }))
            | (Some(Kind::File { .. }), Some(Kind::Link { .. })) => FileDiffStatus::TypeChanged,
            _ => FileDiffStatus::Modified,
        };
        let mut told = FileDiff {
            path: change.path.shown(),
            old_path: change.old_path.map(PathBytes::shown),
            status,
            binary: false,
            additions: 0,
            deletions: 0,
            truncated: false,
            old_mode: change.old.and_then(mode),
            new_mode: change.new.and_then(mode),
            hunks: Vec::new(),
        };
        if content(change.old) == content(change.new) && content(change.old).is_some() {
            // It was moved, or has other permissions.
            return Ok(told);
        }
        let (old, new) = (self.side(change.old)?, self.side(change.new)?);
        match (old, new) {
            (Side::Text(old), Side::Text(new)) => self.compare(&old, &new, &mut told),
            (Side::Binary, _) | (_, Side::Binary) => told.binary = true,
            _ => told.truncated = true,
        }
        Ok(told)
    }

    fn side(&self, kind: Option<&Kind>) -> Result<Side, CheckpointError> {
        let (holds, size) = match kind {
            None => return Ok(Side::Text(Vec::new())),
            Some(Kind::Link { to }) => return Ok(Side::Text(to.as_bytes().to_vec())),
            Some(Kind::File { holds, size, .. }) => (*holds, *size),
            Some(Kind::Folder { .. } | Kind::NotKept { .. }) => return Ok(Side::Unknown),
        };
        let file = match self.objects.open(holds) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CheckpointError::NotFound),
            Err(error) => return Err(error.into()),
        };
        let wanted = if size > self.file_max_bytes {
            LOOKED_AT
        } else {
            size
        };
        let mut bytes = Vec::new();
        file.take(wanted).read_to_end(&mut bytes)?;
        let looked_at = bytes
            .iter()
            .take(usize::try_from(LOOKED_AT).unwrap_or(usize::MAX));
        if looked_at.into_iter().any(|byte| *byte == 0) {
            Ok(Side::Binary)
        } else if size > self.file_max_bytes {
            Ok(Side::TooLong)
        } else {
            Ok(Side::Text(bytes))
        }
    }

    fn compare(&mut self, old: &[u8], new: &[u8], told: &mut FileDiff) {
        let old: Vec<&[u8]> = old.split_inclusive(|byte| *byte == b'\n').collect();
        let new: Vec<&[u8]> = new.split_inclusive(|byte| *byte == b'\n').collect();
        let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, self.deadline);
        for op in &ops {
            let (_, old, new) = op.as_tag_tuple();
            if !matches!(op, DiffOp::Equal { .. }) {
                told.deletions += old.len() as u64;
                told.additions += new.len() as u64;
            }
        }
        for group in group_diff_ops(ops, self.context) {
            let left = self.left_bytes;
            let Some(hunk) = self.hunk(&group, &old, &new) else {
                // What is shorter may still be told.
                self.left_bytes = left;
                told.truncated = true;
                return;
            };
            told.hunks.push(hunk);
        }
    }

    /// A place that changed; `None` when it is too much.
    fn hunk(&mut self, group: &[DiffOp], old: &[&[u8]], new: &[&[u8]]) -> Option<DiffHunk> {
        let (first, last) = (group.first()?, group.last()?);
        let (old_range, new_range) = (
            first.old_range().start..last.old_range().end,
            first.new_range().start..last.new_range().end,
        );
        let mut lines = Vec::new();
        for op in group {
            let (old_range, new_range) = (op.old_range(), op.new_range());
            if let DiffOp::Equal { .. } = op {
                for (old_at, new_at) in old_range.zip(new_range) {
                    let line = old.get(old_at)?;
                    lines.push(self.line(DiffLineKind::Context, Some(old_at), Some(new_at), line)?);
                }
                continue;
            }
            for at in old_range {
                lines.push(self.line(DiffLineKind::Removed, Some(at), None, old.get(at)?)?);
            }
            for at in new_range {
                lines.push(self.line(DiffLineKind::Added, None, Some(at), new.get(at)?)?);
            }
        }
        // A side without lines is told by the line before it.
        let start = |range: &std::ops::Range<usize>| (range.start + usize::from(!range.is_empty())) as u64;
        Some(DiffHunk {
            old_start: start(&old_range),
            old_lines: old_range.len() as u64,
            new_start: start(&new_range),
            new_lines: new_range.len() as u64,
            header: String::new(),
            lines,
        })
    }

    fn line(
        &mut self,
        kind: DiffLineKind,
        old: Option<usize>,
        new: Option<usize>,
        line: &[u8],
    ) -> Option<DiffLine> {
        self.left_bytes = self.left_bytes.checked_sub(line.len())?;
        let number = |at: Option<usize>| at.map(|at| at as u64 + 1);
        let text = line.strip_suffix(b"\n");
        Some(DiffLine {
            kind,
            old_line: number(old),
            new_line: number(new),
            text: String::from_utf8_lossy(text.unwrap_or(line)).into_owned(),
            no_newline: text.is_none(),
        })
    }
}

/// What it holds, where that can be compared without looking.
fn content(kind: Option<&Kind>) -> Option<ObjectId> {
    match kind {
        Some(Kind::File { holds, .. }) => Some(*holds),
        _ => None,
    }
}

fn mode(kind: &Kind) -> Option<String> {
    match kind {
        Kind::File { mode, .. } => Some(format!("100{mode:03o}")),
        Kind::Link { .. } => Some(LINK_MODE.to_owned()),
        Kind::Folder { .. } | Kind::NotKept { .. } => None,
    }
}
