//! The reverse proxies of `deploy/proxy`, each with the very file that is shipped there: other are only ports, places of
//! files and the server's address, and a time limit where one is tried.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use paddock::settings::Settings;
use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Certificate, Method, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::support::{AppBuilder, PATIENCE, Stream, TestApp, key, until};

/// The name in both files, and in the certificate.
const NAME: &str = "paddock.example.com";
/// How long both wait for an answer to begin.
const LONGEST_WAIT: &str = "3660s";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nginx,
    Caddy,
}

impl Kind {
    /// The file that is shipped.
    fn shipped(self) -> &'static str {
        match self {
            Self::Nginx => include_str!("../../deploy/proxy/nginx.conf"),
            Self::Caddy => include_str!("../../deploy/proxy/Caddyfile"),
        }
    }
}

/// A proxy before a server. Dropping it ends it.
struct Proxy {
    kind: Kind,
    address: SocketAddr,
    /// The certificate, by which clients know it.
    certificate: String,
    folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Proxy {
    /// It is told to end: killed, nginx would leave its workers behind.
    fn drop(&mut self) {
        let Some(pid) = self.process.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) else {
            return;
        };
        let _told = kill_process(pid, Signal::TERM);
        let started = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Proxy {
    async fn before(kind: Kind, app: &TestApp) -> Self {
        Self::with(kind, app, &[]).await
    }

    /// One whose file says other things besides.
    async fn with(kind: Kind, app: &TestApp, besides: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("proxy-").tempdir().unwrap();
        // nginx's workers are of another user.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let at = folder.path().display().to_string();
        let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let certificate = own.cert.pem();
        std::fs::write(folder.path().join("fullchain.pem"), &certificate).unwrap();
        std::fs::write(folder.path().join("privkey.pem"), own.signing_key.serialize_pem()).unwrap();
        let port = {
            let spot = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            spot.local_addr().unwrap().port()
        };

        let (server, tls) = (app.address.to_string(), format!("{at}/"));
        let listen = format!("listen 127.0.0.1:{port} ");
        // The folders that the package makes, or that are built in.
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary
            .map(|what| format!("{what}_temp_path {at}/{what};"))
            .concat();
        let http = format!("http {{ {temporary}");
        let pid = format!("pid {at}/pid");
        let site = format!("{NAME}:{port} {{\n\tbind 127.0.0.1");
        let mut changes = vec![("127.0.0.1:8000", server.as_str()), ("/etc/paddock/tls/", &tls)];
        match kind {
            Kind::Nginx => changes.extend([
                ("listen 443 ", listen.as_str()),
                ("/var/log/nginx/", &tls),
                ("pid /run/nginx.pid", &pid),
                ("http {", &http),
            ]),
            Kind::Caddy => changes.extend([
                ("paddock.example.com {", site.as_str()),
                ("/var/log/caddy/", &tls),
                ("/var/lib/caddy/", &tls),
            ]),
        }
        let mut config = kind.shipped().to_owned();
        for (shipped, here) in changes.iter().chain(besides) {
            assert!(
                config.contains(shipped),
                "{kind:?}: no {shipped:?} in what is shipped"
            );
            config = config.replace(shipped, here);
        }
        std::fs::write(folder.path().join("config"), config).unwrap();

        let mut command = command_of(kind, folder.path());
        match kind {
            Kind::Nginx => command.args(["-g", "daemon off;"]),
            Kind::Caddy => command.args(["run", "--config", "config", "--adapter", "caddyfile"]),
        };
        let log = std::fs::File::create(folder.path().join("said")).unwrap();
        let mut process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("the proxy listens", async || {
            if let Some(status) = process.try_wait().unwrap() {
                let said = std::fs::read_to_string(folder.path().join("said"));
                panic!("{kind:?} ended, {status}: {}", said.unwrap());
            }
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        Self {
            kind,
            address,
            certificate,
            folder,
            process,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.address.port())
    }

    /// A request that comes from this address.
    fn request_from(&self, from: Ipv4Addr, method: Method, path: &str) -> RequestBuilder {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let certificate = Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([certificate])
            .resolve(NAME, self.address)
            .local_address(IpAddr::from(from))
            .build()
            .unwrap();
        client.request(method, self.url(path))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_from(Ipv4Addr::LOCALHOST, method, path)
    }

    /// curl, which speaks HTTP/2, and sends a path as it is written.
    fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sSN", "--noproxy", "*", "--http2", "--path-as-is", "--cacert"])
            .arg(self.folder.path().join("fullchain.pem"))
            .arg("--resolve")
            .arg(format!("{NAME}:{}:127.0.0.1", self.address.port()))
            .arg(self.url(path))
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        curl
    }

    /// What its access log holds, when these paths are in it.
    async fn access_log(&self, paths: &[&str]) -> String {
        until("the proxy has logged it", async || {
            let log = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
            // As the one writes it, and as the other.
            let has = |path: &&str| log.contains(&format!("{path} ")) || log.contains(&format!("{path}\""));
            paths.iter().all(has).then_some(log)
        })
        .await
    }

    /// Has it read its file again, as its service does: from then on it says otherwise that it has nothing inside for clients.
    async fn reload(&self) {
        let file = self.folder.path().join("config");
        let config = std::fs::read_to_string(&file).unwrap();
        let changed = config
            .replace("return 404", "return 410")
            .replace("@inside 404", "@inside 410");
        assert_ne!(config, changed);
        std::fs::write(file, changed).unwrap();
        let mut command = command_of(self.kind, self.folder.path());
        match self.kind {
            Kind::Nginx => command.args(["-s", "reload"]),
            Kind::Caddy => command.args([
                "reload",
                "--force",
                "--config",
                "config",
                "--adapter",
                "caddyfile",
            ]),
        };
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

fn command_of(kind: Kind, folder: &std::path::Path) -> Command {
    let mut command = match kind {
        Kind::Nginx => Command::new("nginx"),
        Kind::Caddy => Command::new("caddy"),
    };
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/bin:/usr/local/bin")
        .env("HOME", folder)
        .current_dir(folder)
        .kill_on_drop(true);
    if kind == Kind::Nginx {
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("config"));
    }
    command
}

/// When each piece of text came, of a stream of lines.
async fn arrivals(mut command: Command) -> Vec<(u64, Instant)> {
    let mut curl = command.spawn().unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let mut arrivals = Vec::new();
    loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("it goes on").unwrap().expect("it is not over");
        let text = line.strip_prefix("data: ").unwrap_or(&line);
        let Ok(event) = serde_json::from_str::<Value>(text) else {
            continue;
        };
        if event["type"] == "text_delta" {
            arrivals.push((event["id"].as_u64().unwrap(), Instant::now()));
        }
        if event["type"] == "done" {
            return arrivals;
        }
    }
}

async fn pieces_come_as_they_are_written(kind: Kind) {
    let app = AppBuilder::real().start();
    let proxy = Proxy::before(kind, &app).await;
    let session = app.client().session("alice").await;
    let events = format!("/api/v1/sessions/{session}/events?follow=true");
    let follow = |version: &str, format: &str| {
        let mut curl = proxy.curl(&events);
        curl.args([version, "-H"]).arg(format!("Accept: {format}"));
        tokio::spawn(arrivals(curl))
    };
    let mut direct = Command::new("curl");
    direct
        .args(["-sN", "--noproxy", "*", "-H", "Accept: text/event-stream"])
        .arg(format!("http://{}{events}", app.address))
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let direct = tokio::spawn(arrivals(direct));
    let proxied = [
        follow("--http2", "text/event-stream"),
        follow("--http2", "application/x-ndjson"),
        follow("--http1.1", "text/event-stream"),
        follow("--http1.1", "application/x-ndjson"),
    ];
    let path = format!("/api/v1/sessions/{session}/turns");
    let body = json!({"message": "% words 60 every 20ms"});
    let taken = proxy
        .request(Method::POST, &path)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(taken.status(), 202);
    let direct = direct.await.unwrap();
    assert!(direct.len() > 20, "{}", direct.len());
    for proxied in proxied {
        let proxied = proxied.await.unwrap();
        let ids = |arrivals: &[(u64, Instant)]| arrivals.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        assert_eq!(ids(&direct), ids(&proxied));
        let mut late: Vec<_> = direct
            .iter()
            .zip(&proxied)
            .map(|((_, here), (_, there))| there.saturating_duration_since(*here))
            .collect();
        late.sort();
        // The middle one: a machine that is busy may hold up one or the other. All of it takes over a second.
        assert!(late[late.len() / 2] < Duration::from_millis(200), "{late:?}");
    }
}

/// Opens a WebSocket by way of the proxy, over TLS.
fn open_socket(
    address: SocketAddr,
    certificate: &str,
    path: &str,
) -> tungstenite::WebSocket<rustls::StreamOwned<rustls::ClientConnection, TcpStream>> {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let mut roots = rustls::RootCertStore::empty();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = NAME.try_into().unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("wss://{NAME}:{}{path}", address.port());
    let mut request = url.into_client_request().unwrap();
    // As a page of the server's own: it is compared with the name that the proxy passes on.
    let origin = format!("https://{NAME}:{}", address.port());
    request.headers_mut().insert("origin", origin.parse().unwrap());
    let stream = rustls::StreamOwned::new(session, stream);
    let (socket, response) = tungstenite::client(request, stream).unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    socket
}

async fn a_socket_works_over_tls_and_its_ticket_is_not_logged(kind: Kind) {
    let app = AppBuilder::real()
        .with_keys(&[("alice", "member", "acme", None)])
        .start();
    let proxy = Proxy::before(kind, &app).await;
    let session = app.client_with("alice").session("alice").await;
    let path = format!("/api/v1/sessions/{session}/ws");
    let asked = proxy.request(Method::POST, &format!("{path}-ticket"));
    let given = asked.header("x-api-key", key("alice")).send().await.unwrap();
    assert_eq!(given.status(), 201);
    let given: Value = given.json().await.unwrap();
    let ticket = given["ticket"].as_str().unwrap().to_owned();
    let (address, certificate) = (proxy.address, proxy.certificate.clone());
    let place = format!("{path}?ticket={ticket}");
    let events = tokio::task::spawn_blocking(move || {
        let mut socket = open_socket(address, &certificate, &place);
        let message = json!({"type": "message", "message": "% bash echo hello\n% results"});
        socket.send(Message::text(message.to_string())).unwrap();
        let mut events = Vec::new();
        loop {
            let Message::Text(text) = socket.read().unwrap() else {
                continue;
            };
            let said: Value = serde_json::from_str(&text).unwrap();
            let is_last = said["type"] == "done";
            if said["id"].is_u64() {
                events.push(said);
            }
            if is_last {
                // Logged when it is over.
                socket.close(None).unwrap();
                while socket.read().is_ok() {}
                return events;
            }
        }
    });
    let events = events.await.unwrap();
    assert_eq!(events.last().unwrap()["text"], "hello");
    let log = format!("/api/v1/sessions/{session}/events?limit=200");
    let log = app.client_with("alice").get(&log).await.expect(200);
    assert_eq!(log.body["data"], json!(events));

    let logged = proxy.access_log(&[&path, &format!("{path}-ticket")]).await;
    assert!(!logged.contains(&ticket), "{logged}");
    assert!(!logged.contains(&key("alice")), "{logged}");
}

async fn what_is_silent_is_waited_for(kind: Kind) {
    let longest = humantime(LONGEST_WAIT);
    assert!(longest > Settings::default().limits.turn_timeout_max);
    let app = AppBuilder::real()
        .with(|settings| settings.events.heartbeat = Duration::from_millis(300))
        .start();
    // Everything that waits, waits a second.
    let mut besides = vec![(LONGEST_WAIT, "1s")];
    if kind == Kind::Caddy {
        besides.push(("idle 2m", "idle 1s"));
    }
    let hasty = Proxy::with(kind, &app, &besides).await;
    let session = app.client().session("alice").await;
    let body = json!({"message": "% bash sleep 3; echo awake\n% results"});
    let path = format!("/api/v1/sessions/{session}");
    let events = hasty.request(Method::GET, &format!("{path}/events"));
    let events = events.header(ACCEPT, "text/event-stream").send().await.unwrap();
    let mut events = Stream::behind_a_proxy(events);
    let silent = hasty.request(Method::POST, &format!("{path}/stream")).json(&body);
    let silent = Stream::behind_a_proxy(silent.send().await.unwrap());
    assert_eq!(silent.rest().await.last().unwrap()["text"], "awake");
    assert_eq!(events.until("done").await.last().unwrap()["text"], "awake");

    // A request that waits for its turn gives no sign of life, so both files must allow for the longest turn.
    let waits = async |proxy: &Proxy| {
        let request = proxy
            .request(Method::POST, &format!("{path}/messages"))
            .json(&body);
        request.send().await.unwrap()
    };
    assert_eq!(
        waits(&hasty).await.status(),
        504,
        "the proxy does not wait as long"
    );
    until("the turn that nobody waits for is over", async || {
        let session = app.client().get(&path).await.expect(200);
        (session.body["busy"] == false).then_some(())
    })
    .await;
    let patient = Proxy::before(kind, &app).await;
    let answer = waits(&patient).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["text"], "awake");
}

fn humantime(text: &str) -> Duration {
    Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap())
}

async fn a_body_may_be_as_long_as_the_settings_say(kind: Kind) {
    let app = AppBuilder::fake().start();
    let proxy = Proxy::before(kind, &app).await;
    let longest = Settings::default().api.body_limit_bytes;
    for (length, status) in [(longest, 201), (longest + 1, 413)] {
        let mut body = br#"{"user_id": "alice"}"#.to_vec();
        body.resize(length, b' ');
        let request = proxy.request(Method::POST, "/api/v1/sessions");
        let request = request.header("content-type", "application/json").body(body);
        assert_eq!(request.send().await.unwrap().status(), status, "{length}");
    }
    // One whose length is not told beforehand.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, vec![b' '; longest + 1]).unwrap();
    let mut curl = proxy.curl("/api/v1/sessions");
    curl.args(["--http1.1", "-H", "Transfer-Encoding: chunked", "-H", "Expect:"])
        .args(["-H", "Content-Type: application/json", "--data-binary"])
        .arg(format!("@{}", file.display()))
        .args(["-o", "/dev/null", "-w", "%{http_code}"]);
    let output = curl.output().await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "413");
}

async fn what_is_for_the_inside_is_refused_by_the_proxy(kind: Kind) {
    let app = AppBuilder::fake()
        .with_keys(&[("root", "admin", "default", None)])
        .start();
    let proxy = Proxy::before(kind, &app).await;
    let authorization = format!("Authorization: Bearer {}", key("root"));
    // The server gives each answer of its own an id.
    let answer = async |mut curl: Command| {
        let output = curl.args(["-i", "-H", &authorization]).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let head = text.split_once("\r\n\r\n").unwrap().0.to_lowercase();
        let mut words = head.split_whitespace();
        assert_eq!(words.next(), Some("http/2"));
        let status: u16 = words.next().unwrap().parse().unwrap();
        (status, head.contains("\nx-request-id: "))
    };
    assert_eq!(answer(proxy.curl("/health/ready")).await, (200, true));
    assert_eq!(answer(proxy.curl("/api/v1/nothing")).await, (404, true));
    for path in [
        "/internal",
        "/internal/",
        "/internal/v1/commands",
        "/%69nternal/v1/commands",
        "//internal/v1/commands",
        "/./internal/v1/commands",
        "/docs/../internal/v1/commands",
        "/docs/%2e%2e/internal/v1/commands",
        "/docs/..%2finternal/v1/commands",
        "/metrics",
        "/metrics?x=y",
        "/%6detrics",
    ] {
        assert_eq!(answer(proxy.curl(path)).await, (404, false), "{path}");
    }
    app.client_with("root").get("/metrics").await.expect(200);
}

async fn a_clients_address_is_its_own_and_not_what_it_says(kind: Kind) {
    let app = AppBuilder::fake()
        .with_keys(&[("owner", "owner", "acme", None)])
        .with(|settings| {
            settings.api.trusted_proxies = serde_json::from_value(json!(["127.0.0.1"])).unwrap();
            settings.rates.address_requests_per_minute = 30;
        })
        .start();
    let proxy = Proxy::before(kind, &app).await;
    let made = json!({"name": "bound", "role": "reader", "networks": ["127.0.0.2/32"]});
    let made = app
        .client_with("owner")
        .post("/api/v1/admin/tenants/acme/keys", &made)
        .await;
    let bound = made.expect(201).text("key");
    let ask = |from: u8, headers: &[(&str, &str)]| {
        let from = Ipv4Addr::new(127, 0, 0, from);
        let mut request = proxy
            .request_from(from, Method::GET, "/api/v1/sessions")
            .bearer_auth(&bound);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move { request.send().await.unwrap() }
    };
    assert_eq!(ask(2, &[]).await.status(), 200, "from where the key is good");
    assert_eq!(ask(3, &[]).await.status(), 403, "from elsewhere");
    for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded"] {
        for value in ["127.0.0.2", "for=127.0.0.2", "127.0.0.2, 127.0.0.1", "127.0.0.1"] {
            assert_eq!(ask(3, &[(name, value)]).await.status(), 403, "{name}: {value}");
            assert_eq!(ask(2, &[(name, value)]).await.status(), 200, "{name}: {value}");
        }
    }
    // Each address has requests of its own, and cannot take another's.
    let mut seen = HashSet::new();
    for _ in 0..40 {
        let answer = ask(3, &[("X-Forwarded-For", "127.0.0.2")]).await;
        assert_eq!(answer.status() == 429, answer.headers().contains_key(RETRY_AFTER));
        seen.insert(answer.status().as_u16());
    }
    assert!(seen.contains(&429), "{seen:?}");
    assert_eq!(ask(2, &[]).await.status(), 200);
}

async fn a_reload_cuts_nothing(kind: Kind) {
    let app = AppBuilder::real().start();
    let proxy = Proxy::before(kind, &app).await;
    let session = app.client().session("alice").await;
    let body = json!({"message": "% words 120 every 50ms"});
    let path = format!("/api/v1/sessions/{session}/stream");
    let followed = proxy
        .request(Method::POST, &path)
        .json(&body)
        .send()
        .await
        .unwrap();
    let mut followed = Stream::behind_a_proxy(followed);
    followed.until("text_delta").await;
    let reloaded = async {
        proxy.reload().await;
        until("it goes by its file of now", async || {
            let asked = proxy.request(Method::GET, "/metrics").send().await.unwrap();
            (asked.status() == 410).then_some(())
        })
        .await;
    };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy
            .request(Method::GET, "/health/ready")
            .send()
            .await
            .unwrap()
            .status()
    };
    let ((), status, events) = tokio::join!(reloaded, meanwhile, followed.rest());
    assert_eq!(status, 200, "others are served meanwhile");
    assert_eq!(events.last().unwrap()["type"], "done");
    assert!(
        events.len() > 20,
        "it was read in the middle of the turn: {}",
        events.len()
    );
}

/// Each of these, before each proxy.
macro_rules! before_each {
    ($($name:ident),* $(,)?) => {
        mod nginx {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Nginx).await;
            })*
        }
        mod caddy {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Caddy).await;
            })*
        }
    };
}

before_each!(
    pieces_come_as_they_are_written,
    a_socket_works_over_tls_and_its_ticket_is_not_logged,
    what_is_silent_is_waited_for,
    a_body_may_be_as_long_as_the_settings_say,
    what_is_for_the_inside_is_refused_by_the_proxy,
    a_clients_address_is_its_own_and_not_what_it_says,
    a_reload_cuts_nothing,
);
