//! Clients as people use them, and a proxy as platforms have one: each goes on where it was after its connection was cut.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::support::{AppBuilder, Client, PATIENCE, Stream, TestApp, document, read_request, until};

/// How many connections are cut, and after how many bytes.
const CUTS: usize = 3;
const CUT_AFTER: usize = 1700;
const PROMPT: &str = "% words 60 every 20ms";

/// Stands between a client and the server, and cuts the first few connections in the middle of what comes.
async fn cutter(app: &TestApp) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (server, cuts) = (app.address, Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let cuts = Arc::clone(&cuts);
            tokio::spawn(async move {
                let upstream = TcpStream::connect(server).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = upstream.into_split();
                let there = async {
                    tokio::io::copy(&mut from_client, &mut to_server)
                        .await
                        .map(|_| ())
                };
                let back = async {
                    let mut passed = 0;
                    let mut buffer = [0; 512];
                    loop {
                        let read = from_server.read(&mut buffer).await?;
                        if read == 0 {
                            return Ok::<(), std::io::Error>(());
                        }
                        to_client.write_all(&buffer[..read]).await?;
                        passed += read;
                        if passed > CUT_AFTER && cuts.fetch_add(1, Ordering::Relaxed) < CUTS {
                            return Ok(());
                        }
                    }
                };
                tokio::select! {
                    _ = there => {}
                    _ = back => {}
                }
            });
        }
    });
    port
}

/// A turn that runs while a client follows.
async fn submit(client: &Client, session: &str) {
    let path = format!("/api/v1/sessions/{session}/turns");
    client.post(&path, &json!({"message": PROMPT})).await.expect(202);
}

/// The log, as it is when the turn is over.
async fn log(client: &Client, session: &str) -> Vec<Value> {
    let path = format!("/api/v1/sessions/{session}/events?limit=200");
    until("the turn is over", async || {
        let page = client.get(&path).await.expect(200).body;
        let all = page["data"].as_array().unwrap().clone();
        all.iter().any(|event| event["type"] == "done").then_some(all)
    })
    .await
}

/// What a program printed at last, as JSON.
async fn output(mut command: Command) -> Value {
    let run = command.stderr(Stdio::inherit()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, run)
        .await
        .expect("it ends")
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether a client that was cut off got the log, once.
async fn check(app: &TestApp, session: &str, told: &Value) {
    let connections = told["connections"].as_u64().unwrap();
    assert!(connections > CUTS as u64, "{connections} connections");
    let log = log(&app.client(), session).await;
    assert_eq!(told["events"].as_array().unwrap(), &log);
}

fn script(name: &str) -> String {
    format!("{}/tests/it/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn curl_goes_on_with_the_last_id() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let session = client.session("alice").await;
    let port = cutter(&app).await;
    submit(&client, &session).await;
    let (mut events, mut connections, mut last) = (Vec::<Value>::new(), 0, "0".to_owned());
    while events.last().is_none_or(|event| event["type"] != "done") {
        connections += 1;
        let url = format!("http://127.0.0.1:{port}/api/v1/sessions/{session}/events");
        let mut curl = Command::new("curl")
            .args(["-sN", "--noproxy", "*", "-H", "Accept: text/event-stream", "-H"])
            .arg(format!("Last-Event-ID: {last}"))
            .arg(&url)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut out = curl.stdout.take().unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        // A frame counts when it is whole.
        while events.last().is_none_or(|event| event["type"] != "done") {
            let read = tokio::time::timeout(PATIENCE, out.read(&mut buffer))
                .await
                .unwrap()
                .unwrap();
            if read == 0 {
                break;
            }
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            while let Some((frame, rest)) = text.split_once("\n\n") {
                if let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data: ")) {
                    let event: Value = serde_json::from_str(data).unwrap();
                    last = event["id"].to_string();
                    events.push(event);
                }
                text = rest.to_owned();
            }
        }
    }
    check(
        &app,
        &session,
        &json!({"events": events, "connections": connections}),
    )
    .await;
}

#[tokio::test]
async fn httpx_goes_on_with_the_last_id() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let session = client.session("alice").await;
    let port = cutter(&app).await;
    submit(&client, &session).await;
    // Debian's own, which has the package.
    let mut python = Command::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tools/test-clients/python/bin/python"
    ));
    python
        .arg(script("follow.py"))
        .arg(format!(
            "http://127.0.0.1:{port}/api/v1/sessions/{session}/events"
        ))
        .arg("done");
    check(&app, &session, &output(python).await).await;
}

#[tokio::test]
async fn nodes_ws_goes_on_with_the_last_id() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let session = client.session("alice").await;
    let port = cutter(&app).await;
    submit(&client, &session).await;
    let mut node = Command::new("node");
    node.arg(script("follow.mjs"))
        .arg(format!("ws://127.0.0.1:{port}/api/v1/sessions/{session}/ws"))
        .arg("done")
        .arg(format!(
            "{}/tools/test-clients/package.json",
            env!("CARGO_MANIFEST_DIR")
        ));
    check(&app, &session, &output(node).await).await;
}

#[tokio::test]
async fn an_event_source_in_chromium_goes_on_by_itself() {
    let page = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://127.0.0.1:{}", page.local_addr().unwrap().port());
    let allowed = origin.clone();
    let app = AppBuilder::real()
        .with(|settings| settings.api.cors_origins = vec![allowed])
        .start();
    let client = app.client();
    let session = client.session("alice").await;
    let port = cutter(&app).await;
    submit(&client, &session).await;
    let profile = tempfile::tempdir().unwrap();
    let events = format!("http://127.0.0.1:{port}/api/v1/sessions/{session}/events");
    let _browser = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-proxy-server",
            "--disable-dev-shm-usage",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        // Without one it ends when the page is loaded.
        .arg("--remote-debugging-port=0")
        .arg(format!("{origin}/?last=done&url={events}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let told = tokio::time::timeout(PATIENCE, result_of(page))
        .await
        .expect("the page tells");
    check(&app, &session, &told).await;
}

/// Serves the page, and takes what it tells.
async fn result_of(listener: TcpListener) -> Value {
    let page = std::fs::read_to_string(script("follow.html")).unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_request(&mut stream).await;
        let body = request.and_then(|(head, body)| head.starts_with("POST /result").then_some(body));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length";
        let _gone = stream
            .write_all(format!("{head}: {}\r\n\r\n{page}", page.len()).as_bytes())
            .await;
        if let Some(body) = body {
            return serde_json::from_str(&body).unwrap();
        }
    }
}

/// nginx in front of a server, as its documentation has it for a proxy. Dropping it ends it.
struct Nginx {
    port: u16,
    _process: tokio::process::Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    async fn before(app: &TestApp, read_timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spot = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = spot.local_addr().unwrap().port();
        drop(spot);
        let at = folder.path().display();
        let config = format!(
            "daemon off; pid {at}/pid; error_log stderr warn; worker_processes 1;
             events {{ worker_connections 256; }}
             http {{
               access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
               fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
               map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
               server {{
                 listen 127.0.0.1:{port};
                 location / {{
                   proxy_pass http://{server};
                   proxy_http_version 1.1;
                   proxy_set_header Host $http_host;
                   proxy_set_header Upgrade $http_upgrade;
                   proxy_set_header Connection $connection_upgrade;
                   proxy_read_timeout {timeout}s;
                   gzip on; gzip_types *;
                 }}
               }}
             }}",
            server = app.address,
            timeout = read_timeout.as_secs(),
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .env("PATH", "/usr/sbin:/usr/bin:/bin")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        until("nginx listens", async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Self {
            port,
            _process: process,
            _folder: folder,
        }
    }

    fn client(&self) -> Client {
        Client::new(([127, 0, 0, 1], self.port).into(), None)
    }
}

async fn follow(client: &Client, session: &str) -> Stream {
    let path = format!("/api/v1/sessions/{session}/events");
    let request = client
        .request(Method::GET, &path)
        .header(ACCEPT, "text/event-stream");
    let request = request.header("accept-encoding", "gzip");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    Stream::behind_a_proxy(response)
}

/// When each piece of text came.
async fn arrivals(mut stream: Stream) -> Vec<(u64, Instant)> {
    let mut arrivals = Vec::new();
    loop {
        let event = stream.next().await.unwrap();
        if event["type"] == "text_delta" {
            arrivals.push((event["id"].as_u64().unwrap(), Instant::now()));
        }
        if event["type"] == "done" {
            return arrivals;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_pieces_of_text_come_as_they_are_written() {
    let app = AppBuilder::real().start();
    let nginx = Nginx::before(&app, Duration::from_mins(1)).await;
    let session = app.client().session("alice").await;
    let direct = tokio::spawn(arrivals(follow(&app.client(), &session).await));
    let proxied = tokio::spawn(arrivals(follow(&nginx.client(), &session).await));
    submit(&nginx.client(), &session).await;
    let (direct, proxied) = (direct.await.unwrap(), proxied.await.unwrap());
    assert_eq!(direct.len(), proxied.len());
    let mut late: Vec<_> = direct
        .iter()
        .zip(&proxied)
        .map(|((id, here), (same, there))| {
            assert_eq!(id, same);
            there.saturating_duration_since(*here)
        })
        .collect();
    late.sort();
    // The middle one: a machine that is busy may hold up one or the other.
    assert!(late[late.len() / 2] < Duration::from_millis(50), "{late:?}");
}

#[tokio::test]
async fn behind_nginx_a_tool_that_is_silent_for_longer_than_the_proxy_waits_survives() {
    let app = AppBuilder::real()
        .with(|settings| settings.events.heartbeat = Duration::from_millis(300))
        .start();
    let nginx = Nginx::before(&app, Duration::from_secs(1)).await;
    let session = app.client().session("alice").await;
    let mut events = follow(&nginx.client(), &session).await;
    let body = json!({"message": "% bash sleep 4; echo awake\n% results"});
    let path = format!("/api/v1/sessions/{session}/stream");
    let request = nginx.client().request(Method::POST, &path).json(&body);
    let silent = Stream::behind_a_proxy(request.send().await.unwrap());
    assert_eq!(silent.rest().await.last().unwrap()["text"], "awake");
    assert_eq!(events.until("done").await.last().unwrap()["text"], "awake");
}

/// Runs the tests of one of our own client libraries against a server.
async fn run_tests_of(folder: &str, program: &str, arguments: &[&str]) {
    let app = AppBuilder::real()
        .with_keys(&[("tests", "owner", "acme", None)])
        .start();
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(program.replace("ROOT", root));
    command
        .args(arguments)
        .current_dir(format!("{root}/clients/{folder}"))
        .env("PADDOCK_URL", format!("http://{}", app.address))
        .env("PADDOCK_KEY", crate::support::key("tests"))
        .env("no_proxy", "*")
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE * 5, command.output())
        .await
        .expect("they end")
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn the_typescript_client_passes_its_tests() {
    run_tests_of("typescript", "npm", &["test"]).await;
}

#[tokio::test]
async fn the_python_client_passes_its_tests_and_is_typed() {
    let python = "ROOT/tools/test-clients/python/bin/python";
    run_tests_of(
        "python",
        python,
        &["-m", "mypy", "--strict", "src", "tests", "examples"],
    )
    .await;
    run_tests_of("python", python, &["-m", "pytest", "-q"]).await;
}

/// All names of fields that a schema of the document has, however deep.
fn names(schema: &Value, seen: &mut BTreeSet<String>, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        if seen.insert(name.to_owned()) {
            names(&document()["components"]["schemas"][name], seen, found);
        }
    }
    found.extend(
        schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys().cloned()),
    );
    let parts = match schema {
        Value::Object(parts) => parts
            .iter()
            .filter(|(name, _)| !["example", "examples", "default"].contains(&name.as_str()))
            .map(|(_, part)| part)
            .collect(),
        Value::Array(parts) => parts.iter().collect(),
        _ => Vec::new(),
    };
    for part in parts {
        names(part, seen, found);
    }
}

#[test]
fn our_clients_know_every_field_and_every_type_of_event_that_the_document_has() {
    for folder in ["typescript/src", "python/src/paddock"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("clients")
            .join(folder);
        let sources: String = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default())
            .collect();
        let words: BTreeSet<&str> = sources
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '-')
            .collect();
        let types = document()["components"]["schemas"]["EventKind"]["enum"]
            .as_array()
            .unwrap();
        let mut found: BTreeSet<_> = types
            .iter()
            .map(|kind| kind.as_str().unwrap().to_owned())
            .collect();
        for schema in [
            "StreamEvent",
            "SessionView",
            "CreateSessionRequest",
            "MessageRequest",
            "ChatView",
            "TurnView",
            "PermissionView",
            "MessageView",
            "MeView",
        ] {
            let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
            names(&schema, &mut BTreeSet::new(), &mut found);
        }
        assert!(
            found.contains("text_delta") && found.contains("permission_mode"),
            "{found:?}"
        );
        let unknown: Vec<_> = found
            .iter()
            .filter(|name| !words.contains(name.as_str()))
            .collect();
        assert_eq!(unknown, [] as [&String; 0], "{}", folder.display());
    }
}
