//! What a log does at the edges.

use super::*;
use crate::agent::feed::FeedRead;
use crate::domain::{Attachment, EventQuery, Session, SessionOptions, SessionStatus, SystemClock, Tenant};
use crate::store::memory::MemoryStore;

#[tokio::test]
async fn an_epoch_whose_ids_are_nearly_used_up_makes_way_and_nothing_shown_is_lost() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let tenant = Tenant::new(TenantId::generate(&*clock), "acme".parse().unwrap(), now);
    let tenant = store.ensure_tenant(&tenant).await.unwrap().id;
    let session = Session {
        id: SessionId::generate(&*clock),
        tenant,
        user: "alice".parse().unwrap(),
        subdir: None,
        title: None,
        metadata: serde_json::Map::new(),
        options: SessionOptions::default(),
        claude_session_id: crate::domain::ClaudeSessionId::generate(&*clock),
        conversation_started: false,
        status: SessionStatus::Active,
        message_count: 0,
        created_at: now,
        last_active_at: now,
        closed_at: None,
    };
    store.insert_session(tenant, &session).await.unwrap();
    let feed = Arc::new(Feed::new(1 << 20));
    let limits = FeedLimits {
        max_bytes: 1 << 20,
        delta_segment_bytes: 1 << 16,
    };
    let log = SessionLog::new(
        Backing {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            cluster: None,
            resuming: None,
        },
        tenant,
        session.id,
        Arc::clone(&feed),
        TurnLine::default(),
        limits,
    );
    log.take().await.unwrap();
    let turn = TurnId::generate(&*clock);
    let piece = EventBody::TextDelta { text: "x".into() };
    log.show(turn, Hold::ALONE, vec![piece]).await.unwrap();
    let near_the_end = EventId::new(Epoch::new(1).unwrap(), u32::MAX).of(session.id);
    log.ownership.lock().await.owned.as_mut().unwrap().last = near_the_end;
    let said = EventBody::Message {
        text: "y".into(),
        attachments: Vec::<Attachment>::new(),
    };
    log.append(Some((turn, Hold::ALONE)), vec![said]).await.unwrap();
    let everything = EventQuery {
        deltas: true,
        ..EventQuery::default()
    };
    let events = store
        .read_events(tenant, session.id, &everything, 9)
        .await
        .unwrap();
    assert_eq!(events.len(), 2);
    assert!(events[1].id >= EventId::new(Epoch::new(2).unwrap(), 0));
    let held = feed.read_after(events[0].id, 9);
    assert!(matches!(held, FeedRead::Stored { .. }), "{held:?}");
    let next = EventId::new(Epoch::new(2).unwrap(), 0).of(session.id);
    let held = feed.read_after(next, 9);
    assert!(
        matches!(&held, FeedRead::Items(items) if items.len() == 1),
        "{held:?}"
    );
}
