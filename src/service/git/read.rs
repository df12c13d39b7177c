//! What `git status --porcelain=v2 -z --branch` and `git log -z` write.

use chrono::{DateTime, Utc};

use crate::domain::{GitChange, GitChangeKind, GitCommit, GitStatus};

/// What a commit is told in, each ended by NUL.
pub(super) const COMMIT_FORMAT: &str = "--format=tformat:%H%x00%P%x00%an%x00%ae%x00%at%x00%s%x00%b";
/// How many there are.
const COMMIT_FIELDS: usize = 7;

/// The pieces that were ended; what was cut off is none.
fn pieces(output: &[u8]) -> impl Iterator<Item = String> {
    let ended = output.iter().rposition(|byte| *byte == 0).unwrap_or(0);
    let ended = output.get(..ended).unwrap_or_default();
    let pieces = ended.split(|byte| *byte == 0).filter(move |_| !ended.is_empty());
    pieces.map(|piece| String::from_utf8_lossy(piece).into_owned())
}

/// How a repository stands. `cut` says that the output was cut off.
pub(super) fn status(output: &[u8], cut: bool) -> GitStatus {
    let mut status = GitStatus {
        truncated: cut,
        ..GitStatus::default()
    };
    let mut pieces = pieces(output);
    while let Some(piece) = pieces.next() {
        if let Some(header) = piece.strip_prefix("# branch.") {
            take_header(&mut status, header);
            continue;
        }
        let Some((kind, rest)) = piece.split_once(' ') else {
            continue;
        };
        let change = match kind {
            "1" => change(rest, 7),
            "2" => change(rest, 8).map(|change| GitChange {
                old_path: pieces.next(),
                ..change
            }),
            "u" => change(rest, 9).map(|change| GitChange {
                index: Some(GitChangeKind::Unmerged),
                worktree: Some(GitChangeKind::Unmerged),
                ..change
            }),
            "?" => Some(GitChange {
                path: rest.to_owned(),
                old_path: None,
                index: None,
                worktree: Some(GitChangeKind::Untracked),
            }),
            _ => None,
        };
        status.changes.extend(change);
    }
    status
}

fn take_header(status: &mut GitStatus, header: &str) {
    let Some((name, value)) = header.split_once(' ') else {
        return;
    };
    match name {
        "oid" if value != "(initial)" => status.head = Some(value.to_owned()),
        "head" if value != "(detached)" => status.branch = Some(value.to_owned()),
        "upstream" => status.upstream = Some(value.to_owned()),
        "ab" => {
            let count = |text: &str| text.get(1..).and_then(|digits| digits.parse().ok()).unwrap_or(0);
            let (ahead, behind) = value.split_once(' ').unwrap_or((value, ""));
            status.ahead = count(ahead);
            status.behind = count(behind);
        }
        _ => {}
    }
}

/// A change whose path comes after so many other words.
fn change(text: &str, words: usize) -> Option<GitChange> {
    let mut parts = text.splitn(words + 1, ' ');
    let mut letters = parts.next()?.chars();
    let (index, worktree) = (letters.next()?, letters.next()?);
    Some(GitChange {
        path: parts.nth(words - 1)?.to_owned(),
        old_path: None,
        index: kind(index),
        worktree: kind(worktree),
    })
}

fn kind(letter: char) -> Option<GitChangeKind> {
    Some(match letter {
        'M' => GitChangeKind::Modified,
        'T' => GitChangeKind::TypeChanged,
        'A' => GitChangeKind::Added,
        'D' => GitChangeKind::Deleted,
        'R' => GitChangeKind::Renamed,
        'C' => GitChangeKind::Copied,
        'U' => GitChangeKind::Unmerged,
        _ => return None,
    })
}

/// Commits, the newest first.
pub(super) fn commits(output: &[u8]) -> Vec<GitCommit> {
    let pieces: Vec<String> = pieces(output).collect();
    let (whole, _cut) = pieces.as_chunks::<COMMIT_FIELDS>();
    let commits = whole.iter().map(|[id, parents, name, email, at, subject, body]| {
        let at = at.parse().ok();
        GitCommit {
            id: id.clone(),
            parents: parents.split_whitespace().map(ToOwned::to_owned).collect(),
            author_name: name.clone(),
            author_email: email.clone(),
            authored_at: at.and_then(time).unwrap_or(DateTime::UNIX_EPOCH),
            subject: subject.clone(),
            body: body.trim_end().to_owned(),
        }
    });
    commits.collect()
}

/// A commit may say that it is of any time at all.
fn time(seconds: i64) -> Option<DateTime<Utc>> {
    use chrono::Datelike as _;
    DateTime::from_timestamp(seconds, 0).filter(|at| (0..=9999).contains(&at.year()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_its_branch_and_each_kind_of_change() {
        let oid = "0".repeat(40);
        let text = format!(
            "# branch.oid {oid}\0# branch.head main\0# branch.upstream origin/main\0# branch.ab +2 -1\0\
             1 .M N... 100644 100644 100644 {oid} {oid} a b.txt\0\
             2 R. N... 100644 100644 100644 {oid} {oid} R100 new\nname\0old\0\
             u UU N... 100644 100644 100644 100644 {oid} {oid} {oid} both\0? un tracked\0? cut"
        );
        let status = status(text.as_bytes(), true);
        assert_eq!(
            (status.branch.as_deref(), status.head, status.upstream.as_deref()),
            (Some("main"), Some(oid), Some("origin/main"))
        );
        assert_eq!((status.ahead, status.behind, status.truncated), (2, 1, true));
        let told: Vec<_> = status
            .changes
            .iter()
            .map(|change| {
                (
                    change.path.as_str(),
                    change.old_path.as_deref(),
                    change.index,
                    change.worktree,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("a b.txt", None, None, Some(GitChangeKind::Modified)),
                ("new\nname", Some("old"), Some(GitChangeKind::Renamed), None),
                (
                    "both",
                    None,
                    Some(GitChangeKind::Unmerged),
                    Some(GitChangeKind::Unmerged)
                ),
                ("un tracked", None, None, Some(GitChangeKind::Untracked)),
            ]
        );
        assert_eq!(super::status(b"", false), GitStatus::default());
    }

    #[test]
    fn commits_are_read_and_one_that_was_cut_off_is_none() {
        let text =
            "abc\0d e\0Ann\0a@b\x001700000000\0Subject\0Body\n\n\0def\0\0B\0\099999999999999\0S\0\0ghi\0\0C";
        let commits = commits(text.as_bytes());
        assert_eq!(commits.len(), 2);
        assert_eq!(commits[0].parents, ["d", "e"]);
        assert_eq!(commits[0].body, "Body");
        assert_eq!(commits[0].authored_at.timestamp(), 1_700_000_000);
        assert_eq!(
            commits[1].authored_at,
            DateTime::UNIX_EPOCH,
            "of no time there is"
        );
        assert_eq!(commits[1].parents, [] as [&str; 0]);
    }
}
