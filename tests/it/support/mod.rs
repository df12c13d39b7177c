//! A server to be tested, and clients that hold every answer against the OpenAPI document.

mod client;
mod contract;
mod http;
mod served;
mod socket;
mod sse;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use paddock::settings::{IsolationLevel, KeySettings, Settings, StorageKind};
use paddock::startup::{Application, Stopper};
use private_postgres::Cluster;
use serde_json::Value;

pub(crate) use client::{Answer, Client, read};
pub(crate) use contract::document;
pub(crate) use http::read_request;
pub(crate) use served::{Served, paddock};
pub(crate) use socket::{Socket, turn_over, user_message};
pub(crate) use sse::{Frame, Stream, joined};

/// Longer than anything a test waits for takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A server that is not started yet.
pub(crate) struct AppBuilder {
    settings: Settings,
    folder: Arc<tempfile::TempDir>,
    kept: Option<Arc<tempfile::TempDir>>,
}

/// A running server. Dropping it ends it, and fails if it left a process behind.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) folder: Arc<tempfile::TempDir>,
    /// Those of dialects that have a port of their own.
    pub(crate) dialects: Vec<(String, SocketAddr)>,
    pub(crate) stopper: Stopper,
    pub(crate) model_url: Option<String>,
    thread: Option<JoinHandle<()>>,
    /// After the server has ended.
    _kept: Option<Arc<tempfile::TempDir>>,
}

/// The real CLI's path.
pub(crate) fn real_cli() -> PathBuf {
    std::env::var_os("PADDOCK_CLI_PATH")
        .expect(
            "set PADDOCK_CLI_PATH to the CLI's binary (`make test` does; `scripts/install-cli.sh` prints it)",
        )
        .into()
}

impl AppBuilder {
    /// With the real CLI on the scripted model.
    pub(crate) fn real() -> Self {
        let mut builder = Self::fake();
        builder.settings.agent.cli_path = real_cli();
        builder.settings.isolation.level = IsolationLevel::Best;
        builder
    }

    /// With the stand-in for the CLI.
    pub(crate) fn fake() -> Self {
        let folder = Arc::new(tempfile::Builder::new().prefix("paddock-it-").tempdir().unwrap());
        // Agents of a server that is root run under users of their own, who have to pass.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let mut settings = Settings::default();
        settings.api.port = 0;
        settings.api.workers = 1;
        // A loaded machine is slow; what is not tested here must not end a test.
        settings.api.head_timeout = PATIENCE;
        settings.api.body_timeout = PATIENCE;
        settings.user.base_dir = folder.path().join("workspaces");
        settings.session.sqlite_path = folder.path().join("paddock.db");
        settings.agent.homes_dir = folder.path().join("homes");
        settings.agent.cli_path = env!("CARGO_BIN_EXE_fake-claude").into();
        settings.agent.guardian_path = Some(env!("CARGO_BIN_EXE_paddock").into());
        settings.agent.stop_grace = Duration::from_millis(500);
        settings.model.scripted = true;
        // Tests look at the processes that the stand-in starts, by the numbers that it tells.
        settings.isolation.level = IsolationLevel::Landlock;
        if !is_open_to_all(Path::new(env!("CARGO_BIN_EXE_fake-claude"))) {
            // Other users have no way to what was built here, as where a clone lies in a private folder.
            settings.isolation.first_uid = None;
        }
        Self {
            settings,
            folder,
            kept: None,
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// In the folder of another one, which has ended: as after a restart.
    pub(crate) fn in_folder_of(mut self, folder: &Arc<tempfile::TempDir>) -> Self {
        self.folder = Arc::clone(folder);
        self.settings.user.base_dir = folder.path().join("workspaces");
        self.settings.session.sqlite_path = folder.path().join("paddock.db");
        self.settings.agent.homes_dir = folder.path().join("homes");
        self
    }

    /// Keeps a folder for as long as the server runs.
    pub(crate) fn keeping(mut self, folder: &Arc<tempfile::TempDir>) -> Self {
        self.kept = Some(Arc::clone(folder));
        self
    }

    /// On a new database of the tests' cluster.
    pub(crate) fn in_postgres(self) -> Self {
        let url = cluster().url(&cluster().new_name());
        self.on_database(&url)
    }

    /// The URL of its database, if it is on a server.
    pub(crate) fn database_url(&self) -> Option<String> {
        use secrecy::ExposeSecret as _;
        let url = self.settings.session.database_url.as_ref();
        url.map(|url| url.expose_secret().to_owned())
    }

    /// On the database of this URL.
    pub(crate) fn on_database(self, url: &str) -> Self {
        self.with(|settings| {
            settings.session.storage = StorageKind::Postgresql;
            settings.session.database_url = Some(url.to_owned().into());
        })
    }

    pub(crate) fn in_memory(self) -> Self {
        self.with(|settings| settings.session.storage = StorageKind::Memory)
    }

    /// With these keys: name (also the key, padded), role, tenant, user.
    pub(crate) fn with_keys(self, keys: &[(&str, &str, &str, Option<&str>)]) -> Self {
        let keys = keys
            .iter()
            .map(|(name, role, tenant, user)| KeySettings {
                name: (*name).to_owned(),
                key: Some(key(name).into()),
                key_sha256: None,
                tenant: (*tenant).to_owned(),
                role: role.parse().unwrap(),
                user_id: user.map(ToOwned::to_owned),
            })
            .collect();
        self.with(|settings| settings.auth.keys = keys)
    }

    pub(crate) fn start(self) -> TestApp {
        assert_eq!(self.settings.problems(), [] as [&str; 0]);
        let (started, is_started) = mpsc::channel();
        let settings = self.settings;
        // A runtime of its own, as a process has.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let application = Box::pin(Application::build(settings)).await.unwrap();
                let model_url = application
                    .scripted_model()
                    .map(scripted_model::ScriptedModel::base_url);
                let dialects = application.dialect_addresses().iter();
                let dialects = dialects
                    .map(|(dialect, address)| (dialect.to_string(), *address))
                    .collect();
                started
                    .send((application.address(), dialects, application.stopper(), model_url))
                    .unwrap();
                application.run_until_stopped().await.unwrap();
            });
        });
        let (address, dialects, stopper, model_url) =
            is_started.recv_timeout(PATIENCE).expect("the server starts");
        TestApp {
            address,
            dialects,
            folder: self.folder,
            stopper,
            model_url,
            thread: Some(thread),
            _kept: self.kept,
        }
    }
}

/// Whether all users may pass to a file.
pub(crate) fn is_open_to_all(path: &Path) -> bool {
    let passes = |folder: &Path| std::fs::metadata(folder).unwrap().permissions().mode() & 0o001 != 0;
    path.ancestors().skip(1).all(passes)
}

/// The PostgreSQL cluster that the tests of this process share. Its keeper ends it with the process.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap())
}

/// The key that goes by this name in tests.
pub(crate) fn key(name: &str) -> String {
    format!("{name}-key-for-tests-only")
}

impl TestApp {
    /// A client without a credential.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address, None)
    }

    /// A client of a dialect that has a port of its own, with the key of this name if one is named.
    pub(crate) fn client_of(&self, dialect: &str, name: Option<&str>) -> Client {
        let mut all = self.dialects.iter();
        let (_, address) = all.find(|(other, _)| other == dialect).unwrap();
        Client::new(*address, name.map(key))
    }

    /// A client with the key of this name.
    pub(crate) fn client_with(&self, name: &str) -> Client {
        Client::new(self.address, Some(key(name)))
    }

    pub(crate) fn workspace(&self, user: &str) -> PathBuf {
        self.folder.path().join("workspaces/default").join(user)
    }

    /// What the model was asked, oldest first.
    pub(crate) async fn model_requests(&self) -> Vec<Value> {
        let url = format!("{}/_scripted/requests", self.model_url.as_ref().unwrap());
        let client = self.client();
        client.http().get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Ends it in order, and waits for its end.
    pub(crate) fn stop(mut self) -> Arc<tempfile::TempDir> {
        self.end();
        Arc::clone(&self.folder)
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stopper.stop_within(Duration::ZERO);
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the server ends in order");
                let left = processes_of(self.folder.path());
                assert!(left.is_empty(), "the server left processes behind: {left:?}");
            }
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.end();
    }
}

/// The processes whose environment names the folder: the agents of a server in it, and what they started.
pub(crate) fn processes_of(folder: &Path) -> Vec<i32> {
    let name = folder.to_str().unwrap().as_bytes();
    let own = i32::try_from(std::process::id()).unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| environment.windows(name.len()).any(|window| window == name))
        })
        .collect()
}

/// Waits until `state` is so.
pub(crate) async fn until<T>(what: &str, mut state: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(reached) = state().await {
            return reached;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
