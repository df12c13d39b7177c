//! What every store does: small cases, each run against each store. A new backend is one more line at the end.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use private_postgres::Cluster;
use serde_json::json;

use super::memory::MemoryStore;
use super::postgres::{PostgresOptions, PostgresStore, PostgresTarget};
use super::sql::CommitOptions;
use super::sqlite::{SqliteOptions, SqliteStore};
use super::{Store, StoreError, TrimKind, TurnEnd};
use crate::domain::{
    Activity, AuditAction, AuditNote, ClaudeSessionId, Clock as _, Epoch, Event, EventBody, EventId,
    EventKind, EventQuery, MicroUsd, PermissionDecision, PermissionId, PermissionKind, PermissionMode,
    Session, SessionChange, SessionFilter, SessionId, SessionOptions, SessionStatus, SystemClock, Tenant,
    TenantId, ToolCall, Turn, TurnId, TurnOutcome, TurnStatus, Usage, WaitsFor,
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

/// Something that is entered in the audit with a change.
fn note() -> AuditNote {
    AuditNote {
        at: now(),
        tenant: None,
        actor: "conformance".to_owned(),
        address: None,
        action: AuditAction::TenantChanged,
        target: "something".to_owned(),
        details: serde_json::Map::new(),
    }
}

async fn tenant(store: &dyn Store, name: &str) -> TenantId {
    let tenant = Tenant::new(TenantId::generate(&SystemClock), name.parse().unwrap(), now());
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

fn commit_options() -> CommitOptions {
    CommitOptions {
        window: Duration::ZERO,
        group_max: 256,
        queue: 64,
    }
}

fn sqlite_options(folder: &tempfile::TempDir) -> SqliteOptions {
    SqliteOptions {
        path: folder.path().join("new/folder/paddock.db"),
        readers: 2,
        cache_bytes: 32 * 1024 * 1024,
        patience: Duration::from_secs(5),
        commit: commit_options(),
    }
}

/// The cluster that the tests of this process share. Its keeper ends it with the process.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap())
}

fn postgres_options(url: String) -> PostgresOptions {
    PostgresOptions {
        target: PostgresTarget::Url(url.into()),
        tls: None,
        root_certificate: None,
        connections: 6,
        writers: 2,
        patience: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(10),
        create_database: true,
        commit: commit_options(),
    }
}

/// Options for a database that does not exist yet.
fn new_database() -> PostgresOptions {
    postgres_options(cluster().url(&cluster().new_name()))
}

async fn postgres() -> Fixture {
    let store = PostgresStore::open(new_database()).await.unwrap();
    fixture(Arc::new(store), None).await
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
            .read_events(self.tenant, id, &EventQuery::default(), 10_000)
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
        attachments: Vec::new(),
    }
}

fn turn_of(session: &Session) -> Turn {
    Turn {
        id: TurnId::generate(&SystemClock),
        session: session.id,
        message: "hello".to_owned(),
        started_at: now(),
        queued: false,
        key: None,
        deadline: None,
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
            reported: None,
            stop_reason: Some("end_turn".into()),
            structured_output: Some(json!([7])),
            error: None,
            ended_at: now(),
        },
        claude_session_id: None,
        conversation_started: true,
        usage: Vec::new(),
    }
}

mod against_a_model;
mod archive_cases;
mod in_a_file;
mod instances_cases;
mod keeping_cases;
mod log_cases;
mod money_cases;
mod on_a_server;
mod record_cases;
mod session_cases;
mod share_cases;
mod statements;
mod tenant_cases;
mod transcript_cases;
mod turn_cases;
mod webhook_cases;

mod cases {
    pub(super) use super::archive_cases::*;
    pub(super) use super::keeping_cases::*;
    pub(super) use super::log_cases::*;
    pub(super) use super::money_cases::*;
    pub(super) use super::record_cases::*;
    pub(super) use super::session_cases::*;
    pub(super) use super::share_cases::*;
    pub(super) use super::tenant_cases::*;
    pub(super) use super::transcript_cases::*;
    pub(super) use super::turn_cases::*;
    pub(super) use super::webhook_cases::*;
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
            turns_wait_for_the_one_that_runs,
            options_are_changed_one_by_one,
            many_writers_at_once_lose_nothing,
            a_write_that_is_abandoned_leaves_the_store_usable,
            pieces_of_messages_read_back_from_any_place_and_only_when_asked_for,
            a_range_of_the_log_is_read_by_its_ends,
            the_last_id_is_told,
            turns_are_listed_newest_first,
            sessions_are_found_by_their_titles_and_metadata,
            what_a_session_is_found_by_follows_its_changes,
            text_with_nul_is_refused_by_name_and_json_with_it_is_kept,
            tenants_are_listed_by_name,
            a_tenant_is_made_once_and_changed,
            a_key_that_is_revoked_stays_so,
            there_are_no_more_sessions_than_there_may_be,
            a_user_who_was_erased_is_found_nowhere_but_in_the_audit,
            a_tenant_that_was_erased_leaves_its_id_and_its_ledger,
            a_bucket_is_shared_by_all_who_take_from_it,
            what_is_audited_is_entered_with_its_change_or_not_at_all,
            the_audit_is_read_by_tenant_and_in_order,
            a_session_that_is_used_lives_on_and_time_never_goes_back,
            an_unused_session_is_removed_with_all_it_has_but_its_usage,
            a_session_in_a_turn_is_not_removed,
            what_removed_sessions_left_is_freed_a_little_at_a_time,
            pieces_of_messages_are_trimmed_by_age_and_whole_messages_stay,
            old_events_are_trimmed_for_one_tenant_a_little_at_a_time,
            messages_may_be_kept_longer_and_it_is_told_how_far_a_log_was_trimmed,
            a_permission_is_answered_once,
            permissions_are_listed_while_they_wait_and_expire,
            keys_are_found_by_digest_and_have_one_living_name,
            a_link_is_found_by_its_digest_and_revoked_once,
            links_are_listed_newest_first_and_go_with_their_session,
            usage_is_entered_once_and_added_up,
            a_tenant_has_one_credential_and_no_others,
            a_turns_usage_is_entered_with_its_end,
            a_budget_lets_requests_through_until_it_is_spent_or_set_aside,
            a_budget_counts_what_was_spent_before_it_was_set_and_only_its_period,
            a_request_whose_server_is_gone_is_billed_at_what_was_seen,
            many_at_once_spend_no_more_than_the_limit_and_one_request,
            no_sequence_of_steps_loses_or_invents_money,
            webhooks_are_kept_changed_and_removed_for_their_tenant,
            each_event_that_a_webhook_wants_is_to_be_delivered_once,
            deliveries_are_claimed_settled_and_made_again,
            what_happened_before_is_delivered_from_a_cursor_on,
            a_request_is_done_once,
            a_secret_is_the_first_one,
            transcripts_read_back_as_they_were_written,
            a_line_that_comes_twice_is_kept_once,
            a_torn_line_is_named_and_the_rest_is_kept,
            a_transcript_is_written_by_its_owner_only,
            an_archive_fills_an_empty_store_with_the_same,
            it_answers,
        })*
    };
}

conformance!(memory, sqlite, postgres);
