//! Sessions that begin with a clone of a repository, or with a template.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use paddock::settings::{Network, NetworkSetting, Settings, TemplateSettings};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::git;
use crate::support::{AppBuilder, TestApp, read_request};

const PASSWORD: &str = "the-secret-of-the-clone";

/// A web server that has a repository, as files; it is closed to those without the password.
struct Host {
    port: u16,
    _folder: tempfile::TempDir,
}

impl Host {
    async fn start(closed: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("work");
        std::fs::create_dir(&work).unwrap();
        git(&work, &["init", "--quiet", "--initial-branch=main"]);
        std::fs::write(work.join("README.md"), "hello\n").unwrap();
        git(&work, &["add", "--all"]);
        git(&work, &["commit", "--quiet", "--message=First"]);
        git(&work, &["branch", "other"]);
        git(folder.path(), &["clone", "--quiet", "--bare", "work", "repo.git"]);
        git(&folder.path().join("repo.git"), &["update-server-info"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let root: Arc<Path> = folder.path().into();
        let both = base64::engine::general_purpose::STANDARD.encode(format!("ann:{PASSWORD}"));
        let wanted = closed.then(|| format!("authorization: basic {both}").to_ascii_lowercase());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (root, wanted) = (Arc::clone(&root), wanted.clone());
                tokio::spawn(async move {
                    let Some((head, _)) = read_request(&mut stream).await else {
                        return;
                    };
                    let answer = answer(&root, &head, wanted.as_deref());
                    let _gone = stream.write_all(&answer).await;
                });
            }
        });
        Self {
            port,
            _folder: folder,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/repo.git", self.port)
    }

    fn app(&self, change: impl FnOnce(&mut Settings)) -> TestApp {
        let port = self.port;
        AppBuilder::fake()
            .with(|settings| {
                settings.git.clone_http = true;
                settings.git.clone_networks = vec![Network("127.0.0.0/8".parse().unwrap())];
                settings.isolation.network = NetworkSetting::Ports(vec![port]);
            })
            .with(change)
            .start()
    }
}

fn answer(root: &Path, head: &str, wanted: Option<&str>) -> Vec<u8> {
    let told = |status: &str, body: &[u8]| {
        let mut answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(body);
        answer
    };
    if wanted.is_some_and(|wanted| !head.to_ascii_lowercase().contains(wanted)) {
        return told("401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"", b"");
    }
    let path = head.split_whitespace().nth(1).unwrap();
    let path = path.split('?').next().unwrap().trim_start_matches('/');
    match std::fs::read(root.join(path)) {
        Ok(body) => told("200 OK", &body),
        Err(_) => told("404 Not Found", b""),
    }
}

fn source(url: &str) -> Value {
    json!({"user_id": "alice", "source": {"git_url": url}})
}

fn all_text(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&all_text(&path));
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
    }
    text
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

#[tokio::test]
async fn a_session_begins_with_a_clone_and_its_credential_is_kept_nowhere() {
    let host = Host::start(true).await;
    let app = host.app(|_| ());
    let client = app.client();
    let workspace = app.workspace("alice");
    for credential in [Value::Null, json!({"username": "ann", "password": "wrong"})] {
        let mut body = source(&host.url());
        if !credential.is_null() {
            body["source"]["credential"] = credential;
        }
        let refused = client
            .post("/api/v1/sessions", &body)
            .await
            .problem(422, "clone_failed");
        assert!(!refused.raw.contains("wrong"), "{}", refused.raw);
        assert!(is_empty(&workspace), "nothing is left");
    }
    let sessions = client.get("/api/v1/sessions?status=all").await.expect(200).body;
    assert_eq!(sessions["data"], json!([]), "and no session");

    let mut body = source(&host.url());
    body["source"]["credential"] = json!({"username": "ann", "password": PASSWORD});
    body["source"]["ref"] = json!("other");
    let made = client.post("/api/v1/sessions", &body).await.expect(201);
    assert!(!made.raw.contains(PASSWORD));
    let id = made.text("session_id");
    assert_eq!(
        std::fs::read_to_string(workspace.join("README.md")).unwrap(),
        "hello\n"
    );
    let status = client
        .get(&format!("/api/v1/sessions/{id}/git/status"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&status["branch"], &status["upstream"], &status["data"]),
        (&json!("other"), &json!("origin/other"), &json!([]))
    );
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("ann:{PASSWORD}"));
    let kept = all_text(app.folder.path());
    assert!(!kept.contains(PASSWORD) && !kept.contains(&encoded));
    // The workspace has something by now.
    client
        .post("/api/v1/sessions", &body)
        .await
        .problem(409, "workspace_not_empty");
    assert!(workspace.join("README.md").exists());
}

#[tokio::test]
async fn what_may_not_be_cloned_is_refused_by_name() {
    let host = Host::start(false).await;
    let app = host.app(|settings| {
        settings.git.clone_networks = Vec::new();
        settings.git.clone_hosts = vec!["127.0.0.1".into(), "localhost".into()];
    });
    let client = app.client();
    for url in [
        "ext::sh -c touch% x",
        "file:///etc",
        "/etc",
        "ssh://git@example.com/x",
        "git@example.com:x/y.git",
        "git://example.com/x",
        "https://user@example.com/x",
        "https://user:password@example.com/x",
        "--upload-pack=touch",
    ] {
        let refused = client.post("/api/v1/sessions", &source(url)).await;
        let refused = refused.problem(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["field"], "source.git_url", "{url}");
    }
    for (url, why) in [
        (host.url(), "private address"),
        (host.url().replace("127.0.0.1", "localhost"), "private address"),
        ("https://example.com/x.git".to_owned(), "git.clone_hosts"),
    ] {
        let refused = client.post("/api/v1/sessions", &source(&url)).await;
        let detail = refused.problem(403, "source_refused").text("detail");
        assert!(detail.contains(why), "{url}: {detail}");
    }
    let both = json!({"user_id": "alice", "template": "t", "source": {"git_url": host.url()}});
    client
        .post("/api/v1/sessions", &both)
        .await
        .problem(422, "validation_failed");
    let option = json!({"user_id": "alice", "source": {"git_url": host.url(), "ref": "--config=x"}});
    client
        .post("/api/v1/sessions", &option)
        .await
        .problem(422, "validation_failed");
    assert!(is_empty(&app.workspace("alice")));
}

#[tokio::test]
async fn a_clone_goes_where_agents_may_go_and_no_further() {
    let host = Host::start(false).await;
    let nowhere = host.app(|settings| settings.isolation.network = NetworkSetting::Ports(vec![9]));
    let refused = nowhere
        .client()
        .post("/api/v1/sessions", &source(&host.url()))
        .await;
    refused.problem(422, "clone_failed");
    let off = host.app(|settings| settings.git.clone = false);
    let refused = off.client().post("/api/v1/sessions", &source(&host.url())).await;
    refused.problem(403, "source_refused");
}

#[tokio::test]
async fn no_more_of_git_runs_than_may() {
    // One that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.git.clone_http = true;
            settings.git.clone_networks = vec![Network("127.0.0.0/8".parse().unwrap())];
            settings.isolation.network = NetworkSetting::Ports(vec![port]);
            settings.git.concurrency_max = 1;
            settings.git.clone_timeout = Duration::from_secs(5);
            settings.git.timeout = Duration::from_millis(200);
        })
        .start();
    let client = app.client();
    let other = client
        .session_with(&json!({"user_id": "alice", "subdir": "other"}))
        .await;
    let folder = app.workspace("alice").join("other");
    git(&folder, &["init", "--quiet"]);
    let mut body = source(&format!("http://127.0.0.1:{port}/x.git"));
    body["subdir"] = json!("clone");
    let cloning = client.clone();
    let cloning = tokio::spawn(async move { cloning.post("/api/v1/sessions", &body).await });
    let _connected = silent.accept().await.unwrap();
    let busy = client.get(&format!("/api/v1/sessions/{other}/git/status")).await;
    assert_eq!(busy.problem(503, "git_busy").header("retry-after"), "2");
    cloning.await.unwrap().problem(504, "git_timeout");
    assert!(is_empty(&app.workspace("alice").join("clone")));
}

#[tokio::test]
async fn a_session_begins_with_the_files_of_a_template() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/main.py"), "print()\n").unwrap();
    let app = AppBuilder::fake()
        .with(|settings| {
            let template = TemplateSettings {
                path: folder.path().to_owned(),
                description: "A package".to_owned(),
            };
            settings
                .workspaces
                .templates
                .insert("python".to_owned(), template);
            settings.limits.workspace_copy_max_entries = 2;
        })
        .start();
    let client = app.client();
    let listed = client.get("/api/v1/templates").await.expect(200).body;
    assert_eq!(
        listed["data"],
        json!([{"name": "python", "description": "A package"}])
    );
    let body = |name: &str, subdir: &str| json!({"user_id": "alice", "template": name, "subdir": subdir});
    client
        .post("/api/v1/sessions", &body("never", "a"))
        .await
        .problem(404, "template_not_found");
    client
        .post("/api/v1/sessions", &body("python", "a"))
        .await
        .expect(201);
    let main = app.workspace("alice").join("a/src/main.py");
    assert_eq!(std::fs::read_to_string(main).unwrap(), "print()\n");
    client
        .post("/api/v1/sessions", &body("python", "a"))
        .await
        .problem(409, "workspace_not_empty");
    std::fs::write(folder.path().join("more"), "x").unwrap();
    client
        .post("/api/v1/sessions", &body("python", "b"))
        .await
        .problem(409, "workspace_too_large");
    assert!(is_empty(&app.workspace("alice").join("b")));
}
