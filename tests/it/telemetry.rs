//! What the server tells of its work: traces to a collector, figures to Prometheus, lines to its log; and never what people wrote.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{AppBuilder, Client, PATIENCE, Served, TestApp, paddock, real_cli, until};

/// A collector of spans, as far as a server sees it.
struct Collector {
    address: String,
    got: Arc<Mutex<Vec<(String, ExportTraceServiceRequest)>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let got = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&got);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&kept)));
            }
        });
        Self { address, got }
    }

    fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let each = got.iter().flat_map(|(_, request)| &request.resource_spans);
        each.flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }
}

async fn answer(mut stream: TcpStream, kept: Arc<Mutex<Vec<(String, ExportTraceServiceRequest)>>>) {
    let mut read = Vec::new();
    loop {
        let head_ends = read.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(at) = head_ends {
            let head = String::from_utf8_lossy(&read[..at]).to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap()
                .parse()
                .unwrap();
            if read.len() >= at + 4 + length {
                let body: Vec<u8> = read.drain(..at + 4 + length).skip(at + 4).collect();
                let request = ExportTraceServiceRequest::decode(&*body).unwrap();
                kept.lock().unwrap().push((head, request));
                let answer =
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                continue;
            }
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Attribute::StringValue(text) => Some(text.clone()),
        Attribute::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

/// A server with the real CLI, in a process of its own.
async fn served(settings: &[(&str, &str)]) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let mut command = paddock(folder.path());
    command.env("PADDOCK__AGENT__CLI_PATH", real_cli()).arg("serve");
    for (name, value) in settings {
        command.env(name, value);
    }
    tokio::task::spawn_blocking(move || Served::of(command, folder))
        .await
        .unwrap()
}

async fn ended(served: Served) {
    served.signal(Signal::TERM);
    let (code, ..) = tokio::task::spawn_blocking(move || served.ended()).await.unwrap();
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn a_request_is_one_trace_down_to_the_turn_the_model_and_the_store() {
    let collector = Collector::start().await;
    let served = served(&[
        ("PADDOCK__TELEMETRY__OTLP_ENDPOINT", &collector.address),
        (
            "PADDOCK__TELEMETRY__OTLP_AUTHORIZATION",
            "Bearer for-the-collector",
        ),
        ("PADDOCK__TELEMETRY__OTLP_SERVICE_NAME", "our-paddock"),
    ])
    .await;
    let client = served.client();
    let session = client.session("alice").await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let answered = client
        .request(Method::POST, "/api/v1/chat")
        .header("traceparent", format!("00-{trace}-{parent}-01"))
        .json(&json!({
            "session_id": session,
            "message": "% bash echo it-is-$TRACEPARENT\n% results\n% say words-of-a-prompt",
        }))
        .send()
        .await
        .unwrap();
    assert_eq!(answered.status(), 200);
    let text: Value = answered.json().await.unwrap();
    // The agent was started ahead, by the request that made the session: its tools are told of that trace.
    assert!(
        text["text"].as_str().unwrap().contains("it-is-00-"),
        "the CLI, and what it runs, know of a trace: {text}"
    );
    ended(served).await;

    let spans = collector.spans();
    let of_trace: Vec<_> = spans.iter().filter(|span| hex(&span.trace_id) == trace).collect();
    let one = |name: &str| {
        let found: Vec<_> = of_trace.iter().filter(|span| span.name == name).collect();
        assert!(
            !found.is_empty(),
            "no {name} among {:?}",
            of_trace.iter().map(|span| &span.name).collect::<Vec<_>>()
        );
        Span::clone(found[0])
    };
    let of = |span: &Span| hex(&span.parent_span_id);
    let request = one("POST /api/v1/chat");
    assert_eq!(of(&request), parent, "what the client began is gone on with");
    assert_eq!(
        attribute(&request, "http.response.status_code").as_deref(),
        Some("200")
    );
    let turn = one("turn");
    assert_eq!(of(&turn), hex(&request.span_id));
    assert_eq!(attribute(&turn, "session.id").as_deref(), Some(&*session));
    assert_eq!(attribute(&turn, "turn.status").as_deref(), Some("completed"));
    let model = one("model");
    assert_eq!(of(&model), hex(&turn.span_id));
    assert_eq!(attribute(&model, "outcome").as_deref(), Some("answered"));
    assert!(attribute(&model, "usage.output_tokens").is_some());
    assert_eq!(of(&one("store.read")), hex(&request.span_id));
    assert!(!of(&one("store.write")).is_empty());
    for span in spans.iter().filter(|span| span.name.starts_with("store.")) {
        assert!(
            !of(span).is_empty(),
            "what the server asks by itself is no trace: {span:?}"
        );
    }
    let made = spans
        .iter()
        .find(|span| span.name == "POST /api/v1/sessions")
        .unwrap();
    assert!(
        spans
            .iter()
            .any(|span| span.name == "agent.start" && span.trace_id == made.trace_id),
        "the agent that is started ahead is part of the request that has it started"
    );
    let got = collector.got.lock().unwrap();
    assert!(got[0].0.contains("authorization: bearer for-the-collector"));
    let everything = format!("{got:?}");
    assert!(everything.contains("our-paddock"));
    assert!(!everything.contains("words-of-a-prompt"), "no prompt in a trace");
}

#[tokio::test]
async fn without_a_collector_there_is_no_trace_and_with_a_dead_one_turns_go_on() {
    let (alone, without) = tokio::join!(
        served(&[]),
        served(&[(
            "PADDOCK__TELEMETRY__OTLP_ENDPOINT",
            "http://127.0.0.1:9/v1/traces"
        )])
    );
    let prompt = "% bash echo it-is-[$TRACEPARENT]\n% results";
    let client = alone.client();
    let session = client.session("alice").await;
    let said = client.answer(&session, prompt).await;
    assert!(said.contains("it-is-[]"), "{said}");
    let client = without.client();
    let session = client.session("alice").await;
    assert_eq!(client.answer(&session, "Hello").await, "You said: Hello");
    ended(alone).await;
    ended(without).await;
}

/// Everything that a person or a tenant may give a server and that is nobody else's.
const PLANTED: [&str; 9] = [
    "planted-prompt",
    "planted-system-prompt",
    "planted-title",
    "planted-variable",
    "planted-header",
    "planted-model-key",
    "planted-wrong-key",
    "planted-admin-key-0123456789",
    "planted-answer",
];

#[tokio::test]
async fn the_log_tells_who_and_what_by_ids_and_never_what_was_written() {
    let [
        prompt,
        system,
        title,
        variable,
        header,
        model_key,
        wrong,
        admin,
        said,
    ] = PLANTED;
    let served = served(&[
        ("PADDOCK__TELEMETRY__LOG_FORMAT", "json"),
        ("PADDOCK__TELEMETRY__LOG_FILTER", "debug,paddock=trace"),
        ("PADDOCK__AUTH__ADMIN_KEY", admin),
        (
            "PADDOCK__AUTH__SEALING_KEY",
            "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        ),
        ("PADDOCK__AGENT__SESSION_ENVIRONMENT", "PLANTED"),
    ])
    .await;
    let client = Client::new(served.address, Some(admin.to_owned()));
    let stranger = Client::new(served.address, Some(wrong.to_owned()));
    stranger.get("/api/v1/sessions").await.expect(401);
    let set = client
        .request(Method::PUT, "/api/v1/admin/tenants/default/model-credential")
        .json(&json!({"kind": "api_key", "secret": model_key}))
        .send()
        .await
        .unwrap();
    assert_eq!(set.status(), 200);
    let made = client
        .post(
            "/api/v1/sessions",
            &json!({
                "user_id": "alice",
                "title": title,
                "options": {
                    "system_prompt": system,
                    "env": {"PLANTED": variable},
                    "mcp_servers": {"m": {"type": "http", "url": "http://127.0.0.1:9/", "headers": {"X-Secret": header}}},
                },
            }),
        )
        .await
        .expect(201);
    let session = made.body["session_id"].as_str().unwrap().to_owned();
    let message =
        format!("{prompt}\n% bash echo $PLANTED {said}; exit 3\n% results\n% think {said}\n% say {said}");
    client.answer(&session, &message).await;
    client
        .ask(&session, &format!("{prompt}\n% fail 400"))
        .await
        .problem(502, "model_error");
    client
        .get(&format!("/api/v1/sessions?q={title}&user_id=alice"))
        .await
        .expect(200);
    client
        .post(
            "/api/v1/chat",
            &json!({"session_id": session, "message": 7, "title": prompt}),
        )
        .await
        .expect(422);
    let log = served.log();
    ended(served).await;
    let log = String::from_utf8_lossy(&log.lock().unwrap()).into_owned();
    for secret in PLANTED {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let answered = lines
        .iter()
        .find(|line| line["message"] == "answered" && line["http.route"] == "/api/v1/chat")
        .unwrap();
    assert!(answered["span"]["request.id"].is_string(), "{answered}");
    assert_eq!(answered["tenant.name"], "default");
    assert!(answered["turn.id"].as_str().unwrap().starts_with("trn_"));
    let in_the_turn: BTreeSet<_> = lines
        .iter()
        .flat_map(|line| line["spans"].as_array().into_iter().flatten())
        .filter(|span| span["name"] == "turn")
        .map(|span| span["session.id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        in_the_turn,
        BTreeSet::from([session]),
        "a turn's lines name its session"
    );
}

async fn figures(client: &Client) -> String {
    let response = client.request(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}

fn figure(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{text}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn figures_tell_of_requests_by_route_of_the_model_the_store_and_the_log() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let session = client.session("alice").await;
    client.answer(&session, "Hello").await;
    client.get("/api/v1/sessions/ses_none").await;
    client.get("/nowhere/at/all").await.expect(404);
    let answered = "paddock_gateway_requests_total{outcome=\"answered\"}";
    let text = until("the answer is entered", async || {
        let text = figures(&client).await;
        let entered = figure(&text, "paddock_gateway_cost_micro_usd_total") > 0.0;
        (entered && text.contains(answered)).then_some(text)
    })
    .await;
    let route = "method=\"POST\",route=\"/api/v1/chat\"";
    for (series, least) in [
        (
            format!("paddock_http_requests_total{{{route},status=\"200\"}}"),
            1.0,
        ),
        (format!("paddock_http_request_seconds_count{{{route}}}"), 1.0),
        (
            "paddock_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"}".to_owned(),
            1.0,
        ),
        (answered.to_owned(), 1.0),
        ("paddock_gateway_tokens_total{kind=\"output\"}".to_owned(), 1.0),
        ("paddock_gateway_request_seconds_count".to_owned(), 1.0),
        ("paddock_store_read_seconds_count".to_owned(), 1.0),
        ("paddock_store_commit_seconds_count".to_owned(), 1.0),
        ("paddock_log_events_total".to_owned(), 3.0),
        ("process_resident_memory_bytes".to_owned(), 1_000_000.0),
        ("process_open_fds".to_owned(), 3.0),
    ] {
        assert!(figure(&text, &series) >= least, "{series} in:\n{text}");
    }
    assert!(!text.contains("ses_"), "no ids in labels");
    assert!(
        figure(&text, "paddock_log_readers") < 1.0,
        "nobody reads any more"
    );
}

/// The names of series that a text asks for.
fn asked_for(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("paddock_") || word.starts_with("process_"))
        .map(ToOwned::to_owned)
        .collect()
}

/// The names of series that a server tells, whether there is anything to tell yet or not.
fn told(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .flat_map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let endings: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            endings.iter().map(move |ending| format!("{name}{ending}"))
        })
        .collect()
}

async fn app_and_names() -> (TestApp, BTreeSet<String>) {
    let app = AppBuilder::fake().start();
    // The first request for figures is told in the second one's.
    figures(&app.client()).await;
    let names = told(&figures(&app.client()).await);
    (app, names)
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_figures_that_there_are() {
    let (_app, names) = app_and_names().await;
    let mut shown = BTreeSet::new();
    for file in ["deploy/grafana/paddock.json", "deploy/prometheus/alerts.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let asked = asked_for(&std::fs::read_to_string(path).unwrap());
        let unknown: Vec<_> = asked.difference(&names).collect();
        // What the rules record is theirs.
        assert!(
            unknown.is_empty(),
            "{file} asks for {unknown:?}, which no server tells"
        );
        assert!(asked.len() > 10, "{file} asks for {asked:?}");
        shown.extend(asked);
    }
    let family = |name: &str| {
        ["_bucket", "_sum", "_count", "_total"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending))
            .unwrap_or(name)
            .to_owned()
    };
    let shown: BTreeSet<_> = shown.iter().map(|name| family(name)).collect();
    let all: BTreeSet<_> = names.iter().map(|name| family(name)).collect();
    let unseen: Vec<_> = all.difference(&shown).collect();
    assert!(unseen.is_empty(), "nobody looks at {unseen:?}");
}

#[tokio::test]
async fn the_operations_page_lists_every_figure() {
    let (_app, names) = app_and_names().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATIONS.md");
    let page = asked_for(&std::fs::read_to_string(path).unwrap());
    let bare = |name: &String| {
        let ending = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending));
        ending.unwrap_or(name).to_owned()
    };
    let missing: BTreeSet<_> = names
        .iter()
        .map(bare)
        .filter(|name| !page.contains(name))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/OPERATIONS.md does not tell of {missing:?}"
    );
}

fn doctor(folder: &Path, settings: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
    let mut command = paddock(folder);
    command
        .env("PADDOCK__AGENT__CLI_PATH", real_cli())
        .args(["doctor", "--json"]);
    for (name, value) in settings {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let findings = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), findings)
}

fn verdict<'a>(findings: &'a [Value], check: &str) -> (&'a str, &'a str) {
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check} in {findings:?}"));
    (
        finding["verdict"].as_str().unwrap(),
        finding["found"].as_str().unwrap(),
    )
}

#[test]
fn the_doctor_finds_a_machine_fit_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (code, findings) = doctor(folder.path(), &[]);
    assert_eq!(code, Some(0), "{findings:?}");
    for check in [
        "cli",
        "kernel",
        "jail",
        "workspaces",
        "homes",
        "database",
        "store",
        "clock",
        "address",
    ] {
        assert_eq!(verdict(&findings, check).0, "ok", "{findings:?}");
    }
    assert_eq!(
        verdict(&findings, "model").0,
        "warning",
        "answers come from a script"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_doctor_names_each_thing_that_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let (code, findings) = doctor(
        folder.path(),
        &[
            ("PADDOCK__AGENT__CLI_PATH", "/nowhere/claude"),
            ("PADDOCK__API__PORT", &port),
            ("PADDOCK__USER__BASE_DIR", "/proc/nowhere"),
            ("PADDOCK__SESSION__STORAGE", "postgresql"),
            (
                "DATABASE_URL",
                "postgres://nobody:planted-word@127.0.0.1:9/nowhere",
            ),
            ("PADDOCK__SESSION__STORE_PATIENCE", "500ms"),
            ("PADDOCK__MODEL__SCRIPTED", "false"),
            ("ANTHROPIC_API_KEY", "planted-word"),
            ("ANTHROPIC_BASE_URL", "http://127.0.0.1:9"),
            (
                "PADDOCK__TELEMETRY__OTLP_ENDPOINT",
                "http://127.0.0.1:9/v1/traces",
            ),
            ("PADDOCK__ISOLATION__LEVEL", "none"),
        ],
    );
    assert_eq!(code, Some(1));
    for (check, wanted) in [
        ("cli", "failed"),
        ("jail", "warning"),
        ("workspaces", "failed"),
        ("store", "failed"),
        ("clock", "warning"),
        ("model", "failed"),
        ("address", "warning"),
        ("traces", "warning"),
    ] {
        assert_eq!(verdict(&findings, check).0, wanted, "{findings:?}");
    }
    let all_advised = findings
        .iter()
        .filter(|finding| finding["verdict"] != "ok")
        .all(|finding| !finding["advice"].as_str().unwrap().is_empty());
    assert!(all_advised, "{findings:?}");
    assert!(
        !format!("{findings:?}").contains("planted-word"),
        "no secret is told"
    );
    let (code, findings) = doctor(folder.path(), &[("PADDOCK__API__PORT", "many")]);
    assert_eq!((code, verdict(&findings, "settings").0), (Some(1), "failed"));
}

#[tokio::test]
async fn the_doctor_asks_the_model_the_database_and_its_clock() {
    let model = tokio::task::spawn_blocking(|| {
        scripted_model::ScriptedModel::start(scripted_model::Options::default()).unwrap()
    })
    .await
    .unwrap();
    let builder = AppBuilder::fake().in_postgres();
    let database = builder.database_url().unwrap();
    let url = model.base_url();
    let findings = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let settings = [
            ("PADDOCK__MODEL__SCRIPTED", "false"),
            ("ANTHROPIC_API_KEY", "any-will-do"),
            ("ANTHROPIC_BASE_URL", &*url),
            ("PADDOCK__SESSION__STORAGE", "postgresql"),
            ("DATABASE_URL", &*database),
        ];
        let (code, findings) = doctor(folder.path(), &settings);
        assert_eq!(code, Some(0), "{findings:?}");
        let (clock, found) = verdict(&findings, "clock");
        assert!(clock == "ok" && found.contains("no database yet"), "{found}");
        let mut migrate = paddock(folder.path());
        migrate.arg("migrate").envs(settings);
        assert!(migrate.output().unwrap().status.success());
        doctor(folder.path(), &settings).1
    });
    let findings = tokio::time::timeout(PATIENCE, findings).await.unwrap().unwrap();
    assert_eq!(verdict(&findings, "model").0, "ok");
    assert_eq!(verdict(&findings, "store").0, "ok");
    let (clock, found) = verdict(&findings, "clock");
    assert!(
        clock == "ok" && found.contains("differs from the database's by"),
        "{found}"
    );
}
