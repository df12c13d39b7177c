//! What every store does with the log of events.

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

#[expect(clippy::too_many_lines, reason = "one entry for each kind of event")]
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
        EventBody::TurnResumed { text: "x".into() },
        EventBody::AgentMessage {
            message: json!({"type": "of tomorrow", "a": [1]}),
        },
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
        EventBody::of_change(&SessionChange {
            title: Some(None),
            permission_mode: Some(PermissionMode::Plan),
            ..SessionChange::default()
        }),
        EventBody::TurnQueued {
            waits_for: WaitsFor::Agent,
            position: 3,
        },
        EventBody::PermissionRequest {
            permission_id: PermissionId::generate(&SystemClock),
            kind: PermissionKind::Question,
            tool_name: "Bash".into(),
            tool_input: json!({"command": "ls"}),
            tool_use_id: None,
            description: Some("d".into()),
            remembered_as: Some("Bash(ls:*)".into()),
            expires_at: now(),
        },
        EventBody::PermissionResolved {
            permission_id: PermissionId::generate(&SystemClock),
            tool_name: "Bash".into(),
            tool_use_id: Some("t".into()),
            decision: PermissionDecision::Withdrawn,
            by: "rule".into(),
            message: None,
            remember: true,
        },
        EventBody::TaskStarted {
            task_id: "b1".into(),
            description: None,
            tool_use_id: Some("t".into()),
        },
        EventBody::TaskEnded {
            task_id: "b1".into(),
            status: Some("completed".into()),
            summary: None,
        },
        EventBody::TaskStopped { task_id: "b1".into() },
        EventBody::FilesRewound {
            before_turn: TurnId::generate(&SystemClock),
            files: vec!["a".into()],
        },
        EventBody::SessionRewound {
            before_turn: TurnId::generate(&SystemClock),
            files: true,
            conversation: false,
            not_kept: vec!["b".into()],
        },
        EventBody::ConversationReset {
            claude_session_id: session.claude_session_id,
        },
        EventBody::BudgetWarning(crate::domain::BudgetNotice {
            scope: "user".into(),
            subject: Some("alice".into()),
            period: crate::domain::BudgetPeriod::Month,
            percent: 75,
            spent: MicroUsd::new(7),
            spent_tokens: 8,
        }),
        EventBody::Done {
            text: "d".into(),
            usage: Usage::default(),
            cost: MicroUsd::new(9_999_999),
            stop_reason: None,
            structured_output: Some(json!({"n": 1})),
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
            .map(|event| event.id.sequence())
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
    let last = async |tenant| {
        let bounds = fixture.store.log_bounds(tenant, session.id).await.unwrap();
        bounds.map(|bounds| bounds.last)
    };
    assert_eq!(last(fixture.tenant).await, Some(EventId::START));
    let events = [event(epoch, 4, said("x")), event(epoch, 9, said("y"))];
    fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &events)
        .await
        .unwrap();
    assert_eq!(last(fixture.tenant).await, Some(events[1].id));
    assert_eq!(last(tenant(&*fixture.store, "other").await).await, None);
}
