//! What every store does with tenants, and with the audit of what is done to them and to their keys.

use super::*;
use crate::domain::rate::Rate;
use crate::domain::{
    AuditEntry, CredentialKind, Room, SessionQuota, StoredCredential, TenantChange, TenantLimits,
    TenantPolicy,
};

pub(in crate::store::conformance) async fn a_tenant_is_made_once_and_changed(fixture: Fixture) {
    let store = &*fixture.store;
    let new = |name: &str| Tenant::new(TenantId::generate(&SystemClock), name.parse().unwrap(), now());
    let made = new("made");
    assert!(store.insert_tenant(&made, &note()).await.unwrap());
    assert!(!store.insert_tenant(&new("made"), &note()).await.unwrap());
    assert_eq!(store.get_tenant(made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(store.find_tenant(&made.name).await.unwrap(), Some(made.clone()));

    let change = |suspended| TenantChange {
        suspended,
        ..TenantChange::default()
    };
    let terms = TenantChange {
        suspended: None,
        policy: Some(TenantPolicy {
            models: Some(vec!["claude-*".into()]),
            ..TenantPolicy::default()
        }),
        limits: Some(TenantLimits {
            turns_max: Some(7),
            ..TenantLimits::default()
        }),
    };
    let with_terms = store
        .update_tenant(made.id, &terms, &note())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(Some(&with_terms.policy), terms.policy.as_ref());
    assert_eq!(Some(with_terms.limits), terms.limits);
    assert_eq!(store.get_tenant(made.id).await.unwrap(), Some(with_terms.clone()));
    let suspended = note();
    for later in [suspended.clone(), note()] {
        let changed = store.update_tenant(made.id, &change(Some(true)), &later).await;
        assert_eq!(
            changed.unwrap().unwrap().suspended_at,
            Some(suspended.at),
            "it keeps its first time"
        );
    }
    let same = store.update_tenant(made.id, &change(None), &note()).await;
    assert_eq!(same.unwrap().unwrap().suspended_at, Some(suspended.at));
    let again = store.update_tenant(made.id, &change(Some(false)), &note()).await;
    assert_eq!(again.unwrap(), Some(with_terms));
    let nobody = TenantId::generate(&SystemClock);
    let none = store.update_tenant(nobody, &change(Some(true)), &note()).await;
    assert_eq!(none.unwrap(), None);
}

pub(in crate::store::conformance) async fn a_key_that_is_revoked_stays_so(fixture: Fixture) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let other = tenant(store, "other").await;
    assert!(!store.has_key().await.unwrap());
    let key = record_cases::key_of("ci", 1);
    store.insert_key(owner, &key, &note()).await.unwrap();
    assert!(store.has_key().await.unwrap());
    assert_eq!(store.get_key(owner, key.id).await.unwrap(), Some(key.clone()));
    assert_eq!(store.get_key(other, key.id).await.unwrap(), None);
    let at = now();
    let revoked = store.revoke_key(owner, key.id, at, &note()).await.unwrap();
    let later = store.revoke_key(owner, key.id, now(), &note()).await.unwrap();
    assert_eq!(revoked, later);
    assert_eq!(revoked.unwrap().revoked_at, Some(at));
    assert!(!store.has_key().await.unwrap());
}

async fn targets(store: &dyn Store) -> Vec<String> {
    let entries = store.read_audit(0, 1000).await.unwrap();
    let target = |entry: &AuditEntry| entry.note().unwrap().target;
    entries.iter().map(target).collect()
}

fn note_of(target: &str) -> AuditNote {
    AuditNote {
        target: target.to_owned(),
        ..note()
    }
}

pub(in crate::store::conformance) async fn what_is_audited_is_entered_with_its_change_or_not_at_all(
    fixture: Fixture,
) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let session = fixture.session("alice").await;
    let key = record_cases::key_of("ci", 1);
    store.insert_key(owner, &key, &note_of("key")).await.unwrap();
    let taken = record_cases::key_of("ci", 2);
    store.insert_key(owner, &taken, &note_of("no key")).await.unwrap();
    for target in ["revoked", "revoked already"] {
        let note = note_of(target);
        store.revoke_key(owner, key.id, now(), &note).await.unwrap();
    }
    let credential = StoredCredential {
        kind: CredentialKind::ApiKey,
        sealed: "sealed".to_owned(),
        set_at: now(),
    };
    store
        .set_model_credential(owner, &credential, &note_of("set"))
        .await
        .unwrap();
    for target in ["removed", "nothing to remove"] {
        store
            .remove_model_credential(owner, &note_of(target))
            .await
            .unwrap();
    }
    let permission = record_cases::permission_of(&session, now());
    store.insert_permission(owner, &permission).await.unwrap();
    let answer = crate::domain::PermissionResolution::by_server(PermissionDecision::Deny, now());
    for target in ["answered", "answered already"] {
        let note = note_of(target);
        store
            .resolve_permission(owner, permission.id, &answer, Some(&note))
            .await
            .unwrap();
    }
    assert_eq!(
        targets(store).await,
        ["key", "revoked", "set", "removed", "answered"]
    );
}

pub(in crate::store::conformance) async fn the_audit_is_read_by_tenant_and_in_order(fixture: Fixture) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    assert_eq!(store.audit_head().await.unwrap(), None);
    let other = tenant(store, "other").await;
    let notes: Vec<_> = (0..10)
        .map(|number| AuditNote {
            tenant: [None, Some(owner), Some(other)][number % 3],
            ..note_of(&number.to_string())
        })
        .collect();
    // From several sides at once: each entry still follows the one before.
    let (one, two) = notes.split_at(5);
    let (first, second) = tokio::join!(store.append_audit(one), store.append_audit(two));
    first.unwrap();
    second.unwrap();
    let all = store.read_audit(0, 100).await.unwrap();
    let mut last = None;
    for entry in &all {
        assert!(entry.follows(last), "{entry:?}");
        last = Some((entry.number, entry.hash));
    }
    assert_eq!((all.len(), store.audit_head().await.unwrap()), (10, last));
    assert_eq!(store.read_audit(8, 100).await.unwrap(), all[8..]);
    let own = store.list_audit(Some(owner), None, 100).await.unwrap();
    let of_owner = |entry: &&AuditEntry| entry.note().unwrap().tenant == Some(owner);
    let expected: Vec<_> = all.iter().rev().filter(of_owner).cloned().collect();
    assert_eq!(own, expected);
    let page = store.list_audit(None, Some(4), 2).await.unwrap();
    assert_eq!(page.iter().map(|entry| entry.number).collect::<Vec<_>>(), [3, 2]);
}

pub(in crate::store::conformance) async fn there_are_no_more_sessions_than_there_may_be(fixture: Fixture) {
    let (store, owner) = (&fixture.store, fixture.tenant);
    let quota = SessionQuota {
        of_tenant: Some(5),
        of_user: Some(3),
        used_after: Some(now() - TimeDelta::hours(1)),
    };
    let mut old = session_of(owner, "alice");
    old.last_active_at -= TimeDelta::hours(2);
    store.insert_session(owner, &old).await.unwrap();
    // Many at once: each counts the others.
    let insert = async |user: &str| {
        let session = session_of(owner, user);
        store
            .insert_session_within(owner, &session, &quota)
            .await
            .unwrap()
    };
    let mut found = futures_util::future::join_all((0..8).map(|_| insert("alice"))).await;
    found.sort_by_key(|room| *room as u8);
    assert_eq!(found[..3], [Room::Free; 3]);
    assert_eq!(found[3..], [Room::UserFull; 5]);
    assert_eq!([insert("bob").await, insert("bob").await], [Room::Free; 2]);
    assert_eq!(insert("carol").await, Room::TenantFull);
    let other = tenant(&**store, "other").await;
    let elsewhere = session_of(other, "alice");
    let room = store.insert_session_within(other, &elsewhere, &quota).await;
    assert_eq!(room.unwrap(), Room::Free);
    let open = fixture.listed(&SessionFilter::default()).await;
    store.close_session(owner, open[0], now()).await.unwrap();
    assert_eq!(insert("carol").await, Room::Free, "one was closed");
}

pub(in crate::store::conformance) async fn a_bucket_is_shared_by_all_who_take_from_it(fixture: Fixture) {
    let store = &fixture.store;
    let rate = Rate::per_minute(100).unwrap();
    let start = now();
    let take = async |wanted| store.take_tokens("b", rate, wanted, start).await.unwrap().taken;
    let taken = futures_util::future::join_all((0..30).map(|_| take(4))).await;
    assert_eq!(taken.iter().sum::<u32>(), 100);
    let none = store.take_tokens("b", rate, 1, start).await.unwrap();
    assert_eq!((none.taken, none.wait), (0, Duration::from_millis(600)));
    let later = start + TimeDelta::seconds(6);
    assert_eq!(store.take_tokens("b", rate, 50, later).await.unwrap().taken, 10);
    assert_eq!(store.take_tokens("other", rate, 1, start).await.unwrap().left, 99);
    assert_eq!(store.forget_buckets(start, 9).await.unwrap(), 0);
    let full = start + TimeDelta::minutes(2);
    assert_eq!(store.forget_buckets(full, 1).await.unwrap(), 1);
    assert_eq!(store.forget_buckets(full, 9).await.unwrap(), 1);
}

/// All that a tenant has, but for the audit, as text.
async fn all_of(store: &dyn Store) -> String {
    let mut written = Vec::new();
    crate::store::archive::export(store, &mut written).await.unwrap();
    let text = String::from_utf8(written).unwrap();
    let lines = text.lines().filter(|line| !line.contains("\"record\":\"audit\""));
    lines.collect::<Vec<_>>().join("\n")
}

async fn purge(store: &dyn Store) {
    while store.purge_removed(100).await.unwrap() > 0 {}
    store.scrub().await.unwrap();
}

pub(in crate::store::conformance) async fn a_user_who_was_erased_is_found_nowhere_but_in_the_audit(
    fixture: Fixture,
) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    archive_cases::fill(&fixture).await;
    let bob = fixture.session("bob").await;
    let user = "alice".parse().unwrap();
    let mut own_key = record_cases::key_of("of-alice", 9);
    own_key.user = Some("alice".parse().unwrap());
    store.insert_key(owner, &own_key, &note()).await.unwrap();
    assert!(all_of(store).await.contains("alice"));
    let spent = store
        .sum_usage(Some(owner), &crate::domain::UsageQuery::default())
        .await
        .unwrap();
    let erased = store.erase_user(owner, &user, &note_of("alice")).await.unwrap();
    assert!(erased > 0);
    purge(store).await;
    let left = all_of(store).await;
    assert!(!left.contains("alice"), "{left}");
    assert!(left.contains("bob"));
    assert_eq!(
        store
            .find_session(owner, bob.id)
            .await
            .unwrap()
            .map(|session| session.id),
        Some(bob.id)
    );
    let after = store
        .sum_usage(Some(owner), &crate::domain::UsageQuery::default())
        .await
        .unwrap();
    assert_eq!(spent, after, "what was spent was spent");
    assert_eq!(store.find_key(own_key.digest).await.unwrap(), None);
    assert_eq!(targets(store).await.last().unwrap(), "alice");
    assert_eq!(store.erase_user(owner, &user, &note()).await.unwrap(), 0);
}

pub(in crate::store::conformance) async fn a_tenant_that_was_erased_leaves_its_id_and_its_ledger(
    fixture: Fixture,
) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    archive_cases::fill(&fixture).await;
    let other = tenant(store, "other").await;
    store
        .insert_key(other, &record_cases::key_of("kept", 77), &note())
        .await
        .unwrap();
    let name: crate::domain::TenantName = "erased-1".parse().unwrap();
    store.erase_tenant(owner, &name, &note_of("acme")).await.unwrap();
    purge(store).await;
    let left = all_of(store).await;
    assert!(!left.contains("acme") && !left.contains("hello"), "{left}");
    let erased = store.get_tenant(owner).await.unwrap().unwrap();
    assert_eq!(erased.name, name);
    assert!(erased.suspended_at.is_some());
    assert_eq!(store.find_tenant(&"acme".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.list_keys(owner, None, 9).await.unwrap(), []);
    assert_eq!(store.list_keys(other, None, 9).await.unwrap().len(), 1);
    assert!(!store.list_usage(owner, None, 9).await.unwrap().is_empty());
}
