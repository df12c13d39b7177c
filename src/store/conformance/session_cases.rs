//! What every store does with tenants and sessions.

use super::*;

pub(in crate::store::conformance) async fn a_session_reads_back_as_it_was_written(fixture: Fixture) {
    let odd = "\u{1}\u{1f980} 日本 \"quoted\" \\ \n\t';-- ";
    let session = Session {
        subdir: Some("a/日本".parse().unwrap()),
        title: Some(odd.to_owned()),
        metadata: json!({"nested": {"list": [1, null, odd, 1.5, {"": true}]}, "": ""})
            .as_object()
            .unwrap()
            .clone(),
        options: SessionOptions {
            model: Some("opus".into()),
            system_prompt: Some("x".repeat(200_000)),
            permission_mode: Some(PermissionMode::Plan),
            allowed_tools: Some(vec!["Bash(git:*)".into()]),
            max_budget_usd: Some(0.1),
            ..SessionOptions::default()
        },
        message_count: 3,
        closed_at: Some(DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap()),
        ..session_of(fixture.tenant, "alice")
    };
    fixture
        .store
        .insert_session(fixture.tenant, &session)
        .await
        .unwrap();
    assert_eq!(fixture.find(session.id).await, session);
}

pub(in crate::store::conformance) async fn a_tenant_keeps_its_first_id(fixture: Fixture) {
    assert_eq!(tenant(&*fixture.store, "acme").await, fixture.tenant);
    assert_ne!(tenant(&*fixture.store, "other").await, fixture.tenant);
}

pub(in crate::store::conformance) async fn another_tenants_session_is_no_session(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let turn = turn_of(&session);
    let store = &*fixture.store;
    store
        .begin_turn(fixture.tenant, epoch, &turn, &[event(epoch, 1, said("a"))])
        .await
        .unwrap();
    let other = tenant(store, "other").await;
    assert_eq!(store.find_session(other, session.id).await.unwrap(), None);
    assert_eq!(
        store
            .list_sessions(other, &SessionFilter::default(), None, 9)
            .await
            .unwrap()
            .items,
        []
    );
    let change = SessionChange {
        title: Some(Some("mine".into())),
        metadata: None,
        ..SessionChange::default()
    };
    assert_eq!(
        store.update_session(other, session.id, &change).await.unwrap(),
        None
    );
    assert_eq!(store.close_session(other, session.id, now()).await.unwrap(), None);
    assert_eq!(store.acquire_session(other, session.id).await.unwrap(), None);
    assert_eq!(store.find_turn(other, session.id, turn.id).await.unwrap(), None);
    assert_eq!(store.unfinished_turns(other, session.id).await.unwrap(), []);
    assert_eq!(
        store
            .read_events(other, session.id, &EventQuery::default(), 9)
            .await
            .unwrap(),
        []
    );
    let late = [event(epoch, 2, said("b"))];
    for refused in [
        store.append_events(other, session.id, epoch, &late).await,
        store.finish_turn(other, epoch, &end_of(&turn), &late).await,
        store.begin_turn(other, epoch, &turn_of(&session), &late).await,
    ] {
        assert!(
            matches!(refused, Err(StoreError::SessionGone { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(fixture.all_events(session.id).await.len(), 1);
    assert_eq!(fixture.find(session.id).await.status, SessionStatus::Active);
}

pub(in crate::store::conformance) async fn pages_are_newest_first_and_stable_while_sessions_come_and_close(
    fixture: Fixture,
) {
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(fixture.session("alice").await.id);
    }
    let newest_first: Vec<_> = made.iter().rev().copied().collect();
    let all = SessionFilter::default();
    let first = fixture
        .store
        .list_sessions(fixture.tenant, &all, None, 3)
        .await
        .unwrap();
    fixture.session("alice").await;
    fixture
        .store
        .close_session(fixture.tenant, made[1], now())
        .await
        .unwrap();
    let second = fixture
        .store
        .list_sessions(fixture.tenant, &all, first.next, 3)
        .await
        .unwrap();
    let third = fixture
        .store
        .list_sessions(fixture.tenant, &all, second.next, 3)
        .await
        .unwrap();
    let seen: Vec<_> = [first.items, second.items, third.items]
        .concat()
        .iter()
        .map(|session| session.id)
        .collect();
    assert_eq!(seen, newest_first);
    assert_eq!(third.next, None);
}

pub(in crate::store::conformance) async fn a_page_that_is_just_full_is_the_last(fixture: Fixture) {
    fixture.session("alice").await;
    let page = fixture
        .store
        .list_sessions(fixture.tenant, &SessionFilter::default(), None, 1)
        .await
        .unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
}

pub(in crate::store::conformance) async fn lists_are_filtered_by_user_and_status(fixture: Fixture) {
    let open = fixture.session("alice").await.id;
    let closed = fixture.session("alice").await.id;
    let other = fixture.session("bob").await.id;
    fixture
        .store
        .close_session(fixture.tenant, closed, now())
        .await
        .unwrap();
    let filter = |user: Option<&str>, status| SessionFilter {
        user: user.map(|user| user.parse().unwrap()),
        status,
        ..SessionFilter::default()
    };
    assert_eq!(fixture.listed(&filter(Some("alice"), None)).await, [closed, open]);
    assert_eq!(
        fixture.listed(&filter(None, Some(SessionStatus::Active))).await,
        [other, open]
    );
    assert_eq!(
        fixture
            .listed(&filter(Some("alice"), Some(SessionStatus::Closed)))
            .await,
        [closed]
    );
    assert_eq!(fixture.listed(&filter(Some("carol"), None)).await, []);
    assert_eq!(fixture.store.count_active_sessions(None).await.unwrap(), 2);
}

pub(in crate::store::conformance) async fn a_change_changes_what_it_names_and_nothing_else(fixture: Fixture) {
    let id = fixture.session("alice").await.id;
    let store = &*fixture.store;
    let titled = SessionChange {
        title: Some(Some("t".into())),
        metadata: None,
        ..SessionChange::default()
    };
    store
        .update_session(fixture.tenant, id, &titled)
        .await
        .unwrap()
        .unwrap();
    let tagged = SessionChange {
        title: None,
        metadata: json!({"k": 1}).as_object().cloned(),
        ..SessionChange::default()
    };
    let session = store
        .update_session(fixture.tenant, id, &tagged)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (session.title.as_deref(), &session.metadata["k"]),
        (Some("t"), &json!(1))
    );
    let untitled = SessionChange {
        title: Some(None),
        metadata: None,
        ..SessionChange::default()
    };
    let session = store
        .update_session(fixture.tenant, id, &untitled)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (session.title.as_deref(), &session.metadata["k"]),
        (None, &json!(1))
    );
    assert_eq!(fixture.find(id).await, session);
}

pub(in crate::store::conformance) async fn closing_is_for_good_and_keeps_its_first_time(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let store = &*fixture.store;
    let first = store
        .close_session(fixture.tenant, session.id, now())
        .await
        .unwrap()
        .unwrap();
    let again = store
        .close_session(fixture.tenant, session.id, now() + TimeDelta::hours(1))
        .await
        .unwrap();
    assert_eq!(again, Some(first));
    let change = SessionChange {
        title: Some(None),
        metadata: None,
        ..SessionChange::default()
    };
    assert_eq!(
        store
            .update_session(fixture.tenant, session.id, &change)
            .await
            .unwrap(),
        None
    );
    let begun = store
        .begin_turn(
            fixture.tenant,
            epoch,
            &turn_of(&session),
            &[event(epoch, 1, said("a"))],
        )
        .await;
    assert!(matches!(begun, Err(StoreError::SessionGone { .. })), "{begun:?}");
    assert_eq!(
        fixture.all_events(session.id).await,
        [],
        "nothing of a refused turn is kept"
    );
}

pub(in crate::store::conformance) async fn sessions_are_found_by_their_titles_and_metadata(fixture: Fixture) {
    let make = async |title: &str, metadata: serde_json::Value| {
        let session = Session {
            title: Some(title.to_owned()),
            metadata: metadata.as_object().unwrap().clone(),
            ..session_of(fixture.tenant, "alice")
        };
        fixture
            .store
            .insert_session(fixture.tenant, &session)
            .await
            .unwrap();
        session.id
    };
    let tests = make("Tidy up the tests", json!({"team": "core", "n": 7, "on": true})).await;
    let readme = make("整理 README", json!({"team": "docs", "long": "x".repeat(9000)})).await;
    let by_title = async |title: &str| {
        let filter = SessionFilter {
            title: Some(title.to_owned()),
            ..SessionFilter::default()
        };
        fixture.listed(&filter).await
    };
    assert_eq!(by_title("UP the").await, [tests]);
    assert_eq!(by_title("理 read").await, [readme]);
    assert_eq!(by_title("t").await, [tests]);
    assert_eq!(by_title("idy").await, []);
    assert_eq!(by_title("%").await, []);
    let by_metadata = async |wanted: &[(&str, &str)]| {
        let metadata = wanted
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let filter = SessionFilter {
            metadata: metadata.collect(),
            ..SessionFilter::default()
        };
        fixture.listed(&filter).await
    };
    assert_eq!(by_metadata(&[("team", "core")]).await, [tests]);
    assert_eq!(
        by_metadata(&[("team", "core"), ("n", "7"), ("on", "true")]).await,
        [tests]
    );
    assert_eq!(by_metadata(&[("team", "core"), ("n", "8")]).await, []);
    assert_eq!(by_metadata(&[("long", &"x".repeat(9000))]).await, [readme]);
    assert_eq!(by_metadata(&[("core", "team")]).await, []);
    let both = SessionFilter {
        title: Some("tidy".into()),
        metadata: vec![("team".into(), "core".into())],
        user: Some("alice".parse().unwrap()),
        status: Some(SessionStatus::Active),
        activity: Some(Activity::UpTo(now())),
    };
    assert_eq!(fixture.listed(&both).await, [tests]);
    let other = tenant(&*fixture.store, "other").await;
    let foreign = fixture.store.list_sessions(other, &both, None, 9).await.unwrap();
    assert_eq!(foreign.items, []);
}

pub(in crate::store::conformance) async fn what_a_session_is_found_by_follows_its_changes(fixture: Fixture) {
    let id = fixture.session("alice").await.id;
    let by_title = async |title: &str| {
        let filter = SessionFilter {
            title: Some(title.to_owned()),
            ..SessionFilter::default()
        };
        fixture.listed(&filter).await
    };
    for title in [Some("first"), Some("second"), None] {
        let change = SessionChange {
            title: Some(title.map(ToOwned::to_owned)),
            metadata: None,
            ..SessionChange::default()
        };
        fixture
            .store
            .update_session(fixture.tenant, id, &change)
            .await
            .unwrap();
        assert_eq!(by_title("first").await.len(), usize::from(title == Some("first")));
        assert_eq!(
            by_title("second").await.len(),
            usize::from(title == Some("second"))
        );
    }
}

pub(in crate::store::conformance) async fn text_with_nul_is_refused_by_name_and_json_with_it_is_kept(
    fixture: Fixture,
) {
    let titled = Session {
        title: Some("a\0b".into()),
        ..session_of(fixture.tenant, "alice")
    };
    let refused = fixture.store.insert_session(fixture.tenant, &titled).await;
    assert!(
        matches!(refused, Err(StoreError::Unstorable { .. })),
        "{refused:?}"
    );
    let (session, epoch) = fixture.owned_session().await;
    let change = SessionChange {
        title: Some(titled.title),
        metadata: None,
        ..SessionChange::default()
    };
    let refused = fixture
        .store
        .update_session(fixture.tenant, session.id, &change)
        .await;
    assert!(
        matches!(refused, Err(StoreError::Unstorable { .. })),
        "{refused:?}"
    );
    let turn = Turn {
        message: "a\0b".into(),
        ..turn_of(&session)
    };
    let refused = fixture.store.begin_turn(fixture.tenant, epoch, &turn, &[]).await;
    assert!(
        matches!(refused, Err(StoreError::Unstorable { .. })),
        "{refused:?}"
    );
    let events = [event(epoch, 1, said("a\0b"))];
    fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &events)
        .await
        .unwrap();
    assert_eq!(fixture.all_events(session.id).await, events);
}

pub(in crate::store::conformance) async fn tenants_are_listed_by_name(fixture: Fixture) {
    for name in ["b-2", "b2", "a", "b"] {
        tenant(&*fixture.store, name).await;
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = fixture.store.list_tenants(after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        names.extend(page.iter().map(|tenant| tenant.name.to_string()));
    }
    assert_eq!(names, ["a", "acme", "b", "b-2", "b2"]);
}
