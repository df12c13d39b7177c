//! The HTTP side: routes, errors in the API's shape, streams.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::time::SystemTime;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use crate::Options;
use crate::conversation::Conversation;
use crate::performance::{Act, Performance, perform, whole_message};
use crate::recording::{RecordedRequest, Recording};

/// The most prompts whose failures are counted at once; past that, counting starts anew.
const COUNTED_PROMPTS: usize = 10_000;
/// The models that are listed.
const MODELS: [&str; 3] = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"];
/// The headers that are recorded.
const RECORDED_HEADERS: [&str; 5] = [
    "x-api-key",
    "authorization",
    "anthropic-version",
    "anthropic-beta",
    "x-claude-code-session-id",
];

struct State {
    recording: Arc<Recording>,
    /// How often each prompt has failed.
    failures: Mutex<HashMap<String, u32>>,
    /// The number of the last answer. Ids are made of it, which a conversation that outlives this server has but once.
    answered: AtomicU64,
}

/// Serves until it is stopped; tells `started` how to stop it, or why it does not serve.
pub(crate) fn run(
    listener: TcpListener,
    options: &Options,
    recording: &Arc<Recording>,
    started: &Sender<std::io::Result<ServerHandle>>,
) {
    let limit = options.body_limit_bytes;
    let state = web::Data::new(State {
        recording: Arc::clone(recording),
        failures: Mutex::default(),
        answered: AtomicU64::new(microseconds_since_1970()),
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(web::PayloadConfig::new(limit))
            .route("/", web::head().to(HttpResponse::Ok))
            .route(
                "/",
                web::get().to(async || HttpResponse::Ok().json(json!({"scripted": true}))),
            )
            .route("/api/hello", web::to(HttpResponse::Ok))
            .route("/v1/messages", web::post().to(messages))
            .route("/v1/messages/count_tokens", web::post().to(count_tokens))
            .route("/v1/models", web::get().to(models))
            .route("/_scripted/requests", web::get().to(recorded))
            .route("/_scripted/requests", web::delete().to(forget))
            .default_service(web::to(async || error(404, None)))
    })
    .workers(2)
    .disable_signals()
    .listen(listener);
    let server = match server {
        Ok(server) => server.run(),
        Err(error) => {
            // Whoever started this waits for the word.
            let _told = started.send(Err(error));
            return;
        }
    };
    let _told = started.send(Ok(server.handle()));
    if let Err(error) = actix_web::rt::System::new().block_on(server) {
        tracing::error!(%error, "the scripted model failed");
    }
}

async fn messages(request: HttpRequest, body: Bytes, state: web::Data<State>) -> HttpResponse {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error(400, None);
    };
    record(&state, &request, &body);
    let conversation = Conversation::of(&body);
    let model = body
        .get("model")
        .and_then(Value::as_str)
        .unwrap_or("claude-scripted");
    let number = state.answered.fetch_add(1, Ordering::Relaxed) + 1;
    let mut fails = |times: Option<u32>| still_fails(&state, &conversation.prompt, times);
    match perform(
        &conversation,
        model,
        &format!("msg_scripted_{number}"),
        &mut fails,
    ) {
        Performance::Error { status, retry_after } => error(status, retry_after),
        Performance::Stream(acts) if body.get("stream") == Some(&Value::Bool(true)) => streamed(acts),
        Performance::Stream(acts) => whole(acts).await,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is told of the time: it only makes ids that no earlier server gave"
)]
fn microseconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}

/// Whether a failure happens: always without a number of times, else until it has happened so often.
fn still_fails(state: &State, prompt: &str, times: Option<u32>) -> bool {
    let Some(times) = times else { return true };
    let mut failures = state.failures.lock().unwrap_or_else(PoisonError::into_inner);
    if failures.len() >= COUNTED_PROMPTS {
        failures.clear();
    }
    let happened = failures.entry(prompt.to_owned()).or_insert(0);
    let fails = *happened < times;
    *happened += u32::from(fails);
    fails
}

fn streamed(acts: Vec<Act>) -> HttpResponse {
    let pieces = stream::unfold(acts.into_iter(), |mut acts| async move {
        loop {
            match acts.next()? {
                Act::Event(event) => {
                    let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
                    let frame = Bytes::from(format!("event: {kind}\ndata: {event}\n\n"));
                    return Some((Ok(frame), acts));
                }
                Act::Pause(pause) => actix_web::rt::time::sleep(pause).await,
                Act::Hang => std::future::pending().await,
                Act::Drop => {
                    // What was sent before goes out first; then the connection breaks off in the middle.
                    actix_web::rt::time::sleep(Duration::from_millis(10)).await;
                    return Some((Err(std::io::Error::other("dropped, as the script says")), acts));
                }
            }
        }
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("cache-control", "no-cache"))
        .streaming(pieces)
}

async fn whole(acts: Vec<Act>) -> HttpResponse {
    let mut events = Vec::new();
    for act in acts {
        match act {
            Act::Event(event) if event.get("type").and_then(Value::as_str) == Some("error") => {
                return error(529, None);
            }
            Act::Event(event) => events.push(event),
            Act::Pause(pause) => actix_web::rt::time::sleep(pause).await,
            Act::Hang => std::future::pending().await,
            Act::Drop => {
                let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other(
                    "dropped, as the script says",
                ))]);
                return HttpResponse::Ok()
                    .content_type("application/json")
                    .streaming(broken);
            }
        }
    }
    HttpResponse::Ok().json(whole_message(&events))
}

async fn count_tokens(body: Bytes) -> HttpResponse {
    match serde_json::from_slice::<Value>(&body) {
        Ok(body) => HttpResponse::Ok().json(json!({"input_tokens": Conversation::of(&body).tokens})),
        Err(_) => error(400, None),
    }
}

async fn models(request: HttpRequest) -> HttpResponse {
    // So that a refused credential can be seen too.
    let proof = ["x-api-key", "authorization"].iter().find_map(|name| {
        let value = request.headers().get(*name)?.to_str().ok()?;
        Some(value.trim_start_matches("Bearer "))
    });
    if proof.is_some_and(|proof| proof.starts_with("sk-refused")) {
        return error(401, None);
    }
    let data: Vec<_> = MODELS
        .iter()
        .map(
            |id| json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"}),
        )
        .collect();
    HttpResponse::Ok()
        .json(json!({"data": data, "has_more": false, "first_id": MODELS.first(), "last_id": MODELS.last()}))
}

async fn recorded(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.recording.all())
}

async fn forget(state: web::Data<State>) -> HttpResponse {
    state.recording.clear();
    HttpResponse::NoContent().finish()
}

fn record(state: &State, request: &HttpRequest, body: &Value) {
    let headers = RECORDED_HEADERS
        .iter()
        .filter_map(|name| {
            let value = request.headers().get(*name)?.to_str().ok()?;
            Some(((*name).to_owned(), value.to_owned()))
        })
        .collect();
    state.recording.add(RecordedRequest {
        path: request.path().to_owned(),
        headers,
        body: body.clone(),
    });
}

/// An error in the API's own shape.
fn error(status: u16, retry_after: Option<u32>) -> HttpResponse {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(code);
    if let Some(seconds) = retry_after {
        response.insert_header(("retry-after", seconds.to_string()));
    }
    response.json(json!({"type": "error", "error": {"type": kind, "message": format!("Scripted {status}")}}))
}
