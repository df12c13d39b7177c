//! What every store does with turns and the log of events.

use super::*;

pub(in crate::store::conformance) async fn events_read_back_in_order_after_a_cursor_and_by_kind(
    fixture: Fixture,
) {
    let (session, epoch) = fixture.owned_session().await;
    let huge = "é".repeat(2_500_000);
    let written: Vec<_> = (1..=1200)
        .map(|sequence| match sequence {
            7 => event(epoch, sequence, said(&huge)),
            sequence if sequence % 2 == 0 => event(epoch, sequence, EventBody::TurnStarted {}),
            sequence => event(epoch, sequence * 2, said("odd")),
        })
        .scan(EventId::START, |last, mut event| {
            event.id = event.id.max(last.next().unwrap());
            *last = event.id;
            Some(event)
        })
        .collect();
    fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &written)
        .await
        .unwrap();
    assert!(
        fixture.all_events(session.id).await == written,
        "they read back as they were written"
    );
    let cursor = written[600].id;
    let read = async |kinds: &[EventKind], limit| {
        let query = EventQuery::after(cursor).of_kinds(kinds);
        fixture
            .store
            .read_events(fixture.tenant, session.id, &query, limit)
            .await
            .unwrap()
    };
    assert!(read(&[], 5).await == written[601..606]);
    let messages = read(&[EventKind::Message], 10_000).await;
    assert!(
        messages
            .iter()
            .all(|event| event.body.kind() == EventKind::Message && event.id > cursor)
    );
    assert_eq!(messages.len(), 299, "the odd ones of 602 to 1200");
}

pub(in crate::store::conformance) async fn every_kind_of_event_reads_back(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let bodies = [
        said(""),
        EventBody::Session {
            session_id: session.id,
            claude_session_id: session.claude_session_id,
            model: None,
            permission_mode: Some(PermissionMode::DontAsk),
        },
        EventBody::TurnStarted {},
        EventBody::TextRetracted { text: "x".into() },
        EventBody::ToolUse {
            tool_name: "Write".into(),
            tool_input: json!({"a": [null, 1.5]}),
            tool_use_id: "t".into(),
            parent_tool_use_id: Some("p".into()),
        },
        EventBody::ToolResult {
            tool_use_id: "t".into(),
            content: json!("out"),
            is_error: true,
            parent_tool_use_id: None,
        },
        EventBody::AssistantMessage {
            content: vec![json!({"type": "text", "text": "x"})],
            model: Some("m".into()),
            message_id: None,
            parent_tool_use_id: None,
        },
        EventBody::Usage {
            usage: Usage::default(),
            cost: MicroUsd::new(3),
        },
        EventBody::SessionUpdated {
            title: Some(None),
            metadata: None,
        },
        EventBody::Done {
            text: "d".into(),
            usage: Usage::default(),
            cost: MicroUsd::new(9_999_999),
            stop_reason: None,
        },
        EventBody::Error {
            error: "e".into(),
            code: crate::domain::TurnErrorCode::AgentCrashed,
        },
    ];
    let events: Vec<_> = (1..)
        .zip(bodies)
        .map(|(sequence, body)| event(epoch, sequence, body))
        .collect();
    fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &events)
        .await
        .unwrap();
    assert_eq!(fixture.all_events(session.id).await, events);
    let kinds: std::collections::HashSet<_> = events.iter().map(|event| event.body.kind()).collect();
    let kept = <EventKind as strum::IntoEnumIterator>::iter().filter(|kind| {
        !matches!(
            kind,
            EventKind::TextDelta | EventKind::ThinkingDelta | EventKind::Gap
        )
    });
    assert!(
        kept.into_iter().all(|kind| kinds.contains(&kind)),
        "a new kind has no case here"
    );
}

pub(in crate::store::conformance) async fn an_older_owner_is_refused_every_write(fixture: Fixture) {
    let (session, old) = fixture.owned_session().await;
    let turn = turn_of(&session);
    let store = &*fixture.store;
    store
        .begin_turn(fixture.tenant, old, &turn, &[event(old, 1, said("a"))])
        .await
        .unwrap();
    let new = fixture.acquire(session.id).await;
    assert!(new > old);
    let late = [event(old, 2, said("late"))];
    for refused in [
        store.append_events(fixture.tenant, session.id, old, &late).await,
        store
            .begin_turn(fixture.tenant, old, &turn_of(&session), &late)
            .await,
        store
            .finish_turn(fixture.tenant, old, &end_of(&turn), &late)
            .await,
    ] {
        assert!(
            matches!(refused, Err(StoreError::StaleEpoch { .. })),
            "{refused:?}"
        );
    }
    let ahead = Epoch::new(new.get() + 1).unwrap();
    let refused = store
        .append_events(fixture.tenant, session.id, ahead, &[event(ahead, 1, said("x"))])
        .await;
    assert!(
        matches!(refused, Err(StoreError::StaleEpoch { .. })),
        "an epoch nobody took: {refused:?}"
    );
    store
        .append_events(fixture.tenant, session.id, new, &[event(new, 1, said("b"))])
        .await
        .unwrap();
    assert_eq!(fixture.all_events(session.id).await.len(), 2);
}

pub(in crate::store::conformance) async fn ids_that_do_not_rise_are_refused_whole(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let append = |events: Vec<Event>| async {
        let events = events;
        fixture
            .store
            .append_events(fixture.tenant, session.id, epoch, &events)
            .await
    };
    append(vec![event(epoch, 5, said("a"))]).await.unwrap();
    for wrong in [vec![5], vec![4], vec![6, 6], vec![7, 6], vec![8, 5]] {
        let events = wrong
            .iter()
            .map(|sequence| event(epoch, *sequence, said("b")))
            .collect();
        let refused = append(events).await;
        assert!(
            matches!(refused, Err(StoreError::IdsTaken { .. })),
            "{wrong:?}: {refused:?}"
        );
    }
    assert_eq!(fixture.all_events(session.id).await.len(), 1);
}

pub(in crate::store::conformance) async fn epochs_end_by_name(fixture: Fixture) {
    let session = fixture.session("alice").await;
    // Two epochs are enough to see the rule; running out of two million is the domain's own test.
    assert_eq!(fixture.acquire(session.id).await, Epoch::new(1).unwrap());
    assert_eq!(fixture.acquire(session.id).await, Epoch::new(2).unwrap());
    let unknown = SessionId::generate(&SystemClock);
    assert_eq!(
        fixture
            .store
            .acquire_session(fixture.tenant, unknown)
            .await
            .unwrap(),
        None
    );
}

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
        store.sessions_with_unfinished_turns(9).await.unwrap(),
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
    assert_eq!(store.sessions_with_unfinished_turns(9).await.unwrap(), []);
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

pub(in crate::store::conformance) async fn many_writers_at_once_lose_nothing(fixture: Fixture) {
    const SESSIONS: usize = 8;
    const EVENTS: u32 = 40;
    let mut writers = tokio::task::JoinSet::new();
    let mut ids = Vec::new();
    for _ in 0..SESSIONS {
        let (session, epoch) = fixture.owned_session().await;
        ids.push(session.id);
        let (store, tenant) = (Arc::clone(&fixture.store), fixture.tenant);
        writers.spawn(async move {
            for sequence in 1..=EVENTS {
                let events = [event(epoch, sequence, said("x"))];
                store
                    .append_events(tenant, session.id, epoch, &events)
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    for id in ids {
        let sequences: Vec<_> = fixture
            .all_events(id)
            .await
            .iter()
            .map(|event| event.id.get() & 0xffff)
            .collect();
        assert_eq!(sequences, (1..=u64::from(EVENTS)).collect::<Vec<_>>());
    }
}

pub(in crate::store::conformance) async fn a_write_that_is_abandoned_leaves_the_store_usable(
    fixture: Fixture,
) {
    let (session, epoch) = fixture.owned_session().await;
    for round in 0_u32..50 {
        let events: Vec<_> = (1..=50)
            .map(|n| event(epoch, round * 100 + n, said("x")))
            .collect();
        let write = fixture
            .store
            .append_events(fixture.tenant, session.id, epoch, &events);
        // Dropped after a number of polls that differs from round to round.
        let mut write = std::pin::pin!(write);
        for _ in 0..round % 8 {
            if futures_util::poll!(write.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let last = [event(epoch, 1_000_000, said("last"))];
    fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &last)
        .await
        .unwrap();
    let events = fixture.all_events(session.id).await;
    assert_eq!(events.last().map(|event| event.id), Some(last[0].id));
    assert_eq!(events.len() % 50, 1, "each write is whole or not at all");
}

pub(in crate::store::conformance) async fn it_answers(fixture: Fixture) {
    fixture.store.ping().await.unwrap();
    fixture.store.close().await;
}

pub(in crate::store::conformance) async fn pieces_of_messages_read_back_from_any_place_and_only_when_asked_for(
    fixture: Fixture,
) {
    let (session, epoch) = fixture.owned_session().await;
    let text = |text: &str| EventBody::TextDelta { text: text.into() };
    let thinking = |text: &str| EventBody::ThinkingDelta { text: text.into() };
    let bodies = [
        EventBody::TurnStarted {},
        thinking("h\u{0}m"),
        thinking("…"),
        text("Hel"),
        text("lo"),
        said("Hello"),
        text("more"),
    ];
    let events: Vec<_> = (1..)
        .zip(bodies)
        .map(|(sequence, body)| event(epoch, sequence, body))
        .collect();
    for part in events.chunks(6) {
        fixture
            .store
            .append_events(fixture.tenant, session.id, epoch, part)
            .await
            .unwrap();
    }
    let read = async |query: EventQuery, limit| {
        fixture
            .store
            .read_events(fixture.tenant, session.id, &query, limit)
            .await
            .unwrap()
    };
    let all = |after: usize| EventQuery {
        deltas: true,
        ..EventQuery::after(EventId::new(epoch, u32::try_from(after).unwrap()))
    };
    for after in 0..=events.len() {
        assert_eq!(read(all(after), 100).await, events[after..], "after {after}");
        let first = events.get(after..=after).unwrap_or_default();
        assert_eq!(read(all(after), 1).await, first, "one after {after}");
    }
    assert_eq!(
        read(EventQuery::default(), 100).await,
        [events[0].clone(), events[5].clone()]
    );
    let only_text = EventQuery::default().of_kinds(&[EventKind::TextDelta]);
    assert_eq!(read(only_text.clone(), 1).await, events[3..4]);
    assert_eq!(read(only_text, 9).await, [&events[3..5], &events[6..]].concat());
    let until = EventQuery {
        until: Some(events[3].id),
        ..all(1)
    };
    assert_eq!(read(until, 9).await, events[1..4]);
}

pub(in crate::store::conformance) async fn a_range_of_the_log_is_read_by_its_ends(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let events: Vec<_> = (1..=9)
        .map(|sequence| event(epoch, sequence, said("x")))
        .collect();
    fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &events)
        .await
        .unwrap();
    let range = EventQuery {
        after: events[2].id,
        until: Some(events[6].id),
        ..EventQuery::default()
    };
    let read = fixture
        .store
        .read_events(fixture.tenant, session.id, &range, 100)
        .await
        .unwrap();
    assert_eq!(read, events[3..=6]);
}

pub(in crate::store::conformance) async fn the_last_id_is_told(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let last = async |tenant| fixture.store.last_event_id(tenant, session.id).await.unwrap();
    assert_eq!(last(fixture.tenant).await, None);
    let events = [event(epoch, 4, said("x")), event(epoch, 9, said("y"))];
    fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &events)
        .await
        .unwrap();
    assert_eq!(last(fixture.tenant).await, Some(events[1].id));
    assert_eq!(last(tenant(&*fixture.store, "other").await).await, None);
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
