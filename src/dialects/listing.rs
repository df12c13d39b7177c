//! Lists that the original has no pages for.

use crate::domain::{Principal, UserId};
use crate::service::{Error, Services, SessionDetails, SessionQuery, SessionState};

/// How many sessions are read from the store at once.
const BATCH: u32 = 500;

/// The caller's newest active sessions, those of a user where one is given.
pub(super) async fn newest(
    services: &Services,
    caller: &Principal,
    user: Option<UserId>,
    most: usize,
) -> Result<Vec<SessionDetails>, Error> {
    let query = SessionQuery {
        user,
        state: Some(SessionState::Active),
        ..SessionQuery::default()
    };
    let (mut found, mut before) = (Vec::new(), None);
    while found.len() < most {
        let left = u32::try_from(most - found.len()).unwrap_or(u32::MAX);
        let page = services
            .sessions
            .list(caller, query.clone(), before, left.min(BATCH))
            .await?;
        found.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    Ok(found)
}
