//! What the gateway adds to a request: the same one to the scripted model itself, and through a door, by turns.
//!
//! `cargo bench --bench gateway` prints the figures of `docs/PERFORMANCE.md`. Tried only (`--test`), it does each thing once.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark may panic, and prints"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use paddock::domain::{
    Clock, CredentialKind, SessionId, SystemClock, Tenant, TenantId, TenantLimits, TurnId,
};
use paddock::gateway::credential::{Credential, Credentials};
use paddock::gateway::meter::Account;
use paddock::gateway::{Gateway, GatewaySettings};
use paddock::lifecycle::Tasks;
use paddock::limits::prices::{PriceTable, UnknownModel};
use paddock::limits::rate::RateLimiter;
use paddock::limits::tenants::Tenants;
use paddock::limits::{KeyRates, Limits};
use paddock::security::sealing::SealingKeys;
use paddock::store::Store;
use paddock::store::memory::MemoryStore;
use paddock::store::sql::CommitOptions;
use paddock::store::sqlite::{SqliteOptions, SqliteStore};
use scripted_model::{Options, ScriptedModel};
use secrecy::ExposeSecret as _;
use serde_json::json;

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench")
        && !std::env::args().any(|argument| argument == "--test");
    let rounds = if measured { 3000 } else { 1 };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        through("memory", Arc::new(MemoryStore::new()), rounds).await;
        let folder = tempfile::tempdir().unwrap();
        let sqlite = SqliteStore::open(SqliteOptions {
            path: folder.path().join("paddock.db"),
            readers: 2,
            cache_bytes: 8 * 1024 * 1024,
            patience: Duration::from_secs(5),
            commit: CommitOptions {
                window: Duration::ZERO,
                group_max: 256,
                queue: 64,
            },
        });
        through("sqlite", Arc::new(sqlite.await.unwrap()), rounds).await;
    });
}

/// The same request straight to the model and through a gateway whose ledger is in this store.
async fn through(kind: &str, store: Arc<dyn Store>, rounds: usize) {
    let model = ScriptedModel::start(Options::default()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let credential = Credential {
        kind: CredentialKind::ApiKey,
        secret: "key".to_owned().into(),
    };
    let settings = GatewaySettings {
        upstream: model.base_url().parse().unwrap(),
        models: Vec::new(),
        prices: PriceTable::new(Vec::new(), UnknownModel::Free),
        budget_wait: Duration::from_secs(10),
        request_max_bytes: 1024 * 1024,
        request_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        silence_timeout: Duration::from_secs(10),
        connections_max: 8,
    };
    let credentials = Credentials::new(Some(credential), SealingKeys::default(), Arc::clone(&store));
    let tasks = Tasks::on(tokio::runtime::Handle::current());
    let tenant = TenantId::generate(&SystemClock);
    let known = Tenant::new(tenant, "acme".parse().unwrap(), SystemClock.now());
    store.ensure_tenant(&known).await.unwrap();
    let tenants = Arc::new(Tenants::new(Arc::clone(&store), Duration::from_secs(2)));
    let rates = RateLimiter::new(Arc::clone(&clock), None);
    let limits = Limits::new(tenants, rates, KeyRates::default(), TenantLimits::default());
    let gateway = Gateway::new(settings, credentials, Arc::new(limits), store, clock, tasks).unwrap();
    let session = (SessionId::generate(&SystemClock), "alice".parse().unwrap());
    let account = Account {
        tenant,
        session: Some(session),
    };
    let door = gateway.open_door(account).await.unwrap();
    door.meter().begin_turn(TurnId::generate(&SystemClock), None);
    // The client speaks no TLS, but wants to be able to.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = door.token().expose_secret().to_owned();
    for stream in [false, true] {
        let first_byte = async |base: &str| {
            let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "% say hi"}]});
            let request = http
                .post(format!("{base}/v1/messages"))
                .header("x-api-key", &token)
                .json(&body);
            let began = Instant::now();
            let mut response = request.send().await.unwrap();
            response.chunk().await.unwrap().unwrap();
            let took = began.elapsed();
            while response.chunk().await.unwrap().is_some() {}
            took
        };
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            direct.push(first_byte(&model.base_url()).await);
            through.push(first_byte(&door.base_url()).await);
        }
        direct.sort_unstable();
        through.sort_unstable();
        for (name, per_mille) in [("p50", 500), ("p99", 990)] {
            let at = |all: &[Duration]| all[(all.len() - 1) * per_mille / 1000];
            let (direct, through) = (at(&direct), at(&through));
            println!(
                "gateway, store {kind}, stream {stream}, first byte, {name}: {:.3} ms direct, {:.3} ms through it, {:.3} ms added",
                direct.as_secs_f64() * 1e3,
                through.as_secs_f64() * 1e3,
                (through.as_secs_f64() - direct.as_secs_f64()) * 1e3
            );
        }
    }
}
