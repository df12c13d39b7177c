//! Pages of lists on the wire: `{"data": […], "next_cursor": …}`.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiLimits;
use super::problem::{Problem, ProblemCode};

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageView<T> {
    /// The entries.
    pub data: Vec<T>,
    /// What to send as `cursor` for the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// What a list calls its cursors, so that no list takes another's.
#[derive(Debug, Clone, Copy)]
pub struct CursorKind(pub &'static str);

impl CursorKind {
    /// The cursor after the entry of this key.
    pub fn write(self, key: &impl ToString) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{}", self.0, key.to_string()))
    }

    /// The key in a cursor.
    pub fn read<K: FromStr>(self, cursor: &str) -> Result<K, Problem> {
        let text = URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        text.as_deref()
            .and_then(|text| text.strip_prefix(self.0)?.strip_prefix(':'))
            .and_then(|key| key.parse().ok())
            .ok_or_else(|| {
                Problem::new(ProblemCode::InvalidCursor).with_detail(
                    "send the `next_cursor` of a page of this very list, or none for the first page",
                )
            })
    }
}

/// How many entries a page may have: what was asked for, or the default.
#[must_use]
pub fn page_size(limit: Option<u32>, limits: &ApiLimits) -> u32 {
    limit.unwrap_or(limits.page_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_in_its_own_list_only() {
        let cursor = CursorKind("a").write(&17);
        assert_eq!(CursorKind("a").read::<u64>(&cursor).unwrap(), 17);
        assert!(CursorKind("b").read::<u64>(&cursor).is_err());
        assert!(CursorKind("a").read::<u64>(&CursorKind("a").write(&"x")).is_err());
        for wrong in ["", "17", "%%", "YTox ", &"x".repeat(5000)] {
            assert_eq!(
                CursorKind("a").read::<u64>(wrong).unwrap_err().code,
                ProblemCode::InvalidCursor
            );
        }
    }
}
