//! Finding text in files: by lines, in the order of the paths, in files that are text and not too long.

use std::io::Read as _;
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use regex::bytes::{Regex, RegexBuilder};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};

use super::listing::Glob;
use super::walking::{Found, Step, Walk, walk};
use super::{EntryKind, FileError, folder_at, kind_of};
use crate::domain::FilePath;

/// How much of a file is looked at to tell whether it is text.
const SNIFFED_BYTES: usize = 8192;
/// How much memory a compiled pattern may take.
const PATTERN_MAX_BYTES: usize = 1024 * 1024;

/// What is looked for.
#[derive(Debug, Clone)]
pub struct SearchOrder {
    /// The text, or the regular expression.
    pub pattern: String,
    /// Whether it is a regular expression.
    pub is_regex: bool,
    /// Whether upper and lower case differ.
    pub case_sensitive: bool,
    /// The folder; the workspace itself when absent.
    pub folder: Option<FilePath>,
    /// What the paths of files, from the folder downwards, must match.
    pub glob: Option<Glob>,
    /// How many lines at most.
    pub limit: usize,
}

/// How much is searched.
#[derive(Debug, Clone, Copy)]
pub struct SearchLimits {
    /// Longer files are passed over, in bytes.
    pub max_file_bytes: u64,
    /// How long it may take.
    pub timeout: Duration,
    /// How much of a line is told, in bytes.
    pub line_max_bytes: usize,
    /// How deep folders are looked into.
    pub depth: u32,
}

/// A line that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The file's path in the workspace.
    pub path: String,
    /// Which line, from 1.
    pub line: u64,
    /// Where in the line, in characters, from 1.
    pub column: u64,
    /// The line, or its beginning.
    pub text: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hits {
    /// The lines.
    pub hits: Vec<Hit>,
    /// Whether there may be more: the limit, or the time, was reached, or files were too long to be searched.
    pub truncated: bool,
}

/// Looks for text. Links are not followed.
pub fn search(root: &Dir, order: &SearchOrder, limits: SearchLimits) -> Result<Hits, FileError> {
    let pattern = if order.is_regex {
        order.pattern.clone()
    } else {
        regex::escape(&order.pattern)
    };
    let pattern = RegexBuilder::new(&pattern)
        .case_insensitive(!order.case_sensitive)
        .size_limit(PATTERN_MAX_BYTES)
        .build()
        .map_err(|error| FileError::Pattern(error.to_string()))?;
    let folder = folder_at(root, order.folder.as_ref())?;
    let prefix = order
        .folder
        .as_ref()
        .map(|folder| format!("{folder}/"))
        .unwrap_or_default();
    let began = Instant::now();
    let mut found = Hits::default();
    let how = Walk {
        depth: limits.depth,
        after: &[],
    };
    walk(&folder, how, &mut |at| {
        if began.elapsed() >= limits.timeout {
            found.truncated = true;
            return Ok(Step::End);
        }
        if !matches!(at.kind, FileType::RegularFile | FileType::Unknown) {
            return Ok(Step::On);
        }
        let path = at.path();
        if order.glob.as_ref().is_some_and(|glob| !glob.matches(&path)) {
            return Ok(Step::On);
        }
        match text_of(at, limits.max_file_bytes) {
            Text::Of(data) => lines(
                &data,
                &pattern,
                &format!("{prefix}{path}"),
                order.limit,
                limits,
                &mut found,
            ),
            Text::TooLong => found.truncated = true,
            Text::None => {}
        }
        Ok(if found.hits.len() >= order.limit {
            Step::End
        } else {
            Step::On
        })
    })?;
    Ok(found)
}

enum Text {
    Of(Vec<u8>),
    TooLong,
    /// It is gone, no file, or no text.
    None,
}

fn text_of(found: &Found<'_>, max_bytes: u64) -> Text {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(found.folder, found.name, flags, Mode::empty()) else {
        return Text::None;
    };
    if !fstat(&file).is_ok_and(|stat| kind_of(&stat) == EntryKind::File) {
        return Text::None;
    }
    let mut data = Vec::new();
    let mut file = std::fs::File::from(file).take(max_bytes.saturating_add(1));
    if file.read_to_end(&mut data).is_err() {
        return Text::None;
    }
    if data.iter().take(SNIFFED_BYTES).any(|byte| *byte == 0) {
        Text::None
    } else if data.len() as u64 > max_bytes {
        Text::TooLong
    } else {
        Text::Of(data)
    }
}

fn lines(data: &[u8], pattern: &Regex, path: &str, most: usize, limits: SearchLimits, found: &mut Hits) {
    for (index, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let Some(hit) = pattern.find(line) else { continue };
        if found.hits.len() >= most {
            found.truncated = true;
            return;
        }
        let before = line.get(..hit.start()).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let told = line.get(..limits.line_max_bytes).unwrap_or(line);
        found.hits.push(Hit {
            path: path.to_owned(),
            line: index as u64 + 1,
            column: String::from_utf8_lossy(before).chars().count() as u64 + 1,
            text: String::from_utf8_lossy(told).into_owned(),
        });
        if found.hits.len() == most {
            // Whether there is more is not looked for.
            found.truncated = true;
        }
    }
}
