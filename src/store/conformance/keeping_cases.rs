//! What every store does about how long things are kept, and with whom sessions are.

use super::*;

pub(in crate::store::conformance) async fn a_session_that_is_used_lives_on_and_time_never_goes_back(
    fixture: Fixture,
) {
    let session = fixture.session("alice").await;
    let made = session.last_active_at;
    let later = made + TimeDelta::microseconds(1);
    let touch = async |at| {
        fixture
            .store
            .touch_session(fixture.tenant, session.id, at)
            .await
            .unwrap()
    };
    assert!(touch(later).await);
    assert!(touch(made).await);
    assert_eq!(fixture.find(session.id).await.last_active_at, later);
    let count = async |after| fixture.store.count_active_sessions(Some(after)).await.unwrap();
    assert_eq!((count(made).await, count(later).await), (1, 0));
    let listed = async |activity| {
        let filter = SessionFilter {
            activity: Some(activity),
            ..SessionFilter::default()
        };
        fixture.listed(&filter).await.len()
    };
    for (border, after, up_to) in [(made, 1, 0), (later, 0, 1)] {
        assert_eq!(listed(Activity::After(border)).await, after);
        assert_eq!(listed(Activity::UpTo(border)).await, up_to);
    }
    fixture
        .store
        .close_session(fixture.tenant, session.id, later)
        .await
        .unwrap();
    assert!(!touch(later).await, "a closed session is not used");
}

pub(in crate::store::conformance) async fn an_unused_session_is_removed_with_all_it_has_but_its_usage(
    fixture: Fixture,
) {
    let (session, epoch) = fixture.owned_session().await;
    let (store, tenant, id) = (&*fixture.store, fixture.tenant, session.id);
    let turn = turn_of(&session);
    store
        .begin_turn(tenant, epoch, &turn, &[event(epoch, 1, said("a"))])
        .await
        .unwrap();
    let mut end = end_of(&turn);
    end.usage = vec![money_cases::usage_of(&turn, "opus", 5)];
    store.finish_turn(tenant, epoch, &end, &[]).await.unwrap();
    let last_used = fixture.find(id).await.last_active_at;
    let early = last_used - TimeDelta::microseconds(1);
    assert_eq!(store.unused_sessions(early, 9).await.unwrap(), []);
    assert!(!store.remove_session(tenant, id, early).await.unwrap());
    assert_eq!(store.unused_sessions(last_used, 9).await.unwrap(), [(tenant, id)]);
    let other = super::tenant(store, "other").await;
    assert!(!store.remove_session(other, id, last_used).await.unwrap());
    assert!(store.remove_session(tenant, id, last_used).await.unwrap());
    assert!(!store.remove_session(tenant, id, last_used).await.unwrap());
    assert_eq!(store.find_session(tenant, id).await.unwrap(), None);
    assert_eq!(fixture.all_events(id).await, []);
    assert_eq!(store.find_turn(tenant, id, turn.id).await.unwrap(), None);
    let late = store
        .append_events(tenant, id, epoch, &[event(epoch, 2, said("late"))])
        .await;
    assert!(matches!(late, Err(StoreError::SessionGone { .. })), "{late:?}");
    assert_eq!(store.list_usage(tenant, None, 9).await.unwrap(), end.usage);
}

pub(in crate::store::conformance) async fn a_session_in_a_turn_is_not_removed(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let turn = turn_of(&session);
    fixture
        .store
        .begin_turn(fixture.tenant, epoch, &turn, &[])
        .await
        .unwrap();
    let later = now() + TimeDelta::hours(1);
    assert_eq!(fixture.store.unused_sessions(later, 9).await.unwrap(), []);
    let removed = fixture
        .store
        .remove_session(fixture.tenant, session.id, later)
        .await;
    assert!(!removed.unwrap());
}

pub(in crate::store::conformance) async fn what_removed_sessions_left_is_freed_a_little_at_a_time(
    fixture: Fixture,
) {
    let store = &*fixture.store;
    for _ in 0..2 {
        let (session, epoch) = fixture.owned_session().await;
        let events: Vec<_> = (1..=25)
            .map(|sequence| event(epoch, sequence, said("x")))
            .collect();
        store
            .append_events(fixture.tenant, session.id, epoch, &events)
            .await
            .unwrap();
        let path = "p/c.jsonl".parse().unwrap();
        let lines = vec!["{}".to_owned(); 5];
        store
            .append_transcript(fixture.tenant, session.id, epoch, &path, &lines)
            .await
            .unwrap();
        let removed = store.remove_session(fixture.tenant, session.id, now()).await;
        assert!(removed.unwrap());
    }
    let mut steps = 0;
    while store.purge_removed(10).await.unwrap() > 0 {
        steps += 1;
        assert!(steps < 20, "it comes to an end");
    }
    assert!(
        steps == 0 || steps >= 6,
        "no step frees more than it may: {steps} steps"
    );
}

pub(in crate::store::conformance) async fn pieces_of_messages_are_trimmed_by_age_and_whole_messages_stay(
    fixture: Fixture,
) {
    let (session, epoch) = fixture.owned_session().await;
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let turn = turn_of(&session);
    store.begin_turn(tenant, epoch, &turn, &[]).await.unwrap();
    let old = now() - TimeDelta::hours(2);
    let piece = |sequence, turn_id, created_at| Event {
        turn_id,
        created_at,
        ..event(epoch, sequence, EventBody::TextDelta { text: "x".into() })
    };
    let whole = Event {
        created_at: old,
        ..event(epoch, 2, said("x"))
    };
    let events = [
        piece(1, None, old),
        whole.clone(),
        piece(3, Some(turn.id), old),
        piece(4, None, now()),
    ];
    store
        .append_events(tenant, session.id, epoch, &events)
        .await
        .unwrap();
    let everything = EventQuery {
        deltas: true,
        ..EventQuery::default()
    };
    let trim = async || {
        let border = now() - TimeDelta::hours(1);
        while store
            .trim_events(tenant, TrimKind::Deltas, border, 10)
            .await
            .unwrap()
            > 0
        {}
        store
            .read_events(tenant, session.id, &everything, 99)
            .await
            .unwrap()
    };
    assert_eq!(trim().await, events[1..], "what a running turn said stays");
    store
        .finish_turn(tenant, epoch, &end_of(&turn), &[])
        .await
        .unwrap();
    assert_eq!(trim().await, [whole, events[3].clone()]);
}

pub(in crate::store::conformance) async fn old_events_are_trimmed_for_one_tenant_a_little_at_a_time(
    fixture: Fixture,
) {
    let (session, epoch) = fixture.owned_session().await;
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let at = |sequence: u32, age: TimeDelta| Event {
        created_at: now() - age,
        ..event(epoch, sequence, said("x"))
    };
    let events: Vec<_> = (1..=30)
        .map(|sequence| at(sequence, TimeDelta::hours(60 - i64::from(sequence))))
        .collect();
    store
        .append_events(tenant, session.id, epoch, &events)
        .await
        .unwrap();
    let other = super::tenant(store, "other").await;
    let border = now() - TimeDelta::minutes(39 * 60 + 30);
    assert_eq!(
        store.trim_events(other, TrimKind::All, border, 7).await.unwrap(),
        0
    );
    let mut steps = 0;
    while store.trim_events(tenant, TrimKind::All, border, 7).await.unwrap() > 0 {
        steps += 1;
        assert!(steps < 20, "it comes to an end");
    }
    assert!(steps >= 3, "no step removes more than it may: {steps} steps");
    assert_eq!(fixture.all_events(session.id).await, events[20..]);
    let all = now() + TimeDelta::hours(1);
    while store.trim_events(tenant, TrimKind::All, all, 100).await.unwrap() > 0 {}
    assert_eq!(fixture.all_events(session.id).await, []);
    let next = [at(31, TimeDelta::zero())];
    store
        .append_events(tenant, session.id, epoch, &next)
        .await
        .unwrap();
    while store.trim_events(tenant, TrimKind::All, all, 100).await.unwrap() > 0 {}
    assert_eq!(
        fixture.all_events(session.id).await,
        [],
        "what came later is trimmed too"
    );
}

pub(in crate::store::conformance) async fn messages_may_be_kept_longer_and_it_is_told_how_far_a_log_was_trimmed(
    fixture: Fixture,
) {
    let (session, epoch) = fixture.owned_session().await;
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let old = now() - TimeDelta::hours(2);
    let at = |sequence, created_at, body| Event {
        created_at,
        ..event(epoch, sequence, body)
    };
    let events = [
        at(1, old, said("x")),
        at(2, old, EventBody::TurnStarted {}),
        at(3, old, EventBody::TurnStarted {}),
        at(4, now(), EventBody::TurnStarted {}),
    ];
    store
        .append_events(tenant, session.id, epoch, &events)
        .await
        .unwrap();
    let bounds = async || store.log_bounds(tenant, session.id).await.unwrap().unwrap();
    assert_eq!(
        (bounds().await.last, bounds().await.trimmed_to),
        (events[3].id, EventId::START)
    );
    let border = now() - TimeDelta::hours(1);
    let trim = async |kind| {
        while store.trim_events(tenant, kind, border, 1).await.unwrap() > 0 {}
        fixture.all_events(session.id).await
    };
    assert_eq!(
        trim(TrimKind::Events).await,
        [events[0].clone(), events[3].clone()]
    );
    assert_eq!(bounds().await.trimmed_to, events[2].id);
    assert_eq!(trim(TrimKind::All).await, events[3..]);
    assert_eq!(bounds().await.trimmed_to, events[2].id, "it never goes back");
    let future = now() + TimeDelta::hours(1);
    while store.trim_events(tenant, TrimKind::All, future, 9).await.unwrap() > 0 {}
    assert_eq!(
        (bounds().await.last, bounds().await.trimmed_to),
        (events[3].id, events[3].id)
    );
    let next = [at(5, old, EventBody::TurnStarted {}), at(6, old, said("y"))];
    store
        .append_events(tenant, session.id, epoch, &next)
        .await
        .unwrap();
    assert_eq!(
        trim(TrimKind::Events).await,
        next[1..],
        "what came later is trimmed too"
    );
}
