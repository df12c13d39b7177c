//! Moving everything from one store to another.

use super::*;
use crate::store::archive::{self, ArchiveError};

/// Something of everything.
pub(in crate::store::conformance) async fn fill(fixture: &Fixture) {
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let webhook = webhook_cases::webhook_of(&[EventKind::Message]);
    store.insert_webhook(owner, &webhook, 99, &note()).await.unwrap();
    for (user, digest) in [("alice", 101), ("bob", 102)] {
        let session = Session {
            title: Some("Tidy up".into()),
            metadata: json!({"team": "core", "odd": "\u{1}🦀", "f": 0.1})
                .as_object()
                .unwrap()
                .clone(),
            ..session_of(owner, user)
        };
        store.insert_session(owner, &session).await.unwrap();
        fixture.acquire(session.id).await;
        let epoch = fixture.acquire(session.id).await;
        let turn = turn_of(&session);
        let bodies = [
            said("hello\0"),
            EventBody::TextDelta { text: "a".into() },
            EventBody::TextDelta { text: "b".into() },
            EventBody::TurnStarted {},
        ];
        let events: Vec<_> = (1..)
            .zip(bodies)
            .map(|(sequence, body)| event(epoch, sequence, body))
            .collect();
        store.begin_turn(owner, epoch, &turn, &events).await.unwrap();
        let mut end = end_of(&turn);
        end.usage = vec![money_cases::usage_of(&turn, "opus", 5)];
        store.finish_turn(owner, epoch, &end, &[]).await.unwrap();
        store
            .begin_turn(owner, epoch, &turn_of(&session), &[])
            .await
            .unwrap();
        let lines = [r#"{"b":1.50,"a":2}"#.to_owned(), "{}".to_owned()];
        for file in ["p/c.jsonl", "p/agent.jsonl"] {
            store
                .append_transcript(owner, session.id, epoch, &file.parse().unwrap(), &lines)
                .await
                .unwrap();
        }
        let permission = record_cases::permission_of(&session, now());
        store.insert_permission(owner, &permission).await.unwrap();
        let share = share_cases::share_of(&session, digest);
        store.insert_share(owner, &share, &note()).await.unwrap();
    }
    store
        .insert_key(owner, &record_cases::key_of("ci", 1), &note())
        .await
        .unwrap();
    tenant(store, "empty").await;
}

pub(in crate::store::conformance) async fn an_archive_fills_an_empty_store_with_the_same(fixture: Fixture) {
    fill(&fixture).await;
    let mut written = Vec::new();
    let summary = archive::export(&*fixture.store, &mut written).await.unwrap();
    assert_eq!(summary.damaged, []);
    assert_eq!(
        summary.records,
        written.split(|byte| *byte == b'\n').count() as u64 - 3
    );
    let refused = archive::import(&*fixture.store, || Ok(written.as_slice())).await;
    assert!(matches!(refused, Err(ArchiveError::NotEmpty)), "{refused:?}");

    // Into each kind of store, so that each pair is gone through.
    let folder = tempfile::tempdir().unwrap();
    let targets: [Arc<dyn Store>; 3] = [
        Arc::new(MemoryStore::new()),
        Arc::new(SqliteStore::open(sqlite_options(&folder)).await.unwrap()),
        Arc::new(PostgresStore::open(new_database()).await.unwrap()),
    ];
    for target in targets {
        let imported = archive::import(&*target, || Ok(written.as_slice()))
            .await
            .unwrap();
        assert_eq!(imported, summary, "into {}", target.backend());
        let mut again = Vec::new();
        archive::export(&*target, &mut again).await.unwrap();
        assert!(
            again == written,
            "from {} it is the same archive",
            target.backend()
        );
        let found = SessionFilter {
            title: Some("tidy".into()),
            metadata: vec![("team".into(), "core".into())],
            ..SessionFilter::default()
        };
        let page = target
            .list_sessions(fixture.tenant, &found, None, 9)
            .await
            .unwrap();
        assert_eq!(page.items.len(), 2, "what sessions are found by is there too");
        target.close().await;
    }
}

type IsNamed = fn(&ArchiveError) -> bool;

#[tokio::test]
async fn a_damaged_archive_is_refused_before_anything_is_stored() {
    let source = memory().await;
    fill(&source).await;
    let mut written = Vec::new();
    archive::export(&*source.store, &mut written).await.unwrap();
    let text = String::from_utf8(written).unwrap();
    let without_end: String = text.split_inclusive('\n').take(4).collect();
    let cut_off: String = text.chars().take(text.chars().count() - 200).collect();
    let cases: [(String, IsNamed); 8] = [
        (String::new(), |error| matches!(error, ArchiveError::NotAnArchive)),
        (text.replacen("\"version\":2", "\"version\":3", 1), |error| {
            matches!(error, ArchiveError::NotAnArchive)
        }),
        (without_end, |error| {
            matches!(error, ArchiveError::CutOff { records: 3 })
        }),
        (cut_off, |error| matches!(error, ArchiveError::CutOff { .. })),
        (text.replacen("hello", "hullo", 1), |error| {
            matches!(error, ArchiveError::Damaged)
        }),
        (
            text.replacen("\"record\":\"turn\"", "\"record\":\"tune\"", 1),
            |error| matches!(error, ArchiveError::BadLine { .. }),
        ),
        (text.replacen("\"sha256\":\"", "\"sha256\":\"0", 1), |error| {
            matches!(error, ArchiveError::Damaged)
        }),
        (format!("{text}{{}}\n"), |error| {
            matches!(error, ArchiveError::Damaged)
        }),
    ];
    for (archive, is_named) in cases {
        let target = MemoryStore::new();
        let refused = archive::import(&target, || Ok(archive.as_bytes()))
            .await
            .unwrap_err();
        assert!(is_named(&refused), "{refused:?}");
        assert!(crate::store::RestoreStore::is_empty(&target).await.unwrap());
    }
}
