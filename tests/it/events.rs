//! A session's log over HTTP: in pages, as lines, as server-sent events; from any place on, without a gap.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::support::{AppBuilder, Client, Frame, Stream, joined, until};

const SSE: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

fn path(session: &str, query: &str) -> String {
    format!("/api/v1/sessions/{session}/events?{query}")
}

/// The log from a place on, as it comes.
async fn follow(client: &Client, session: &str, query: &str) -> Stream {
    let request = client.request(Method::GET, &path(session, query));
    let response = request.header(ACCEPT, SSE).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    Stream::of(response)
}

/// The log as it is now, as lines.
async fn lines(client: &Client, session: &str, query: &str) -> Vec<Value> {
    let request = client.request(Method::GET, &path(session, query));
    let response = request.header(ACCEPT, NDJSON).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], NDJSON);
    let text = response.text().await.unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The log as it is now, in pages of this size.
async fn pages(client: &Client, session: &str, size: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let page = client
            .get(&path(session, &format!("after={after}&limit={size}")))
            .await
            .expect(200);
        let data = page.body["data"].as_array().unwrap();
        assert!(data.len() <= size);
        all.extend(data.iter().cloned());
        match page.body["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return all,
        }
    }
}

fn id(event: &Value) -> u64 {
    event["id"].as_u64().unwrap()
}

fn types(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn the_log_is_the_same_in_pages_as_lines_and_as_a_stream() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let session = client.session("alice").await;
    let prompt = "% think Hm\nI look.\n% bash echo hello\n% results";
    let told = client.stream(&session, prompt).await.rest().await;
    let all = lines(&client, &session, "").await;
    assert_eq!(types(&all)[..2], ["message", "session"]);
    assert_eq!(types(&all).last(), Some(&"done"));
    assert!(types(&all).contains(&"assistant_message"));
    assert!(all.is_sorted_by(|a, b| id(a) < id(b)));
    for event in &told {
        assert!(all.contains(event), "{event} is in the log as it was told");
    }
    for size in [1, 3, 200] {
        assert_eq!(pages(&client, &session, size).await, all, "in pages of {size}");
    }
    let stream = follow(&client, &session, "follow=false").await;
    assert_eq!(stream.rest().await, all);
    let whole = lines(&client, &session, "deltas=false").await;
    assert!(!types(&whole).iter().any(|kind| kind.ends_with("_delta")));
    assert_eq!(
        types(&lines(&client, &session, "types=done,tool_use").await),
        ["tool_use", "done"]
    );
    let deltas = lines(&client, &session, "types=text_delta").await;
    assert_eq!(joined(&deltas), all.last().unwrap()["text"].as_str().unwrap());
    let turn = all.last().unwrap()["turn_id"].as_str().unwrap();
    client.answer(&session, "another").await;
    assert_eq!(lines(&client, &session, &format!("turn={turn}")).await, all);
}

#[tokio::test]
async fn from_every_place_of_a_turn_in_its_middle_and_after_it_exactly_the_rest_is_read() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let session = client.session("alice").await;
    let mut turn = client.stream(&session, "% words 30 every 20ms").await;
    let mut seen = turn.until("text_delta").await;
    let mut readers = Vec::new();
    // One that joins after each event that was seen, while the turn goes on.
    while let Some(event) = turn.next().await {
        readers.push((
            id(&event),
            follow(&client, &session, &format!("after={}", id(&event))).await,
        ));
        seen.push(event);
    }
    let last = id(seen.last().unwrap());
    let all = lines(&client, &session, "").await;
    assert_eq!(joined(&all), all.last().unwrap()["text"].as_str().unwrap());
    assert!(readers.len() > 10);
    for (after, mut reader) in readers {
        let mut rest = Vec::new();
        while after < last && rest.last().is_none_or(|event| id(event) < last) {
            rest.push(reader.next().await.unwrap());
        }
        let wanted: Vec<_> = all.iter().filter(|event| id(event) > after).cloned().collect();
        assert_eq!(rest, wanted, "after {after}");
        assert_eq!(lines(&client, &session, &format!("after={after}")).await, wanted);
    }
}

#[tokio::test]
async fn a_reader_that_comes_first_hears_of_every_turn_and_of_what_belongs_to_none() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let session = client.session("alice").await;
    let mut reader = follow(&client, &session, "deltas=false").await;
    client.answer(&session, "one").await;
    reader.until("done").await;
    let title = json!({"title": "A title"});
    client
        .patch(&format!("/api/v1/sessions/{session}"), &title)
        .await
        .expect(200);
    let updated = reader.next().await.unwrap();
    assert_eq!(
        (&updated["type"], &updated["title"]),
        (&json!("session_updated"), &json!("A title"))
    );
    assert!(updated["turn_id"].is_null());
    client.answer(&session, "two").await;
    assert_eq!(types(&reader.until("done").await)[0], "message");
}

#[tokio::test]
async fn the_header_of_an_event_source_counts_more_than_its_address() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let session = client.session("alice").await;
    client.answer(&session, "one").await;
    let all = lines(&client, &session, "").await;
    let read = async |last: &str| {
        let request = client.request(Method::GET, &path(&session, "after=0&follow=false"));
        let request = request.header(ACCEPT, SSE).header(LAST_EVENT_ID, last);
        Stream::of(request.send().await.unwrap()).rest().await
    };
    assert_eq!(read(&id(&all[2]).to_string()).await, all[3..]);
    assert_eq!(read("").await, all, "one that has no event yet");
}

#[tokio::test]
async fn a_cursor_that_is_none_of_the_log_is_refused_by_name() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let session = client.session("alice").await;
    client.answer(&session, "one").await;
    let last = id(lines(&client, &session, "").await.last().unwrap());
    // The ids of one session in 8192 are like this one's.
    let foreign = loop {
        let other = client.session("alice").await;
        client.answer(&other, "one").await;
        let foreign = id(&lines(&client, &other, "").await[1]);
        if foreign % 8192 != last % 8192 {
            break foreign;
        }
    };
    let ahead = last + (1 << 13);
    let numbers = [
        foreign.to_string(),
        (foreign + 1).to_string(),
        last.to_string() + "0000000",
    ];
    let malformed = ["x", "-1", "1.5", "", "%20", "99999999999999999999"].map(ToOwned::to_owned);
    for wrong in malformed.iter().chain(&numbers) {
        let answer = client.get(&path(&session, &format!("after={wrong}"))).await;
        answer.problem(400, "invalid_cursor");
    }
    client
        .get(&path(&session, &format!("after={ahead}")))
        .await
        .problem(409, "cursor_ahead");
    for (wrong, status) in [
        ("x".to_owned(), 400),
        (foreign.to_string(), 400),
        (ahead.to_string(), 409),
    ] {
        let request = client.request(Method::GET, &path(&session, ""));
        let request = request.header(LAST_EVENT_ID, HeaderValue::from_str(&wrong).unwrap());
        let response = request.header(ACCEPT, SSE).send().await.unwrap();
        assert_eq!(response.status(), status, "{wrong}");
    }
    assert_eq!(
        lines(&client, &session, &format!("after={last}")).await,
        [] as [Value; 0]
    );
}

#[tokio::test]
async fn what_cannot_be_read_that_way_is_refused_by_field() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let session = client.session("alice").await;
    for (query, field) in [
        ("types=nonsense", "types"),
        ("deltas=perhaps", "deltas"),
        ("limit=0", "limit"),
        ("since=1", "since"),
        ("follow=true", "follow"),
    ] {
        let refused = client
            .get(&path(&session, query))
            .await
            .problem(422, "invalid_query");
        assert_eq!(refused.body["errors"][0]["field"], field, "{query}");
    }
    let request = client
        .request(Method::GET, &path(&session, "limit=5"))
        .header(ACCEPT, SSE);
    assert_eq!(request.send().await.unwrap().status(), 422);
    let unknown = "turn=trn_00000000000000000000000000000000";
    client
        .get(&path(&session, unknown))
        .await
        .problem(404, "turn_not_found");
}

#[tokio::test]
async fn a_lost_stream_goes_on_by_the_same_request_with_the_last_id() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let session = client.session("alice").await;
    let send = async |last: Option<u64>, key: Option<&str>| {
        let request = client
            .request(Method::POST, &format!("/api/v1/sessions/{session}/stream"))
            .json(&json!({"message": "% words 20 every 20ms"}));
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        let request = match last {
            Some(last) => request.header(LAST_EVENT_ID, last),
            None => request,
        };
        request.send().await.unwrap()
    };
    let mut stream = Stream::of(send(None, Some("once")).await);
    let mut seen = stream.until("text_delta").await;
    drop(stream);
    let last = id(seen.last().unwrap());
    seen.extend(Stream::of(send(Some(last), Some("once")).await).rest().await);
    let done = seen.last().unwrap().clone();
    assert_eq!(done["type"], "done");
    assert_eq!(joined(&seen), done["text"].as_str().unwrap());
    assert!(seen.is_sorted_by(|a, b| id(a) < id(b)));
    let again = Stream::of(send(Some(last), Some("once")).await).rest().await;
    assert_eq!(again, seen[seen.len() - again.len()..], "after its end, too");
    let whole = Stream::of(send(None, Some("once")).await).rest().await;
    assert_eq!(whole, seen, "and from its beginning");
    let refused = send(Some(last), None).await;
    assert_eq!(refused.status(), 400);
    let all = lines(&client, &session, "types=message").await;
    assert_eq!(all.len(), 1, "it ran once");
    let ahead = id(&done) + (1 << 20);
    assert_eq!(send(Some(ahead), Some("other")).await.status(), 409);
    assert_eq!(
        lines(&client, &session, "types=message").await,
        all,
        "and nothing was begun"
    );
}

#[tokio::test]
async fn whoever_follows_is_let_go_when_the_session_is_closed_and_told_not_to_come_back() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let session = client.session("alice").await;
    client.answer(&session, "one").await;
    let reader = follow(&client, &session, "").await;
    client
        .delete(&format!("/api/v1/sessions/{session}"))
        .await
        .expect(204);
    let all = reader.rest().await;
    assert_eq!(types(&all).last(), Some(&"done"));
    let last = id(all.last().unwrap());
    let again = async |after: u64| {
        let request = client.request(Method::GET, &path(&session, &format!("after={after}")));
        request.header(ACCEPT, SSE).send().await.unwrap()
    };
    assert_eq!(again(last).await.status(), 204);
    assert_eq!(Stream::of(again(0).await).rest().await, all);
}

#[tokio::test]
async fn whoever_asks_for_another_tenants_log_gets_nothing_and_harms_nothing() {
    let keys = [
        ("acme-member", "member", "acme", None),
        ("rival-member", "member", "rival", None),
    ];
    let app = AppBuilder::fake().with_keys(&keys).start();
    let session = app.client_with("acme-member").session("alice").await;
    let folder = app.folder.clone();
    drop(app);
    // The first that this server hears of the session is from somebody whose it is not.
    let app = AppBuilder::fake().with_keys(&keys).in_folder_of(&folder).start();
    let (acme, rival) = (app.client_with("acme-member"), app.client_with("rival-member"));
    for query in ["", "follow=false", "after=0"] {
        for accept in [SSE, NDJSON, "application/json"] {
            let request = rival.request(Method::GET, &path(&session, query));
            let response = request.header(ACCEPT, accept).send().await.unwrap();
            assert_eq!(response.status(), 404);
        }
    }
    let mut reader = follow(&acme, &session, "").await;
    assert_eq!(acme.answer(&session, "hello").await, "You said: hello");
    assert_eq!(types(&reader.until("done").await)[0], "message");
    let foreign = id(&lines(&acme, &session, "").await[0]);
    let own = rival.session("eve").await;
    rival.answer(&own, "hello").await;
    let answer = rival.get(&path(&own, &format!("after={foreign}"))).await;
    if foreign % 8192 != id(&lines(&rival, &own, "").await[0]) % 8192 {
        answer.problem(400, "invalid_cursor");
    }
}

#[tokio::test]
async fn one_turn_alone_can_be_followed_to_its_end() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let session = client.session("alice").await;
    let message = json!({"message": "words 20 every 20ms"});
    let turn = client
        .post(&format!("/api/v1/sessions/{session}/turns"), &message)
        .await
        .expect(202)
        .text("turn_id");
    let events = follow(&client, &session, &format!("turn={turn}"))
        .await
        .rest()
        .await;
    assert_eq!(types(&events).last(), Some(&"done"));
    let last = id(events.last().unwrap());
    let request = client.request(Method::GET, &path(&session, &format!("turn={turn}&after={last}")));
    assert_eq!(request.header(ACCEPT, SSE).send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn what_is_no_longer_kept_is_told_by_a_gap() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.session.sweep_interval = Duration::from_millis(20);
            settings.events.message_retention = Duration::from_millis(500);
            settings.events.feed_max_bytes = 1;
        })
        .start();
    let client = app.client();
    let session = client.session("alice").await;
    client.answer(&session, "one").await;
    let first = lines(&client, &session, "deltas=false").await;
    let mut reader = follow(
        &client,
        &session,
        &format!("after={}&deltas=false", id(&first[0])),
    )
    .await;
    let gap = until("the log was trimmed", async || {
        let all = lines(&client, &session, "").await;
        (types(&all) == ["gap"]).then(|| all[0].clone())
    })
    .await;
    let last = id(first.last().unwrap());
    assert!(gap["first_available"].as_u64().unwrap() > last);
    // It goes on, from wherever it was.
    client.answer(&session, "two").await;
    reader.until("done").await;
    let rest = reader.until("done").await;
    let after_gap = lines(&client, &session, &format!("after={}&deltas=false", id(&gap))).await;
    let fresh: Vec<_> = rest
        .iter()
        .filter(|event| id(event) > last && event["type"] != "gap")
        .collect();
    assert_eq!(
        fresh,
        after_gap.iter().collect::<Vec<_>>(),
        "who goes on from a gap misses nothing"
    );
    assert!(lines(&client, &session, &format!("after={last}")).await[0]["type"] != "gap");
}

#[tokio::test]
async fn a_key_that_is_revoked_follows_no_longer() {
    let app = AppBuilder::fake()
        .with(|settings| settings.auth.recheck_interval = Duration::from_millis(20))
        .with_keys(&[("root", "admin", "default", None)])
        .start();
    let admin = app.client_with("root");
    let keys = "/api/v1/admin/tenants/default/keys";
    let key = admin
        .post(keys, &json!({"name": "n", "role": "member"}))
        .await
        .expect(201);
    let client = Client::new(app.address, Some(key.text("key")));
    let session = client.session("alice").await;
    let reader = follow(&client, &session, "").await;
    admin
        .delete(&format!("{keys}/{}", key.text("key_id")))
        .await
        .expect(200);
    assert_eq!(reader.rest().await, [] as [Value; 0]);
}

#[tokio::test]
async fn silence_is_filled_and_the_server_lets_go_of_those_who_follow_when_it_stops() {
    let app = AppBuilder::fake()
        .with(|settings| settings.events.heartbeat = Duration::from_millis(20))
        .start();
    let client = app.client();
    let session = client.session("alice").await;
    let mut reader = follow(&client, &session, "").await;
    assert_eq!(reader.next_frame().await, Some(Frame::Retry(2000)));
    assert!(matches!(reader.next_frame().await, Some(Frame::Comment(_))));
    app.stopper.stop_within(Duration::from_secs(5));
    while let Some(frame) = reader.next_frame().await {
        assert!(matches!(frame, Frame::Comment(_)), "{frame:?}");
    }
}

#[tokio::test]
async fn after_a_restart_the_log_goes_on_where_it_was() {
    let app = AppBuilder::real().start();
    let session = app.client().session("alice").await;
    app.client().answer(&session, "one").await;
    let before = lines(&app.client(), &session, "").await;
    let folder = app.folder.clone();
    drop(app);
    let app = AppBuilder::real().in_folder_of(&folder).start();
    let client = app.client();
    assert_eq!(lines(&client, &session, "").await, before);
    let mut reader = follow(&client, &session, &format!("after={}", id(&before[3]))).await;
    client.answer(&session, "two").await;
    let mut rest = reader.until("done").await;
    rest.extend(reader.until("done").await);
    let all = lines(&client, &session, "").await;
    assert_eq!(rest, all[4..]);
    assert_eq!(all[..before.len()], before);
}
