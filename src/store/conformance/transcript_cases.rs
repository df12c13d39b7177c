//! What every store does with transcripts.

use super::*;
use crate::domain::{Transcript, TranscriptPath};

fn path(text: &str) -> TranscriptPath {
    text.parse().unwrap()
}

fn line(number: u128, text: &str) -> String {
    json!({"uuid": uuid::Uuid::from_u128(number).to_string(), "text": text}).to_string()
}

fn lines(transcript: &Transcript) -> Vec<(&str, Vec<&str>)> {
    transcript
        .files
        .iter()
        .map(|file| {
            let entries = file.entries.iter().map(crate::domain::TranscriptEntry::as_json);
            (file.path.as_str(), entries.collect())
        })
        .collect()
}

pub(in crate::store::conformance) async fn transcripts_read_back_as_they_were_written(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let (main, agent) = (path("-w-a/c.jsonl"), path("-w-a/c/subagents/agent-1.jsonl"));
    let odd = r#"{"z":1.50, "a":"\u0000\u00e9 é 🦀", "uuid":null}"#.to_owned();
    let many: Vec<_> = (1..=1200).map(|number| line(number, "x")).collect();
    let huge = [line(5000, &"é".repeat(2_000_000))];
    for (file, lines) in [
        (&main, std::slice::from_ref(&odd)),
        (&agent, &many[..]),
        (&main, &huge[..]),
        (&main, std::slice::from_ref(&odd)),
    ] {
        let appended = store
            .append_transcript(owner, session.id, epoch, file, lines)
            .await
            .unwrap();
        assert_eq!((appended.stored, appended.repeated), (lines.len() as u64, 0));
    }
    let transcript = store.read_transcript(owner, session.id).await.unwrap();
    assert_eq!(transcript.damaged, []);
    assert!(
        lines(&transcript)
            == [
                (main.as_str(), vec![odd.as_str(), &huge[0], &odd]),
                (agent.as_str(), many.iter().map(String::as_str).collect()),
            ],
        "they read back verbatim, in order"
    );
    let other = tenant(store, "other").await;
    let foreign = store.read_transcript(other, session.id).await.unwrap();
    assert_eq!(foreign, Transcript::default());
}

pub(in crate::store::conformance) async fn a_line_that_comes_twice_is_kept_once(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let (main, agent) = (path("p/c.jsonl"), path("p/agent.jsonl"));
    let append = async |file: &TranscriptPath, numbers: &[u128]| {
        let lines: Vec<_> = numbers.iter().map(|number| line(*number, "x")).collect();
        let appended = fixture
            .store
            .append_transcript(fixture.tenant, session.id, epoch, file, &lines)
            .await
            .unwrap();
        (appended.stored, appended.repeated)
    };
    assert_eq!(append(&main, &[1, 2, 2]).await, (2, 1));
    assert_eq!(append(&main, &[1, 2, 3]).await, (1, 2));
    assert_eq!(append(&agent, &[1]).await, (1, 0), "each file has its own");
    let transcript = fixture
        .store
        .read_transcript(fixture.tenant, session.id)
        .await
        .unwrap();
    let kept: Vec<_> = transcript.files.iter().map(|file| file.entries.len()).collect();
    assert_eq!(kept, [1, 3]);
}

pub(in crate::store::conformance) async fn a_torn_line_is_named_and_the_rest_is_kept(fixture: Fixture) {
    let (session, epoch) = fixture.owned_session().await;
    let main = path("p/c.jsonl");
    let given = [
        line(1, "a"),
        r#"{"uuid":"0199"#.to_owned(),
        line(2, "b"),
        "[]".to_owned(),
        String::new(),
    ];
    let appended = fixture
        .store
        .append_transcript(fixture.tenant, session.id, epoch, &main, &given)
        .await
        .unwrap();
    let places: Vec<_> = appended
        .refused
        .iter()
        .map(|bad| (bad.place.path.clone(), bad.place.position))
        .collect();
    assert_eq!(places, [(main.clone(), 2), (main.clone(), 4), (main.clone(), 5)]);
    assert!(appended.refused[0].to_string().contains("entry 2 of p/c.jsonl"));
    assert_eq!(appended.stored, 2);
}

pub(in crate::store::conformance) async fn a_transcript_is_written_by_its_owner_only(fixture: Fixture) {
    let (session, old) = fixture.owned_session().await;
    let (store, owner) = (&*fixture.store, fixture.tenant);
    let new = fixture.acquire(session.id).await;
    let main = path("p/c.jsonl");
    let given = [line(1, "a")];
    let stale = store
        .append_transcript(owner, session.id, old, &main, &given)
        .await;
    assert!(matches!(stale, Err(StoreError::StaleEpoch { .. })), "{stale:?}");
    let other = tenant(store, "other").await;
    let foreign = store
        .append_transcript(other, session.id, new, &main, &given)
        .await;
    assert!(
        matches!(foreign, Err(StoreError::SessionGone { .. })),
        "{foreign:?}"
    );
    let transcript = store.read_transcript(owner, session.id).await.unwrap();
    assert_eq!(transcript, Transcript::default());
}
