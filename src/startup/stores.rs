//! Opens the store that the settings name, migrates it, and tells what it lacks.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgSslMode;

use super::StartupError;
use crate::settings::{PgTls, Settings, StorageKind};
use crate::store::memory::MemoryStore;
use crate::store::postgres::{PostgresOptions, PostgresStore, PostgresTarget};
use crate::store::sql::CommitOptions;
use crate::store::sql::instances::Instances;
use crate::store::sql::migrate::PendingMigration;
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{Store, StoreError};

/// Opens the store, brought to this version's schema.
pub async fn open(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match settings.session.storage {
        StorageKind::Memory => Arc::new(MemoryStore::new()),
        StorageKind::Sqlite => Arc::new(SqliteStore::open(sqlite_options(settings)).await?),
        StorageKind::Postgresql => Arc::new(PostgresStore::open(postgres_options(settings)).await?),
    })
}

/// The same; and the instances that share it, where several can.
pub async fn open_shared(settings: &Settings) -> Result<(Arc<dyn Store>, Option<Instances>), StoreError> {
    if settings.session.storage == StorageKind::Postgresql {
        let store = PostgresStore::open(postgres_options(settings)).await?;
        let instances = store.instances();
        return Ok((Arc::new(store), Some(instances)));
    }
    Ok((open(settings).await?, None))
}

/// Brings the store to this version's schema, and tells what it lacked.
pub async fn migrate(settings: &Settings) -> Result<Vec<PendingMigration>, StoreError> {
    match settings.session.storage {
        StorageKind::Memory => Ok(Vec::new()),
        StorageKind::Sqlite => SqliteStore::migrate(&sqlite_options(settings)).await,
        StorageKind::Postgresql => PostgresStore::migrate(&postgres_options(settings)).await,
    }
}

/// Tells what the store lacks of this version's schema. Writes nothing.
pub async fn pending_migrations(settings: &Settings) -> Result<Vec<PendingMigration>, StoreError> {
    match settings.session.storage {
        StorageKind::Memory => Ok(Vec::new()),
        StorageKind::Sqlite => SqliteStore::pending_migrations(&sqlite_options(settings)).await,
        StorageKind::Postgresql => PostgresStore::pending_migrations(&postgres_options(settings)).await,
    }
}

/// What time it is by the database's clock; `None` where the store has none of its own.
pub(super) async fn server_time(settings: &Settings) -> Option<Result<DateTime<Utc>, StoreError>> {
    match settings.session.storage {
        StorageKind::Memory | StorageKind::Sqlite => None,
        StorageKind::Postgresql => Some(PostgresStore::server_time(&postgres_options(settings)).await),
    }
}

fn sqlite_options(settings: &Settings) -> SqliteOptions {
    SqliteOptions {
        path: settings.session.sqlite_path.clone(),
        readers: settings.session.sqlite_readers,
        cache_bytes: settings.session.sqlite_cache_bytes,
        patience: settings.session.store_patience,
        commit: commit_options(settings),
    }
}

fn postgres_options(settings: &Settings) -> PostgresOptions {
    let session = &settings.session;
    let target = match &session.database_url {
        Some(url) => PostgresTarget::Url(url.clone()),
        None => PostgresTarget::Parts {
            host: session.pg_host.clone(),
            port: session.pg_port,
            database: session.pg_database.clone(),
            user: session.pg_user.clone(),
            password: session.pg_password.clone(),
        },
    };
    PostgresOptions {
        target,
        tls: session.pg_tls.map(|tls| match tls {
            PgTls::Disable => PgSslMode::Disable,
            PgTls::Allow => PgSslMode::Allow,
            PgTls::Prefer => PgSslMode::Prefer,
            PgTls::Require => PgSslMode::Require,
            PgTls::VerifyCa => PgSslMode::VerifyCa,
            PgTls::VerifyFull => PgSslMode::VerifyFull,
        }),
        root_certificate: session.pg_root_certificate.clone(),
        connections: session.pg_connections,
        writers: session.pg_writers,
        patience: session.store_patience,
        statement_timeout: session.pg_statement_timeout,
        create_database: session.pg_create_database,
        commit: commit_options(settings),
    }
}

fn commit_options(settings: &Settings) -> CommitOptions {
    CommitOptions {
        window: settings.events.commit_window,
        group_max: settings.events.commit_group_max,
        queue: settings.events.commit_queue,
    }
}

/// A secret that all servers on a store share, and have after a restart.
pub(super) async fn shared_secret(store: &dyn Store, name: &str) -> Result<[u8; 32], StartupError> {
    let mut new = [0; 32];
    getrandom::fill(&mut new).map_err(StartupError::Random)?;
    Ok(store.ensure_secret(name, new).await?)
}
