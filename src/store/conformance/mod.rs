//! What every store does: small cases, each run against each store. A new backend is one more line at the end.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::memory::MemoryStore;
use super::sqlite::{SqliteOptions, SqliteStore};
use super::{Store, StoreError, TurnEnd};
use crate::domain::{
    ClaudeSessionId, Clock as _, Epoch, Event, EventBody, EventId, EventKind, MicroUsd, PermissionMode,
    Session, SessionChange, SessionFilter, SessionId, SessionOptions, SessionStatus, SystemClock, Tenant,
    TenantId, ToolCall, Turn, TurnId, TurnOutcome, TurnStatus, Usage,
};

/// A store and what has to live as long as it.
struct Fixture {
    store: Arc<dyn Store>,
    tenant: TenantId,
    _folder: Option<tempfile::TempDir>,
}

fn now() -> DateTime<Utc> {
    SystemClock.now()
}

async fn tenant(store: &dyn Store, name: &str) -> TenantId {
    let tenant = Tenant {
        id: TenantId::generate(&SystemClock),
        name: name.parse().unwrap(),
        created_at: now(),
    };
    store.ensure_tenant(&tenant).await.unwrap().id
}

async fn fixture(store: Arc<dyn Store>, folder: Option<tempfile::TempDir>) -> Fixture {
    let tenant = tenant(&*store, "acme").await;
    Fixture {
        store,
        tenant,
        _folder: folder,
    }
}

async fn memory() -> Fixture {
    fixture(Arc::new(MemoryStore::new()), None).await
}

fn sqlite_options(folder: &tempfile::TempDir) -> SqliteOptions {
    SqliteOptions {
        path: folder.path().join("new/folder/paddock.db"),
        readers: 2,
        patience: std::time::Duration::from_secs(5),
    }
}

async fn sqlite() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(sqlite_options(&folder)).await.unwrap();
    fixture(Arc::new(store), Some(folder)).await
}

fn session_of(tenant: TenantId, user: &str) -> Session {
    // Ids tell the order down to the microsecond.
    let before = now();
    while now() == before {
        std::hint::spin_loop();
    }
    Session {
        id: SessionId::generate(&SystemClock),
        tenant,
        user: user.parse().unwrap(),
        subdir: None,
        title: None,
        metadata: serde_json::Map::new(),
        options: SessionOptions::default(),
        claude_session_id: ClaudeSessionId::generate(&SystemClock),
        conversation_started: false,
        status: SessionStatus::Active,
        message_count: 0,
        created_at: now(),
        last_active_at: now(),
        closed_at: None,
    }
}

impl Fixture {
    async fn session(&self, user: &str) -> Session {
        let session = session_of(self.tenant, user);
        self.store.insert_session(self.tenant, &session).await.unwrap();
        session
    }

    async fn owned_session(&self) -> (Session, Epoch) {
        let session = self.session("alice").await;
        let epoch = self.acquire(session.id).await;
        (session, epoch)
    }

    async fn acquire(&self, id: SessionId) -> Epoch {
        self.store
            .acquire_session(self.tenant, id)
            .await
            .unwrap()
            .unwrap()
    }

    async fn find(&self, id: SessionId) -> Session {
        self.store.find_session(self.tenant, id).await.unwrap().unwrap()
    }

    async fn all_events(&self, id: SessionId) -> Vec<Event> {
        self.store
            .read_events(self.tenant, id, EventId::START, &[], 10_000)
            .await
            .unwrap()
    }

    async fn listed(&self, filter: &SessionFilter) -> Vec<SessionId> {
        let page = self
            .store
            .list_sessions(self.tenant, filter, None, 1000)
            .await
            .unwrap();
        page.items.iter().map(|session| session.id).collect()
    }
}

fn event(epoch: Epoch, sequence: u32, body: EventBody) -> Event {
    Event {
        id: EventId::new(epoch, sequence),
        turn_id: None,
        created_at: now(),
        body,
    }
}

fn said(text: &str) -> EventBody {
    EventBody::Message {
        text: text.to_owned(),
    }
}

fn turn_of(session: &Session) -> Turn {
    Turn {
        id: TurnId::generate(&SystemClock),
        session: session.id,
        message: "hello".to_owned(),
        started_at: now(),
        outcome: None,
    }
}

fn end_of(turn: &Turn) -> TurnEnd {
    TurnEnd {
        session: turn.session,
        turn: turn.id,
        outcome: TurnOutcome {
            status: TurnStatus::Completed,
            text: "🦀 done".to_owned(),
            tool_calls: vec![ToolCall {
                tool: "Bash".into(),
                input: json!({"command": "ls"}),
                output: Some(json!([{"type": "text", "text": "a"}])),
                is_error: Some(false),
                tool_use_id: "t1".into(),
            }],
            usage: Usage {
                input_tokens: 1,
                output_tokens: 2,
                ..Usage::default()
            },
            cost: MicroUsd::new(17),
            stop_reason: Some("end_turn".into()),
            error: None,
            ended_at: now(),
        },
        claude_session_id: None,
        conversation_started: true,
    }
}

mod in_a_file;
mod log_cases;
mod session_cases;

mod cases {
    pub(super) use super::log_cases::*;
    pub(super) use super::session_cases::*;
}

macro_rules! conformance {
    ($backend:ident: $($case:ident),* $(,)?) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::cases::$case(super::$backend().await).await;
                }
            )*
        }
    };
    ($($backend:ident),*) => {
        $(conformance! { $backend:
            a_session_reads_back_as_it_was_written,
            a_tenant_keeps_its_first_id,
            another_tenants_session_is_no_session,
            pages_are_newest_first_and_stable_while_sessions_come_and_close,
            a_page_that_is_just_full_is_the_last,
            lists_are_filtered_by_user_and_status,
            a_change_changes_what_it_names_and_nothing_else,
            closing_is_for_good_and_keeps_its_first_time,
            events_read_back_in_order_after_a_cursor_and_by_kind,
            every_kind_of_event_reads_back,
            an_older_owner_is_refused_every_write,
            ids_that_do_not_rise_are_refused_whole,
            epochs_end_by_name,
            a_turn_begins_and_ends_with_its_events,
            a_conversation_that_began_stays_begun,
            a_session_runs_one_turn_at_a_time,
            a_turn_that_has_an_outcome_keeps_it,
            many_writers_at_once_lose_nothing,
            a_write_that_is_abandoned_leaves_the_store_usable,
            it_answers,
        })*
    };
}

conformance!(memory, sqlite);
