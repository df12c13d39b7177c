//! Several instances on one PostgreSQL: any of them serves any request, and one that is lost is made up for.

mod any_door;
mod conversations;
mod lost;
mod resumed;
mod rounds;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use paddock::settings::Settings;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::Value;

use crate::support::{AppBuilder, Client, Served, Stream, TestApp, cluster, paddock};

/// Two instances that share a database and a folder of workspaces.
fn two(builder: fn() -> AppBuilder) -> [TestApp; 2] {
    two_with(builder, |_| {})
}

fn two_with(builder: fn() -> AppBuilder, change: impl Fn(&mut Settings)) -> [TestApp; 2] {
    let url = cluster().url(&cluster().new_name());
    let shared = tempfile::Builder::new()
        .prefix("paddock-shared-")
        .tempdir()
        .unwrap();
    std::fs::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let shared = Arc::new(shared);
    [(); 2].map(|()| {
        builder()
            .on_database(&url)
            .with(|settings| settings.user.base_dir = shared.path().join("workspaces"))
            .with(&change)
            .keeping(&shared)
            .start()
    })
}

async fn live_agents(app: &TestApp) -> u64 {
    let health = app.client().get("/health").await;
    health.body["live_agents"].as_u64().unwrap()
}

/// Follows a session's events from this cursor on.
async fn follow(client: &Client, session: &str, after: u64) -> Stream {
    let path = format!("/api/v1/sessions/{session}/events?after={after}");
    let response = client
        .request(Method::GET, &path)
        .header(ACCEPT, "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    Stream::of(response)
}

fn ids(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["id"].as_u64().unwrap()).collect()
}

async fn status_of(client: &Client, session: &str, turn: &str) -> String {
    let path = format!("/api/v1/sessions/{session}/turns/{turn}");
    client.get(&path).await.expect(200).text("status")
}

/// What instances share that are processes of their own: a database, and a folder of workspaces.
struct Nodes {
    url: String,
    shared: tempfile::TempDir,
}

/// An instance that is a process of its own.
type Node = Served;

impl Nodes {
    fn new() -> Self {
        Self::on(cluster().url(&cluster().new_name()))
    }

    fn on(url: String) -> Self {
        let shared = tempfile::Builder::new()
            .prefix("paddock-shared-")
            .tempdir()
            .unwrap();
        std::fs::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        Self { url, shared }
    }

    fn start(&self, name: &str) -> Node {
        self.start_with(name, &[])
    }

    fn start_with(&self, name: &str, environment: &[(&str, &str)]) -> Node {
        let folder = tempfile::Builder::new()
            .prefix("paddock-node-")
            .tempdir()
            .unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let mut command = paddock(folder.path());
        command
            .arg("serve")
            .env("PADDOCK__SESSION__STORAGE", "postgresql")
            .env("PADDOCK__SESSION__DATABASE_URL", &self.url)
            .env("PADDOCK__USER__BASE_DIR", self.shared.path().join("workspaces"))
            .env("PADDOCK__INSTANCE__ID", name)
            .env("PADDOCK__AGENT__HOMES_DIR", folder.path().join("homes"))
            .env("PADDOCK__ISOLATION__LEVEL", "landlock")
            // Half of what is usual: a loaded machine is slow, and what is usual is measured in `benches/instances.rs`.
            .env("PADDOCK__INSTANCE__LEASE_TTL", "4s")
            .env("PADDOCK__INSTANCE__HEARTBEAT_INTERVAL", "1s")
            .envs(environment.iter().copied());
        Served::of(command, folder)
    }
}
