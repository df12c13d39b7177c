//! Every statement, explained by both engines: each can be prepared, and none scans a table that grows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::Row as _;

use super::*;
use crate::domain::{
    CredentialKind, KeyId, PermissionDecision, PermissionResolution, StoredCredential, TenantChange,
    UsageGroup, UsageQuery,
};
use crate::store::PermissionFilter;
use crate::store::contract::{
    AuditStore, CredentialStore, ErasureStore, EventLog, IdempotencyStore, KeyStore, PermissionStore,
    PlatformStore, RateStore, RestoreStore, SessionStore, TenantStore, TranscriptStore, TurnStore,
    UsageLedger,
};
use crate::store::sql::SqlStore;
use crate::store::sql::engine::{Engine, driver_query};
use crate::store::sql::statement::Statement;

/// Uses everything that a store can do, each in every way that makes a statement of its own.
#[expect(
    clippy::too_many_lines,
    reason = "one line for each thing that a store can do"
)]
async fn tour<E: Engine>(store: &Arc<SqlStore<E>>) {
    let fixture = fixture(Arc::clone(store) as Arc<dyn Store>, None).await;
    let tenant = fixture.tenant;
    archive_cases::fill(&fixture).await;
    let (session, epoch) = fixture.owned_session().await;
    let (id, user) = (session.id, session.user.clone());

    for bits in 0_u32..64 {
        let has = |bit: u32| bits & (1 << bit) != 0;
        let filter = SessionFilter {
            user: has(0).then(|| user.clone()),
            status: has(1).then_some(SessionStatus::Active),
            activity: match (has(2), has(3)) {
                (true, true) => Some(Activity::After(now())),
                (true, false) => Some(Activity::UpTo(now())),
                _ => None,
            },
            metadata: if has(4) {
                vec![("team".into(), "core".into()), ("a".into(), "b".into())]
            } else {
                Vec::new()
            },
            title: has(5).then(|| "tidy".into()),
        };
        for before in [None, Some(id)] {
            store.list_sessions(tenant, &filter, before, 9).await.unwrap();
        }
        let range = EventQuery {
            turn: has(4).then(|| TurnId::generate(&SystemClock)),
            after: EventId::START,
            until: has(0).then_some(EventId::START),
            deltas: has(1),
            kinds: match (has(2), has(3)) {
                (true, true) => vec![EventKind::Message],
                (true, false) => vec![EventKind::Message, EventKind::TextDelta],
                _ => Vec::new(),
            },
        };
        store.read_events(tenant, id, &range, 9).await.unwrap();
        let mut by = vec![UsageGroup::Day, UsageGroup::Model];
        by.truncate(usize::from(has(4)) + usize::from(has(5)));
        if bits == 0 {
            by = vec![
                UsageGroup::Tenant,
                UsageGroup::User,
                UsageGroup::Key,
                UsageGroup::Session,
            ];
        }
        let sums = UsageQuery {
            from: has(0).then(now),
            before: has(1).then(now),
            user: has(2).then(|| user.clone()),
            session: has(3).then_some(id),
            key: has(4).then(|| KeyId::generate(&SystemClock)),
            turn: has(5).then(|| TurnId::generate(&SystemClock)),
            by,
        };
        for of in [None, Some(tenant)] {
            store.sum_usage(of, &sums).await.unwrap();
        }
        let waiting = PermissionFilter {
            session: has(0).then_some(id),
            user: has(1).then(|| user.clone()),
        };
        let after = has(2).then(|| record_cases::permission_of(&session, now()).id);
        store
            .list_pending_permissions(tenant, &waiting, after, 9)
            .await
            .unwrap();
    }
    let change = SessionChange {
        title: Some(Some("t".into())),
        metadata: None,
        ..SessionChange::default()
    };
    store.update_session(tenant, id, &change).await.unwrap();
    let change = SessionChange {
        model: Some(None),
        ..SessionChange::default()
    };
    store.update_session(tenant, id, &change).await.unwrap();
    store.touch_session(tenant, id, now()).await.unwrap();
    store.find_session(tenant, id).await.unwrap();
    store.log_bounds(tenant, id).await.unwrap();
    let turn = turn_of(&session);
    store
        .begin_turn(tenant, epoch, &turn, &[event(epoch, 1, said("a"))])
        .await
        .unwrap();
    let waiting = turn_of(&session);
    store.queue_turn(tenant, epoch, &waiting, &[]).await.unwrap();
    store.find_turn(tenant, id, turn.id).await.unwrap();
    store.unfinished_turns(tenant, id).await.unwrap();
    store.list_turns(tenant, id, Some(turn.id), 9).await.unwrap();
    store.sessions_with_unfinished_turns(None, 9).await.unwrap();
    let mut end = end_of(&turn);
    end.usage = vec![money_cases::usage_of(&turn, "opus", 1)];
    store.finish_turn(tenant, epoch, &end, &[]).await.unwrap();
    store.begin_turn(tenant, epoch, &waiting, &[]).await.unwrap();
    store
        .finish_turn(tenant, epoch, &end_of(&waiting), &[])
        .await
        .unwrap();
    store.list_usage(tenant, Some(end.usage[0].id), 9).await.unwrap();
    money_cases::every_way(&**store, tenant, session.id).await;
    store.count_active_sessions(None).await.unwrap();
    store.count_active_sessions(Some(now())).await.unwrap();

    webhook_cases::tour(&fixture, id).await;
    share_cases::tour(&fixture, &session).await;
    let key = record_cases::key_of("tour", 77);
    store.insert_key(tenant, &key, &note()).await.unwrap();
    store.find_key(key.digest).await.unwrap();
    store.get_key(tenant, key.id).await.unwrap();
    store.has_key().await.unwrap();
    store.append_audit(&[note()]).await.unwrap();
    for of in [None, Some(tenant)] {
        store.list_audit(of, Some(9), 9).await.unwrap();
    }
    store.read_audit(1, 9).await.unwrap();
    store.audit_head().await.unwrap();
    let change = TenantChange {
        suspended: Some(false),
        ..TenantChange::default()
    };
    let rate = crate::domain::rate::Rate::per_minute(9).unwrap();
    store.take_tokens("b", rate, 1, now()).await.unwrap();
    store.forget_buckets(now(), 9).await.unwrap();
    for used_after in [None, Some(now())] {
        let quota = crate::domain::SessionQuota {
            of_tenant: Some(1_000_000),
            of_user: Some(1_000_000),
            used_after,
        };
        let new = session_of(tenant, "alice");
        store.insert_session_within(tenant, &new, &quota).await.unwrap();
    }
    store.update_tenant(tenant, &change, &note()).await.unwrap();
    store.get_tenant(tenant).await.unwrap();
    let nobody = super::tenant(&**store, "to-be-erased").await;
    store.erase_user(nobody, &user, &note()).await.unwrap();
    store
        .erase_tenant(nobody, &"erased-2".parse().unwrap(), &note())
        .await
        .unwrap();
    let new = Tenant::new(
        TenantId::generate(&SystemClock),
        "another".parse().unwrap(),
        now(),
    );
    store.insert_tenant(&new, &note()).await.unwrap();
    let credential = StoredCredential {
        kind: CredentialKind::ApiKey,
        sealed: "sealed".to_owned(),
        set_at: now(),
    };
    store
        .set_model_credential(tenant, &credential, &note())
        .await
        .unwrap();
    store.find_model_credential(tenant).await.unwrap();
    store
        .replace_model_credential(tenant, &credential, &credential)
        .await
        .unwrap();
    store.remove_model_credential(tenant, &note()).await.unwrap();
    store.list_keys(tenant, Some(key.id), 9).await.unwrap();
    store.note_key_use(tenant, key.id, now()).await.unwrap();
    store.revoke_key(tenant, key.id, now(), &note()).await.unwrap();

    let permission = record_cases::permission_of(&session, now());
    store.insert_permission(tenant, &permission).await.unwrap();
    store.find_permission(tenant, permission.id).await.unwrap();
    store
        .list_permissions(tenant, Some(permission.id), 9)
        .await
        .unwrap();
    store.expire_permissions(now(), 9).await.unwrap();
    let resolution = PermissionResolution {
        decision: PermissionDecision::Allow,
        message: None,
        updated_input: None,
        answers: None,
        remember: false,
        by: "a".into(),
        at: now(),
    };
    store
        .resolve_permission(tenant, permission.id, &resolution, None)
        .await
        .unwrap();

    store
        .begin_request(tenant, "k", [0; 32], now(), now())
        .await
        .unwrap();
    store
        .begin_request(tenant, "k", [1; 32], now(), now())
        .await
        .unwrap();
    store.forget_request(tenant, "k").await.unwrap();
    store.finish_request(tenant, "k", b"a").await.unwrap();
    store.forget_requests(now(), 9).await.unwrap();
    store.ensure_secret("a", [0; 32]).await.unwrap();
    store.ping().await.unwrap();
    store.list_tenants(None, 9).await.unwrap();
    store.read_transcript(tenant, id).await.unwrap();

    for kind in [TrimKind::Deltas, TrimKind::Events, TrimKind::All] {
        while store.trim_events(tenant, kind, now(), 9).await.unwrap() > 0 {}
    }
    store.close_session(tenant, id, now()).await.unwrap();
    store.unused_sessions(now(), 9).await.unwrap();
    store.remove_session(tenant, id, now()).await.unwrap();
    while store.purge_removed(9).await.unwrap() > 0 {}
}

/// Where in the SQL body a statement is written.
fn written() -> BTreeSet<(String, u32)> {
    fn collect(folder: &Path, found: &mut BTreeSet<(String, u32)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path);
            for (number, line) in (1..).zip(code.lines()) {
                let begins = ["sql(", "select("]
                    .iter()
                    .any(|begin| line.contains(begin) && !line.contains(&format!("fn {begin}")));
                if begins && !line.trim_start().starts_with("//") {
                    found.insert((name.to_str().unwrap().to_owned(), number));
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sql"),
        &mut found,
    );
    // What makes statements is none.
    found.retain(|(file, _)| !file.ends_with("sql/statement.rs"));
    found
}

/// The statements that were run, which must be all that are written.
fn all_of_them<E: Engine>(store: &SqlStore<E>, restored_by: &SqlStore<E>) -> Vec<Statement> {
    let mut seen = store.seen();
    seen.extend(restored_by.seen());
    let run: BTreeSet<_> = seen
        .iter()
        .map(|statement| {
            let at = statement.written_at();
            (at.file().to_owned(), at.line())
        })
        .collect();
    // Those of instances are for a server only.
    let is_for = |(file, _): &&(String, u32)| E::BACKEND == "postgresql" || !file.ends_with("instances.rs");
    let never_run: Vec<_> = written().difference(&run).filter(is_for).cloned().collect();
    assert!(
        never_run.is_empty(),
        "these statements are not on the tour: {never_run:?}"
    );
    assert!(seen.len() > 100, "{}", seen.len());
    let all_columns = seen.iter().filter(|statement| {
        let text = statement.text();
        text.contains("SELECT *") || text.contains(".*") || text.contains("RETURNING *")
    });
    let all_columns: Vec<_> = all_columns.map(Statement::text).collect();
    assert!(
        all_columns.is_empty(),
        "a column that a newer server adds would trouble these: {all_columns:?}"
    );
    seen
}

/// Tables of a few rows, or of one for each thing that waits: a scan of them is no fault.
const SMALL: [&str; 3] = ["tenants", "removed_sessions", "webhooks"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_scans_no_table_that_grows() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open = async |folder| Arc::new(SqliteStore::open(sqlite_options(folder)).await.unwrap());
    let (store, other) = (open(&folders[0]).await, open(&folders[1]).await);
    tour(&store).await;
    let source = memory().await;
    archive_cases::fill(&source).await;
    let mut archive = Vec::new();
    crate::store::archive::export(&*source.store, &mut archive)
        .await
        .unwrap();
    crate::store::archive::import(&*other, || Ok(archive.as_slice()))
        .await
        .unwrap();
    // The planner of SQLite knows no sizes unless it is told to look, so a small database gets the plan of a large one.
    for statement in all_of_them(&store, &other) {
        let rows = driver_query!(statement.explained("EXPLAIN QUERY PLAN"))
            .fetch_all(store.writer_for_tests())
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", statement.text()));
        for row in rows {
            let step: String = row.get("detail");
            let scans = step.starts_with("SCAN")
                && !step.contains("CONSTANT ROW")
                && !step.contains("VALUES CLAUSE")
                && !SMALL.iter().any(|table| step.starts_with(&format!("SCAN {table}")))
                // All of the platform's, for whoever runs it: that is all there is.
                && (statement.text().contains("tenant_id =")
                    || !statement.text().contains("FROM ledger_entries WHERE at >="))
                // Rows that were found and bounded already.
                && step != "SCAN counted"
                // Whether there is one at all.
                && !statement.text().ends_with(" LIMIT 1")
                // The few that are in the index of what has no outcome.
                && !step.contains("USING COVERING INDEX turns_unfinished")
                && !step.contains("USING INDEX turns_unfinished");
            assert!(!scans, "{}: {step}", statement.text());
        }
    }
}

/// A million sessions of one tenant, of which a hundredth have a title.
const FILL: &str = "INSERT INTO sessions (id, tenant_id, user_id, title, metadata, options, claude_session_id, \
     conversation_started, status, message_count, created_at, last_active_at) \
     SELECT gen_random_uuid(), $1, 'user-' || (n % 1000), NULL, '{}', '{}', gen_random_uuid(), false, \
     CASE WHEN n % 10 = 0 THEN 'closed' ELSE 'active' END, 0, now(), now() - (n % 100000) * interval '1 second' \
     FROM generate_series(1, $2) AS n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_scans_no_table_that_grows_at_a_million_sessions() {
    let open = async || Arc::new(PostgresStore::open(new_database()).await.unwrap());
    let (store, other) = (open().await, open().await);
    let owner = tenant(&*store, "acme").await;
    let pool = store.pool_for_tests();
    let mut connection = pool.acquire().await.unwrap();
    for statement in ["SET statement_timeout = 0", "SET synchronous_commit = off"] {
        sqlx::query(statement).execute(&mut *connection).await.unwrap();
    }
    sqlx::query(FILL)
        .bind(owner.as_uuid())
        .bind(1_000_000_i64)
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO session_terms (tenant_id, term, session_id) \
         SELECT tenant_id, 't' || md5(id::text), id FROM sessions WHERE message_count = 0 LIMIT 300000",
    )
    .execute(&mut *connection)
    .await
    .unwrap();
    sqlx::query("ANALYZE").execute(&mut *connection).await.unwrap();
    drop(connection);
    tour(&store).await;
    instances_cases::tour(&store, owner).await;
    let source = memory().await;
    archive_cases::fill(&source).await;
    let mut archive = Vec::new();
    crate::store::archive::export(&*source.store, &mut archive)
        .await
        .unwrap();
    crate::store::archive::import(&*other, || Ok(archive.as_slice()))
        .await
        .unwrap();

    let mut connection = pool.acquire().await.unwrap();
    let mut scanned: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (setting, tables) in [
        // By its own choice, at the sizes that these tables have.
        ("SET enable_seqscan = on", &["sessions", "session_terms"][..]),
        // The rest is too small for a choice; a scan that is left now is one that no index could replace.
        (
            "SET enable_seqscan = off",
            &[
                "turns",
                "events",
                "transcript_entries",
                "permissions",
                "api_keys",
                "ledger_entries",
                "requests",
                "secrets",
            ],
        ),
    ] {
        sqlx::query(setting).execute(&mut *connection).await.unwrap();
        for statement in all_of_them(&store, &other) {
            // To count nearly all of them, nearly all are read; `/health` counts no more often than that is cheap. And a
            // setting has no plan.
            if ["SELECT COUNT(*)", "SET "]
                .iter()
                .any(|what| statement.text().starts_with(what))
            {
                continue;
            }
            let rows = driver_query!(statement.explained("EXPLAIN"))
                .fetch_all(&mut *connection)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", statement.text()));
            let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            for table in tables {
                let scan = format!("Seq Scan on {table} ");
                if plan.iter().any(|step| format!("{step} ").contains(&scan)) {
                    scanned
                        .entry(statement.text().to_owned())
                        .or_default()
                        .insert(plan.join("\n"));
                }
            }
        }
    }
    assert!(scanned.is_empty(), "{scanned:#?}");
}
