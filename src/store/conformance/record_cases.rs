//! What every store does with permissions, keys, requests and secrets.

use super::*;
use crate::domain::{
    ApiKey, CredentialKind, KeyDigest, KeyId, Permission, PermissionDecision, PermissionId,
    PermissionResolution, Role, StoredCredential,
};
use crate::store::{Begun, PermissionFilter};

pub(in crate::store::conformance) fn permission_of(
    session: &Session,
    expires_at: DateTime<Utc>,
) -> Permission {
    let before = now();
    while now() == before {
        std::hint::spin_loop();
    }
    Permission {
        id: PermissionId::generate(&SystemClock),
        session: session.id,
        user: session.user.clone(),
        turn: TurnId::generate(&SystemClock),
        tool_name: "Bash".into(),
        tool_input: json!({"command": "rm -rf \u{0}"}),
        tool_use_id: Some("t1".into()),
        description: Some("Tidy up".into()),
        remembered_as: None,
        created_at: now(),
        expires_at,
        resolution: None,
    }
}

fn answer(decision: PermissionDecision, by: &str) -> PermissionResolution {
    PermissionResolution {
        decision,
        message: Some("as you like".into()),
        updated_input: Some(json!({"command": "ls"})),
        answers: None,
        remember: true,
        by: by.into(),
        at: now(),
    }
}

pub(in crate::store::conformance) async fn a_permission_is_answered_once(fixture: Fixture) {
    let session = fixture.session("alice").await;
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let permission = permission_of(&session, now());
    store.insert_permission(owner, &permission).await.unwrap();
    assert_eq!(
        store.find_permission(owner, permission.id).await.unwrap(),
        Some(permission.clone())
    );
    let first = answer(PermissionDecision::Allow, "alice");
    let second = answer(PermissionDecision::Deny, "bob");
    for resolution in [&first, &second] {
        let stands = store
            .resolve_permission(owner, permission.id, resolution, None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stands.resolution.as_ref(), Some(&first));
    }
    let other = tenant(store, "other").await;
    assert_eq!(store.find_permission(other, permission.id).await.unwrap(), None);
    assert_eq!(
        store
            .resolve_permission(other, permission.id, &first, None)
            .await
            .unwrap(),
        None
    );
    let stray = permission_of(&session_of(owner, "alice"), now());
    for (tenant, permission) in [(owner, &stray), (other, &permission_of(&session, now()))] {
        let refused = store.insert_permission(tenant, permission).await;
        assert!(
            matches!(refused, Err(StoreError::SessionGone { .. })),
            "{refused:?}"
        );
    }
}

pub(in crate::store::conformance) async fn permissions_are_listed_while_they_wait_and_expire(
    fixture: Fixture,
) {
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let (alice, bob) = (fixture.session("alice").await, fixture.session("bob").await);
    let start = now();
    let mut ids = Vec::new();
    for (session, minutes) in [(&alice, 1), (&alice, 5), (&bob, 1), (&bob, 5)] {
        let permission = permission_of(session, start + TimeDelta::minutes(minutes));
        store.insert_permission(tenant, &permission).await.unwrap();
        ids.push(permission.id);
    }
    let pending = async |filter: PermissionFilter, after, limit| {
        let found = store
            .list_pending_permissions(tenant, &filter, after, limit)
            .await;
        found
            .unwrap()
            .iter()
            .map(|permission| permission.id)
            .collect::<Vec<_>>()
    };
    let of_bob = PermissionFilter {
        user: Some(bob.user.clone()),
        session: None,
    };
    let of_alice = PermissionFilter {
        session: Some(alice.id),
        user: None,
    };
    assert_eq!(pending(PermissionFilter::default(), None, 9).await, ids);
    assert_eq!(
        pending(PermissionFilter::default(), Some(ids[0]), 2).await,
        ids[1..3]
    );
    assert_eq!(pending(of_alice, None, 9).await, ids[..2]);
    assert_eq!(pending(of_bob.clone(), None, 9).await, ids[2..]);
    let border = start + TimeDelta::minutes(1);
    assert_eq!(store.expire_permissions(border, 1).await.unwrap(), 1);
    assert_eq!(store.expire_permissions(border, 9).await.unwrap(), 1);
    assert_eq!(store.expire_permissions(border, 9).await.unwrap(), 0);
    assert_eq!(pending(of_bob, None, 9).await, ids[3..]);
    let expired = store.find_permission(tenant, ids[0]).await.unwrap().unwrap();
    assert_eq!(
        expired.resolution.map(|resolution| resolution.decision),
        Some(PermissionDecision::Expired)
    );
    assert_eq!(store.list_permissions(tenant, None, 9).await.unwrap().len(), 4);
}

pub(in crate::store::conformance) fn key_of(name: &str, digest: u8) -> ApiKey {
    let before = now();
    while now() == before {
        std::hint::spin_loop();
    }
    ApiKey {
        id: KeyId::generate(&SystemClock),
        name: name.into(),
        role: Role::Member,
        user: Some("alice".parse().unwrap()),
        digest: KeyDigest([digest; 32]),
        created_at: now(),
        expires_at: Some(now()),
        revoked_at: None,
        last_used_at: None,
        networks: vec!["192.0.2.0/24".parse().unwrap()],
    }
}

pub(in crate::store::conformance) async fn keys_are_found_by_digest_and_have_one_living_name(
    fixture: Fixture,
) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let key = key_of("ci", 1);
    assert!(store.insert_key(owner, &key, &note()).await.unwrap());
    assert!(!store.insert_key(owner, &key_of("ci", 2), &note()).await.unwrap());
    let other = tenant(store, "other").await;
    assert!(store.insert_key(other, &key_of("ci", 3), &note()).await.unwrap());
    assert_eq!(
        store.find_key(key.digest).await.unwrap(),
        Some((owner, key.clone()))
    );
    assert_eq!(store.find_key(KeyDigest([2; 32])).await.unwrap(), None);
    let at = now();
    store.note_key_use(owner, key.id, at).await.unwrap();
    store
        .note_key_use(other, key.id, at + TimeDelta::hours(1))
        .await
        .unwrap();
    assert_eq!(store.revoke_key(other, key.id, at, &note()).await.unwrap(), None);
    let revoked = store
        .revoke_key(owner, key.id, at, &note())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((revoked.revoked_at, revoked.last_used_at), (Some(at), Some(at)));
    let again = store
        .revoke_key(owner, key.id, at + TimeDelta::hours(1), &note())
        .await;
    assert_eq!(again.unwrap(), Some(revoked.clone()));
    let next = key_of("ci", 4);
    assert!(
        store.insert_key(owner, &next, &note()).await.unwrap(),
        "a name is free again"
    );
    assert_eq!(
        store.list_keys(owner, None, 9).await.unwrap(),
        [next.clone(), revoked.clone()]
    );
    assert_eq!(store.list_keys(owner, Some(next.id), 9).await.unwrap(), [revoked]);
}

pub(in crate::store::conformance) async fn a_request_is_done_once(fixture: Fixture) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let start = now();
    let given_up = start - TimeDelta::minutes(5);
    let begin = async |tenant, fingerprint: u8, at: DateTime<Utc>, given_up| {
        store
            .begin_request(tenant, "key-1", [fingerprint; 32], at, given_up)
            .await
            .unwrap()
    };
    assert_eq!(begin(owner, 1, start, given_up).await, Begun::New);
    assert_eq!(begin(owner, 1, start, given_up).await, Begun::InProgress);
    assert_eq!(begin(owner, 2, start, given_up).await, Begun::Different);
    let other = tenant(store, "other").await;
    assert_eq!(begin(other, 2, start, given_up).await, Begun::New);
    let later = start + TimeDelta::minutes(6);
    assert_eq!(
        begin(owner, 1, later, start + TimeDelta::minutes(1)).await,
        Begun::New,
        "whoever began it is given up"
    );
    store.forget_request(owner, "key-1").await.unwrap();
    assert_eq!(begin(owner, 2, later, given_up).await, Begun::New);
    let answer = [0, 1, 255].repeat(1000);
    store.finish_request(owner, "key-1", &answer).await.unwrap();
    store.finish_request(owner, "key-1", b"another").await.unwrap();
    store.forget_request(owner, "key-1").await.unwrap();
    assert_eq!(begin(owner, 2, later, later).await, Begun::Done(answer));
    assert_eq!(begin(owner, 1, later, later).await, Begun::Different);
    assert_eq!(store.forget_requests(start, 9).await.unwrap(), 0);
    assert_eq!(
        store
            .forget_requests(start + TimeDelta::minutes(1), 9)
            .await
            .unwrap(),
        1
    );
    assert_eq!(begin(other, 9, later, given_up).await, Begun::New);
    assert_eq!(begin(owner, 9, later, given_up).await, Begun::Different);
}

pub(in crate::store::conformance) async fn a_secret_is_the_first_one(fixture: Fixture) {
    let store = &*fixture.store;
    assert_eq!(store.ensure_secret("a", [1; 32]).await.unwrap(), [1; 32]);
    assert_eq!(store.ensure_secret("a", [2; 32]).await.unwrap(), [1; 32]);
    assert_eq!(store.ensure_secret("b", [2; 32]).await.unwrap(), [2; 32]);
}

pub(in crate::store::conformance) async fn a_tenant_has_one_credential_and_no_others(fixture: Fixture) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let other = tenant(store, "other").await;
    let credential = |sealed: &str| StoredCredential {
        kind: CredentialKind::OauthToken,
        sealed: sealed.to_owned(),
        set_at: now(),
    };
    assert_eq!(store.find_model_credential(owner).await.unwrap(), None);
    let (first, second, third) = (credential("one"), credential("two"), credential("three"));
    store.set_model_credential(owner, &first, &note()).await.unwrap();
    store.set_model_credential(owner, &second, &note()).await.unwrap();
    assert_eq!(
        store.find_model_credential(owner).await.unwrap().as_ref(),
        Some(&second)
    );
    assert_eq!(store.find_model_credential(other).await.unwrap(), None);
    let replaced = store
        .replace_model_credential(owner, &first, &third)
        .await
        .unwrap();
    assert!(!replaced, "another was set meanwhile");
    assert!(
        !store
            .replace_model_credential(other, &second, &third)
            .await
            .unwrap()
    );
    assert!(
        store
            .replace_model_credential(owner, &second, &third)
            .await
            .unwrap()
    );
    let stored = store.find_model_credential(owner).await.unwrap().unwrap();
    assert_eq!((stored.sealed.as_str(), stored.set_at), ("three", second.set_at));
    assert!(!store.remove_model_credential(other, &note()).await.unwrap());
    assert!(store.remove_model_credential(owner, &note()).await.unwrap());
    assert!(!store.remove_model_credential(owner, &note()).await.unwrap());
}
