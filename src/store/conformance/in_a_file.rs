//! What only a store in a file can do, or suffer.

use super::*;

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = fixture(
        Arc::new(SqliteStore::open(sqlite_options(&folder)).await.unwrap()),
        None,
    )
    .await;
    let (session, epoch) = first.owned_session().await;
    let events = [event(epoch, 1, said("kept"))];
    first
        .store
        .append_events(first.tenant, session.id, epoch, &events)
        .await
        .unwrap();
    // Not closed: as after a crash.
    std::mem::forget(first);
    let second = fixture(
        Arc::new(SqliteStore::open(sqlite_options(&folder)).await.unwrap()),
        None,
    )
    .await;
    assert_eq!(second.all_events(session.id).await, events);
    assert!(second.acquire(session.id).await > epoch);
}

#[tokio::test]
async fn its_file_is_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let options = sqlite_options(&folder);
    let _store = SqliteStore::open(options.clone()).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&options.path), 0o600);
    assert_eq!(mode(options.path.parent().unwrap()), 0o711);
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let options = sqlite_options(&folder);
    let store = SqliteStore::open(options.clone()).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .execute(store.writer_for_tests())
    .await
    .unwrap();
    crate::store::PlatformStore::close(&store).await;
    let refused = SqliteStore::open(options)
        .await
        .expect_err("a later file was opened");
    assert!(
        matches!(refused, StoreError::TooNew { version: 9999 }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("later version of Paddock"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(
        &path,
        "These are notes, many more than a hundred bytes of them. ".repeat(10),
    )
    .unwrap();
    let before = std::fs::read(&path).unwrap();
    let options = SqliteOptions {
        path: path.clone(),
        ..sqlite_options(&folder)
    };
    SqliteStore::open(options)
        .await
        .expect_err("notes were opened as a database");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_full_disk_is_told_by_name_and_nothing_is_kept_in_halves() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(sqlite_options(&folder)).await.unwrap());
    let fixture = fixture(Arc::clone(&store) as Arc<dyn Store>, None).await;
    let (session, epoch) = fixture.owned_session().await;
    // SQLite says the same of a file that may not grow as of a disk that is full.
    sqlx::query("PRAGMA max_page_count = 40")
        .execute(store.writer_for_tests())
        .await
        .unwrap();
    let big = [
        event(epoch, 1, said("small")),
        event(epoch, 2, said(&"x".repeat(1_000_000))),
    ];
    let refused = fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &big)
        .await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert_eq!(fixture.all_events(session.id).await, []);
    let small = [event(epoch, 3, said("fits"))];
    fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &small)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(sqlite_options(&folder)).await.unwrap());
    let fixture = fixture(Arc::clone(&store) as Arc<dyn Store>, None).await;
    // The superuser may write any file, so the connection is told instead.
    sqlx::query("PRAGMA query_only = on")
        .execute(store.writer_for_tests())
        .await
        .unwrap();
    let refused = fixture
        .store
        .insert_session(fixture.tenant, &session_of(fixture.tenant, "a"))
        .await;
    assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_told_after_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let holder = SqliteStore::open(sqlite_options(&folder)).await.unwrap();
    let hasty = SqliteOptions {
        patience: std::time::Duration::from_millis(50),
        ..sqlite_options(&folder)
    };
    let fixture = fixture(Arc::new(SqliteStore::open(hasty).await.unwrap()), None).await;
    let mut held = holder
        .writer_for_tests()
        .begin_with("BEGIN IMMEDIATE")
        .await
        .unwrap();
    sqlx::query("UPDATE sessions SET epoch = epoch")
        .execute(&mut *held)
        .await
        .unwrap();
    let session = session_of(fixture.tenant, "a");
    let refused = fixture.store.insert_session(fixture.tenant, &session).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    drop(held);
    fixture
        .store
        .insert_session(fixture.tenant, &session)
        .await
        .unwrap();
}

#[test]
fn it_serves_other_runtimes_than_the_one_it_was_opened_on() {
    let main = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let fixture = main.block_on(sqlite());
    for _ in 0..3 {
        // As an HTTP worker's: it comes and goes.
        let worker = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        worker.block_on(async { fixture.session("alice").await });
    }
    let sessions = main.block_on(fixture.listed(&SessionFilter::default()));
    assert_eq!(sessions.len(), 3);
}

async fn committing(commit: CommitOptions) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        commit,
        ..sqlite_options(&folder)
    };
    fixture(Arc::new(SqliteStore::open(options).await.unwrap()), Some(folder)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_its_window_unless_the_group_is_full() {
    let window = Duration::from_millis(150);
    let fixture = committing(CommitOptions {
        window,
        ..commit_options()
    })
    .await;
    let (session, epoch) = fixture.owned_session().await;
    let began = std::time::Instant::now();
    let alone = [event(epoch, 1, said("x"))];
    fixture
        .store
        .append_events(fixture.tenant, session.id, epoch, &alone)
        .await
        .unwrap();
    assert!(began.elapsed() >= window);

    let hour = Duration::from_hours(1);
    let fixture = committing(CommitOptions {
        window: hour,
        group_max: 3,
        queue: 64,
    })
    .await;
    let mut owned = Vec::new();
    for _ in 0..3 {
        owned.push(fixture.owned_session().await);
    }
    let appends = owned.iter().map(|(session, epoch)| async {
        let events = [event(*epoch, 1, said("x"))];
        fixture
            .store
            .append_events(fixture.tenant, session.id, *epoch, &events)
            .await
    });
    let appended = tokio::time::timeout(hour / 60, futures_util::future::join_all(appends)).await;
    for appended in appended.expect("a full group does not wait") {
        appended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_find_no_place_in_the_queue_wait_for_one() {
    let fixture = committing(CommitOptions {
        window: Duration::ZERO,
        group_max: 1,
        queue: 1,
    })
    .await;
    let mut owned = Vec::new();
    for _ in 0..20 {
        owned.push(fixture.owned_session().await);
    }
    let appends = owned.iter().map(|(session, epoch)| async {
        let events = [event(*epoch, 1, said("x"))];
        fixture
            .store
            .append_events(fixture.tenant, session.id, *epoch, &events)
            .await
    });
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_one_write_of_a_group_harms_no_other() {
    let fixture = committing(CommitOptions {
        window: Duration::from_millis(100),
        group_max: 3,
        queue: 64,
    })
    .await;
    let (store, tenant) = (&*fixture.store, fixture.tenant);
    let (good, good_epoch) = fixture.owned_session().await;
    let (stale, stale_epoch) = fixture.owned_session().await;
    fixture.acquire(stale.id).await;
    let (broken, broken_epoch) = fixture.owned_session().await;
    let turn = turn_of(&broken);
    store.begin_turn(tenant, broken_epoch, &turn, &[]).await.unwrap();
    store
        .finish_turn(tenant, broken_epoch, &end_of(&turn), &[])
        .await
        .unwrap();
    let (good_events, stale_events) = (
        [event(good_epoch, 1, said("x"))],
        [event(stale_epoch, 1, said("x"))],
    );
    // The same turn once more: the database itself refuses that, in the middle of the group.
    let (appended, refused, failed) = tokio::join!(
        store.append_events(tenant, good.id, good_epoch, &good_events),
        store.append_events(tenant, stale.id, stale_epoch, &stale_events),
        store.begin_turn(tenant, broken_epoch, &turn, &[]),
    );
    appended.unwrap();
    assert!(
        matches!(refused, Err(StoreError::StaleEpoch { .. })),
        "{refused:?}"
    );
    assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
    assert_eq!(fixture.all_events(good.id).await, good_events);
}

#[tokio::test]
async fn a_damaged_entry_of_a_transcript_is_named_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(sqlite_options(&folder)).await.unwrap());
    let fixture = fixture(Arc::clone(&store) as Arc<dyn Store>, None).await;
    let (session, epoch) = fixture.owned_session().await;
    let path = "p/c.jsonl".parse().unwrap();
    let lines: Vec<_> = (1..=3).map(|number| format!("{{\"n\":{number}}}")).collect();
    fixture
        .store
        .append_transcript(fixture.tenant, session.id, epoch, &path, &lines)
        .await
        .unwrap();
    sqlx::query("UPDATE transcript_entries SET body = '{\"n\":' WHERE position = 2")
        .execute(store.writer_for_tests())
        .await
        .unwrap();
    let read = fixture
        .store
        .read_transcript(fixture.tenant, session.id)
        .await
        .unwrap();
    let kept: Vec<_> = read.files[0]
        .entries
        .iter()
        .map(crate::domain::TranscriptEntry::as_json)
        .collect();
    assert_eq!(kept, [&lines[0], &lines[2]]);
    assert_eq!(read.damaged.len(), 1);
    assert_eq!(
        (&read.damaged[0].place.path, read.damaged[0].place.position),
        (&path, 2)
    );
    let summary = crate::store::archive::export(&*fixture.store, std::io::sink())
        .await
        .unwrap();
    assert_eq!(summary.damaged, read.damaged, "an archive says what it lacks");
}
