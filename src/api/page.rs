//! Pages of lists on the wire: `{"data": […], "next_cursor": …}`.
//!
//! A cursor is opaque, and signed together with what it belongs to: the list, the tenant and the filter. One that was
//! changed, or sent to another list, tenant or filter, is refused.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiLimits;
use super::problem::{Problem, ProblemCode};
use crate::domain::{Page, TenantId};
use crate::service::hmac_by;

/// How much of a signature is kept, in bytes.
const TAG_BYTES: usize = 16;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageView<T> {
    /// The entries.
    pub data: Vec<T>,
    /// What to send as `cursor`, with the same filter, for the next page; null on the last one.
    #[schema(required, example = "pS9kQ0m1xV3bT7yWn2rLfDE3")]
    pub next_cursor: Option<String>,
}

impl<T> PageView<T> {
    /// A page of a list, each entry as its view.
    pub fn of<I: Into<T>, K: ToString>(
        page: Page<I, K>,
        cursors: &CursorKey,
        scope: CursorScope<'_>,
    ) -> Self {
        Self {
            data: page.items.into_iter().map(Into::into).collect(),
            next_cursor: page.next.map(|key| cursors.write(scope, &key)),
        }
    }
}

/// Signs cursors. All instances of a server have the same key.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

/// What a cursor belongs to.
#[derive(Debug, Clone, Copy)]
pub struct CursorScope<'a> {
    /// The list.
    pub list: &'static str,
    /// Whose.
    pub tenant: TenantId,
    /// Its filter, each part as text.
    pub filter: &'a [String],
}

impl CursorKey {
    /// Signs with this secret.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The cursor after the entry of this key.
    pub fn write(&self, scope: CursorScope<'_>, key: &impl ToString) -> String {
        let key = key.to_string();
        let mut bytes = self.tag(scope, &key).to_vec();
        bytes.extend_from_slice(key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key in a cursor.
    pub fn read<K: FromStr>(&self, scope: CursorScope<'_>, cursor: &str) -> Result<K, Problem> {
        let key = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            let (tag, key) = bytes.split_at_checked(TAG_BYTES)?;
            let key = std::str::from_utf8(key).ok()?;
            let signed = subtle::ConstantTimeEq::ct_eq(self.tag(scope, key).as_slice(), tag);
            bool::from(signed).then(|| key.parse().ok())?
        };
        key().ok_or_else(|| {
            Problem::new(ProblemCode::InvalidCursor).with_detail(
                "send the `next_cursor` of a page of this very list with the same filter, or none for the first page",
            )
        })
    }

    fn tag(&self, scope: CursorScope<'_>, key: &str) -> [u8; TAG_BYTES] {
        let mut mac = hmac_by(&self.0);
        let tenant = scope.tenant.to_string();
        let parts = [scope.list, &tenant, key];
        // Each with its length, so that no two lists of parts read the same.
        for part in parts.into_iter().chain(scope.filter.iter().map(String::as_str)) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let whole = mac.finalize().into_bytes();
        let mut tag = [0; TAG_BYTES];
        for (kept, byte) in tag.iter_mut().zip(whole) {
            *kept = byte;
        }
        tag
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
    use crate::domain::SystemClock;

    #[test]
    fn a_cursor_reads_back_in_its_own_list_tenant_and_filter_only() {
        let key = CursorKey::new([7; 32]);
        let (own, other) = (TenantId::generate(&SystemClock), TenantId::generate(&SystemClock));
        let filter = ["alice".to_owned(), String::new()];
        let scope = CursorScope {
            list: "a",
            tenant: own,
            filter: &filter,
        };
        let cursor = key.write(scope, &17);
        assert_eq!(key.read::<u64>(scope, &cursor).unwrap(), 17);
        let shifted = ["alic".to_owned(), "e".to_owned()];
        for foreign in [
            CursorScope { list: "b", ..scope },
            CursorScope {
                tenant: other,
                ..scope
            },
            CursorScope { filter: &[], ..scope },
            CursorScope {
                filter: &shifted,
                ..scope
            },
        ] {
            assert!(key.read::<u64>(foreign, &cursor).is_err(), "{foreign:?}");
        }
        assert!(CursorKey::new([8; 32]).read::<u64>(scope, &cursor).is_err());
        assert!(key.read::<u64>(scope, &key.write(scope, &"x")).is_err());
    }

    #[test]
    fn a_cursor_that_was_changed_is_refused() {
        let key = CursorKey::new([7; 32]);
        let scope = CursorScope {
            list: "a",
            tenant: TenantId::generate(&SystemClock),
            filter: &[],
        };
        let cursor = key.write(scope, &17);
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(key.read::<u64>(scope, &changed).is_err(), "{changed}");
        }
        for wrong in ["", "17", "%%", "YTox ", &"x".repeat(5000)] {
            let refused = key.read::<u64>(scope, wrong).unwrap_err();
            assert_eq!(refused.code, ProblemCode::InvalidCursor);
        }
    }
}
