//! Turns: queued, begun, ended.

use super::*;

pub(in crate::store::conformance) async fn a_turn_begins_and_ends_with_its_events(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let turn = turn_of(&session);
    store
        .begin_turn(tenant, epoch, &turn, &[event(epoch, 1, said("hello"))])
        .await
        .unwrap();
    assert_eq!(
        store.unfinished_turns(tenant, session.id).await.unwrap(),
        std::slice::from_ref(&turn)
    );
    assert_eq!(
        store.sessions_with_unfinished_turns(None, 9).await.unwrap(),
        [(tenant, session.id)]
    );
    let running = fixture.find(session.id).await;
    assert_eq!(
        (running.message_count, running.last_active_at),
        (1, turn.started_at)
    );

    let mut end = end_of(&turn);
    end.claude_session_id = Some(ClaudeSessionId::generate(&SystemClock));
    store
        .finish_turn(tenant, epoch, &end, &[event(epoch, 2, EventBody::TurnStarted {})])
        .await
        .unwrap();
    let stored = store
        .find_turn(tenant, session.id, turn.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stored,
        Turn {
            outcome: Some(end.outcome.clone()),
            ..turn
        }
    );
    let ended = fixture.find(session.id).await;
    assert_eq!(ended.last_active_at, end.outcome.ended_at);
    assert_eq!(
        (Some(ended.claude_session_id), ended.conversation_started),
        (end.claude_session_id, true)
    );
    assert_eq!(store.unfinished_turns(tenant, session.id).await.unwrap(), []);
    assert_eq!(store.sessions_with_unfinished_turns(None, 9).await.unwrap(), []);
    assert_eq!(fixture.all_events(session.id).await.len(), 2);
}

pub(in crate::store::conformance) async fn a_conversation_that_began_stays_begun(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    for (sequence, began) in [(1, true), (2, false)] {
        let turn = turn_of(&session);
        fixture
            .store
            .begin_turn(fixture.tenant, epoch, &turn, &[event(epoch, sequence, said("a"))])
            .await
            .unwrap();
        let end = TurnEnd {
            conversation_started: began,
            ..end_of(&turn)
        };
        fixture
            .store
            .finish_turn(fixture.tenant, epoch, &end, &[])
            .await
            .unwrap();
    }
    let ended = fixture.find(session.id).await;
    assert!(ended.conversation_started);
    assert_eq!(
        ended.claude_session_id, session.claude_session_id,
        "nothing told is nothing changed"
    );
}

pub(in crate::store::conformance) async fn a_session_runs_one_turn_at_a_time(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let begin = |turn: Turn, sequence| {
        let fixture = &fixture;
        async move {
            fixture
                .store
                .begin_turn(fixture.tenant, epoch, &turn, &[event(epoch, sequence, said("a"))])
                .await
        }
    };
    begin(turn_of(&session), 1).await.unwrap();
    let second = begin(turn_of(&session), 2).await;
    assert!(
        matches!(second, Err(StoreError::TurnUnfinished { .. })),
        "{second:?}"
    );
    assert_eq!(fixture.find(session.id).await.message_count, 1);
    assert_eq!(fixture.all_events(session.id).await.len(), 1);
}

pub(in crate::store::conformance) async fn a_turn_that_has_an_outcome_keeps_it(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let turn = turn_of(&session);
    fixture
        .store
        .begin_turn(fixture.tenant, epoch, &turn, &[event(epoch, 1, said("a"))])
        .await
        .unwrap();
    let first = end_of(&turn);
    let mut second = end_of(&turn);
    second.outcome.text = "another".into();
    for (sequence, end) in [(2, &first), (3, &second)] {
        fixture
            .store
            .finish_turn(fixture.tenant, epoch, end, &[event(epoch, sequence, said("z"))])
            .await
            .unwrap();
    }
    let stored = fixture
        .store
        .find_turn(fixture.tenant, session.id, turn.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.outcome, Some(first.outcome));
    assert_eq!(
        fixture.all_events(session.id).await.len(),
        2,
        "one last event, not two"
    );
}

pub(in crate::store::conformance) async fn turns_are_listed_newest_first(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let mut turns = Vec::new();
    for sequence in 1..=5 {
        let before = now();
        while now() == before {
            std::hint::spin_loop();
        }
        let turn = turn_of(&session);
        let began = [event(epoch, sequence * 2, said("a"))];
        fixture
            .store
            .begin_turn(fixture.tenant, epoch, &turn, &began)
            .await
            .unwrap();
        fixture
            .store
            .finish_turn(fixture.tenant, epoch, &end_of(&turn), &[])
            .await
            .unwrap();
        turns.push(turn.id);
    }
    turns.reverse();
    let first = fixture
        .store
        .list_turns(fixture.tenant, session.id, None, 3)
        .await
        .unwrap();
    let rest = fixture
        .store
        .list_turns(fixture.tenant, session.id, first.next, 3)
        .await
        .unwrap();
    let seen: Vec<_> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|turn| turn.id)
        .collect();
    assert_eq!((seen, rest.next), (turns, None));
    let other = tenant(&*fixture.store, "other").await;
    let foreign = fixture
        .store
        .list_turns(other, session.id, None, 3)
        .await
        .unwrap();
    assert_eq!(foreign.items, []);
}

pub(in crate::store::conformance) async fn turns_wait_for_the_one_that_runs(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let [first, second, third] = [turn_of(&session), turn_of(&session), turn_of(&session)];
    store
        .begin_turn(tenant, epoch, &first, &[event(epoch, 1, said("a"))])
        .await
        .unwrap();
    for (turn, sequence) in [(&second, 2), (&third, 3)] {
        store
            .queue_turn(tenant, epoch, turn, &[event(epoch, sequence, said("q"))])
            .await
            .unwrap();
    }
    let queued = |turn: &Turn| Turn {
        queued: true,
        ..turn.clone()
    };
    assert_eq!(
        store.unfinished_turns(tenant, session.id).await.unwrap(),
        [first.clone(), queued(&second), queued(&third)]
    );
    assert_eq!(
        fixture.find(session.id).await.message_count,
        1,
        "what waits is not counted"
    );

    let early = store.begin_turn(tenant, epoch, &second, &[]).await;
    assert!(
        matches!(early, Err(StoreError::TurnUnfinished { .. })),
        "{early:?}"
    );
    store
        .finish_turn(tenant, epoch, &end_of(&first), &[])
        .await
        .unwrap();
    let begun = Turn {
        started_at: now(),
        ..second.clone()
    };
    store
        .begin_turn(tenant, epoch, &begun, &[event(epoch, 4, said("b"))])
        .await
        .unwrap();
    assert_eq!(
        store.find_turn(tenant, session.id, second.id).await.unwrap(),
        Some(begun)
    );
    assert_eq!(fixture.find(session.id).await.message_count, 2);

    // One that never begins has its outcome all the same.
    store
        .finish_turn(tenant, epoch, &end_of(&third), &[event(epoch, 5, said("c"))])
        .await
        .unwrap();
    let ended = store
        .find_turn(tenant, session.id, third.id)
        .await
        .unwrap()
        .unwrap();
    assert!(!ended.queued && ended.outcome.is_some(), "{ended:?}");
    assert_eq!(fixture.all_events(session.id).await.len(), 5);

    store.close_session(tenant, session.id, now()).await.unwrap();
    let late = store.queue_turn(tenant, epoch, &turn_of(&session), &[]).await;
    assert!(matches!(late, Err(StoreError::SessionGone { .. })), "{late:?}");
}

pub(in crate::store::conformance) async fn options_are_changed_one_by_one(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let turn = turn_of(&session);
    store.begin_turn(tenant, epoch, &turn, &[]).await.unwrap();
    store
        .finish_turn(tenant, epoch, &end_of(&turn), &[])
        .await
        .unwrap();
    let change = async |change: SessionChange| {
        store
            .update_session(tenant, session.id, &change)
            .await
            .unwrap()
            .unwrap()
    };
    change(SessionChange {
        model: Some(Some("opus".into())),
        permission_mode: Some(PermissionMode::Plan),
        ..SessionChange::default()
    })
    .await;
    let changed = change(SessionChange {
        allow_tool: Some("Bash(ls:*)".into()),
        ..SessionChange::default()
    })
    .await;
    assert_eq!(changed.options.model.as_deref(), Some("opus"));
    assert_eq!(changed.options.permission_mode, Some(PermissionMode::Plan));
    assert_eq!(changed.options.allowed_tools, Some(vec!["Bash(ls:*)".to_owned()]));
    assert!(changed.conversation_started);
    let anew = ClaudeSessionId::generate(&SystemClock);
    let changed = change(SessionChange {
        model: Some(None),
        new_conversation: Some(anew),
        ..SessionChange::default()
    })
    .await;
    assert_eq!(changed.options.model, None);
    assert_eq!(changed.claude_session_id, anew);
    assert!(!changed.conversation_started);
    let changed = change(SessionChange {
        new_conversation: Some(anew),
        conversation_goes_on: true,
        ..SessionChange::default()
    })
    .await;
    assert!(changed.conversation_started);
    assert_eq!(fixture.find(session.id).await, changed);
    assert_eq!(
        (changed.title, changed.metadata),
        (session.title, session.metadata)
    );
}
