//! What every store does with links by which sessions are shown.

use super::*;
use crate::domain::{KeyDigest, Share, ShareId};

pub(in crate::store::conformance) fn share_of(session: &Session, digest: u8) -> Share {
    let before = now();
    while now() == before {
        std::hint::spin_loop();
    }
    Share {
        id: ShareId::generate(&SystemClock),
        session: session.id,
        files: true,
        digest: KeyDigest([digest; 32]),
        created_by: "ci".into(),
        created_at: now(),
        expires_at: now() + TimeDelta::days(1),
        revoked_at: None,
    }
}

/// Uses all that there is.
pub(in crate::store::conformance) async fn tour(fixture: &Fixture, session: &Session) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let share = share_of(session, 200);
    store.insert_share(owner, &share, &note()).await.unwrap();
    store.find_share(share.digest).await.unwrap();
    store.get_share(owner, share.id).await.unwrap();
    for of in [None, Some(session.id)] {
        for before in [None, Some(share.id)] {
            store.list_shares(owner, of, before, 9).await.unwrap();
        }
    }
    store.revoke_share(owner, share.id, now(), &note()).await.unwrap();
}

pub(in crate::store::conformance) async fn a_link_is_found_by_its_digest_and_revoked_once(fixture: Fixture) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let other = tenant(store, "other").await;
    let session = fixture.session("alice").await;
    let share = share_of(&session, 1);
    let foreign = store.insert_share(other, &share, &note()).await;
    assert!(
        matches!(foreign, Err(StoreError::SessionGone { .. })),
        "{foreign:?}"
    );
    assert_eq!(store.find_share(share.digest).await.unwrap(), None);
    store.insert_share(owner, &share, &note()).await.unwrap();
    assert_eq!(
        store.find_share(share.digest).await.unwrap(),
        Some((owner, share.clone()))
    );
    assert_eq!(store.find_share(KeyDigest([2; 32])).await.unwrap(), None);
    assert_eq!(store.get_share(other, share.id).await.unwrap(), None);
    assert_eq!(
        store.revoke_share(other, share.id, now(), &note()).await.unwrap(),
        None
    );
    let at = now();
    let entries = async || store.read_audit(0, 99).await.unwrap().len();
    let before = entries().await;
    let revoked = store.revoke_share(owner, share.id, at, &note()).await.unwrap();
    let again = store.revoke_share(owner, share.id, now(), &note()).await.unwrap();
    assert_eq!(entries().await, before + 1, "noted once");
    assert_eq!(revoked, again);
    assert_eq!(revoked.unwrap().revoked_at, Some(at));
}

pub(in crate::store::conformance) async fn links_are_listed_newest_first_and_go_with_their_session(
    fixture: Fixture,
) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let (one, two) = (fixture.session("alice").await, fixture.session("bob").await);
    let mut made = Vec::new();
    for (session, digest) in [(&one, 1), (&two, 2), (&one, 3)] {
        let share = share_of(session, digest);
        store.insert_share(owner, &share, &note()).await.unwrap();
        made.push(share);
    }
    let listed = async |of: Option<&Session>, before: Option<&Share>| {
        let (of, before) = (of.map(|session| session.id), before.map(|share| share.id));
        store.list_shares(owner, of, before, 2).await.unwrap()
    };
    assert_eq!(listed(None, None).await, [made[2].clone(), made[1].clone()]);
    assert_eq!(listed(None, Some(&made[1])).await, [made[0].clone()]);
    assert_eq!(listed(Some(&one), None).await, [made[2].clone(), made[0].clone()]);
    assert_eq!(listed(Some(&one), Some(&made[2])).await, [made[0].clone()]);

    let used = fixture.find(one.id).await.last_active_at;
    assert!(store.remove_session(owner, one.id, used).await.unwrap());
    assert_eq!(listed(None, None).await, [made[1].clone()]);
    store.erase_user(owner, &two.user, &note()).await.unwrap();
    assert_eq!(listed(None, None).await, []);
    assert_eq!(store.find_share(made[1].digest).await.unwrap(), None);
}
