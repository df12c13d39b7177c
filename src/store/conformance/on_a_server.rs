//! What only a store on a server can do, or suffer.

use super::*;
use crate::store::PlatformStore;
use crate::store::contract::RestoreStore as _;

fn database_of(options: &PostgresOptions) -> String {
    use secrecy::ExposeSecret as _;
    let PostgresTarget::Url(url) = &options.target else {
        unreachable!("tests name databases by URL")
    };
    url.expose_secret().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_instances_that_start_at_once_migrate_once() {
    let options = new_database();
    let openings = (0..10).map(|_| {
        let options = options.clone();
        async move { PostgresStore::open(options).await }
    });
    let stores = futures_util::future::join_all(openings).await;
    for store in stores {
        let store = store.unwrap();
        assert!(store.is_empty().await.unwrap());
        store.close().await;
    }
    assert_eq!(PostgresStore::pending_migrations(&options).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_that_open_a_file_at_once_migrate_once() {
    let folder = tempfile::tempdir().unwrap();
    let openings = (0..10).map(|_| {
        let options = sqlite_options(&folder);
        async move { SqliteStore::open(options).await }
    });
    for store in futures_util::future::join_all(openings).await {
        store.unwrap().close().await;
    }
}

#[tokio::test]
async fn what_is_pending_is_told_without_being_done() {
    let folder = tempfile::tempdir().unwrap();
    let file = sqlite_options(&folder);
    let names = |pending: Vec<crate::store::sql::migrate::PendingMigration>| {
        pending
            .into_iter()
            .map(|migration| (migration.version, migration.description))
            .collect::<Vec<_>>()
    };
    let all = [
        (1, "sessions"),
        (2, "stores"),
        (3, "queued turns"),
        (4, "model credentials"),
        (5, "tenants and audit"),
        (6, "ledger and budgets"),
        (7, "policies and rates"),
        (8, "log bounds"),
        (9, "webhooks"),
        (10, "instances"),
        (11, "turns that go on"),
        (12, "shares"),
    ]
    .map(|(version, description)| (version, description.to_owned()));
    assert_eq!(names(SqliteStore::pending_migrations(&file).await.unwrap()), all);
    assert!(!file.path.exists());
    assert_eq!(names(SqliteStore::migrate(&file).await.unwrap()), all);
    assert_eq!(SqliteStore::pending_migrations(&file).await.unwrap(), []);

    let server = new_database();
    assert_eq!(
        names(PostgresStore::pending_migrations(&server).await.unwrap()),
        all
    );
    assert_eq!(
        names(PostgresStore::pending_migrations(&server).await.unwrap()),
        all
    );
    assert_eq!(names(PostgresStore::migrate(&server).await.unwrap()), all);
    assert_eq!(PostgresStore::pending_migrations(&server).await.unwrap(), []);
}

#[tokio::test]
async fn a_missing_database_is_made_only_if_that_is_allowed() {
    let options = PostgresOptions {
        create_database: false,
        ..new_database()
    };
    let refused = PostgresStore::open(options.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::NoDatabase(name) if *name == database_of(&options)),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("pg_create_database"));
    let odd = postgres_options(cluster().url("odd%20%22name%22"));
    PostgresStore::open(odd).await.unwrap().close().await;
}

#[tokio::test]
async fn a_database_of_a_later_version_or_another_build_is_refused_with_a_sentence() {
    let options = new_database();
    let store = PostgresStore::open(options.clone()).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, '\\x00', 0)",
    )
    .execute(store.pool_for_tests())
    .await
    .unwrap();
    for refused in [
        PostgresStore::open(options.clone()).await.unwrap_err(),
        PostgresStore::pending_migrations(&options).await.unwrap_err(),
    ] {
        assert!(
            matches!(refused, StoreError::TooNew { version: 9999 }),
            "{refused:?}"
        );
    }
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 9999")
        .execute(store.pool_for_tests())
        .await
        .unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1")
        .execute(store.pool_for_tests())
        .await
        .unwrap();
    for refused in [
        PostgresStore::open(options.clone()).await.unwrap_err(),
        PostgresStore::pending_migrations(&options).await.unwrap_err(),
    ] {
        assert!(
            matches!(refused, StoreError::Foreign { version: 1 }),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_lets_nobody_in_is_told_by_name() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let options = PostgresOptions {
        patience: Duration::from_millis(500),
        ..postgres_options(format!("postgres://postgres@{nobody}/x"))
    };
    let refused = PostgresStore::open(options).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    // One that takes connections and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = PostgresOptions {
        patience: Duration::from_millis(500),
        ..postgres_options(format!("postgres://postgres@{}/x", mute.local_addr().unwrap()))
    };
    let refused = PostgresStore::open(options).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    let url = cluster().url("postgres").replace("postgres@", "nobody@");
    let refused = PostgresStore::open(postgres_options(url)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
    let encrypted = PostgresOptions {
        tls: Some(sqlx::postgres::PgSslMode::Require),
        ..new_database()
    };
    let refused = PostgresStore::open(encrypted).await.unwrap_err();
    assert!(
        format!("{refused:?}").contains("TLS"),
        "this server has no TLS, and none is done without: {refused:?}"
    );
}

#[tokio::test]
async fn its_parts_are_as_good_as_its_url() {
    let options = PostgresOptions {
        target: PostgresTarget::Parts {
            host: "127.0.0.1".into(),
            port: cluster().port(),
            database: cluster().new_name(),
            user: "postgres".into(),
            password: Some("ignored by a server that trusts".to_owned().into()),
        },
        ..new_database()
    };
    let store = PostgresStore::open(options).await.unwrap();
    store.ping().await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_for_a_server_that_comes_back_and_none_is_done_twice() {
    let mut own = Cluster::start().unwrap();
    let options = PostgresOptions {
        patience: Duration::from_secs(30),
        ..postgres_options(own.url("test"))
    };
    let fixture = fixture(Arc::new(PostgresStore::open(options).await.unwrap()), None).await;
    let (session, epoch) = fixture.owned_session().await;
    let (store, tenant) = (Arc::clone(&fixture.store), fixture.tenant);
    let (written, mut count) = tokio::sync::watch::channel(0);
    let tasks = crate::lifecycle::Tasks::on(tokio::runtime::Handle::current());
    let writer = tasks.spawn(async move {
        for sequence in 1..=300 {
            let events = [event(epoch, sequence, said("x"))];
            store
                .append_events(tenant, session.id, epoch, &events)
                .await
                .unwrap();
            written.send_replace(sequence);
        }
    });
    for border in [50, 150] {
        count.wait_for(|written| *written >= border).await.unwrap();
        own.crash().unwrap();
        own.start_again().unwrap();
    }
    writer.await.unwrap();
    let sequences: Vec<_> = fixture
        .all_events(session.id)
        .await
        .iter()
        .map(|event| event.id.sequence())
        .collect();
    assert_eq!(sequences, (1..=300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stays_away_is_told_by_name_and_forgotten_when_it_is_back() {
    let mut own = Cluster::start().unwrap();
    let options = PostgresOptions {
        patience: Duration::from_millis(300),
        ..postgres_options(own.url("test"))
    };
    let fixture = fixture(Arc::new(PostgresStore::open(options).await.unwrap()), None).await;
    let (session, epoch) = fixture.owned_session().await;
    own.stop().unwrap();
    let append = async |sequence| {
        let events = [event(epoch, sequence, said("x"))];
        fixture
            .store
            .append_events(fixture.tenant, session.id, epoch, &events)
            .await
    };
    for refused in [
        append(1).await.unwrap_err(),
        fixture.store.ping().await.unwrap_err(),
        fixture
            .store
            .find_session(fixture.tenant, session.id)
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    }
    own.start_again().unwrap();
    append(2).await.unwrap();
    assert_eq!(fixture.all_events(session.id).await.len(), 1);
}

#[tokio::test]
async fn a_server_that_takes_too_long_or_may_not_write_is_told_by_name() {
    let options = PostgresOptions {
        statement_timeout: Duration::from_millis(200),
        patience: Duration::from_millis(300),
        ..new_database()
    };
    let database = database_of(&options);
    let fixture = fixture(Arc::new(PostgresStore::open(options).await.unwrap()), None).await;
    let (session, epoch) = fixture.owned_session().await;
    let admin = sqlx::postgres::PgPool::connect(&cluster().url("postgres"))
        .await
        .unwrap();
    let holder = sqlx::postgres::PgPool::connect(&cluster().url(&database))
        .await
        .unwrap();
    let append = async |sequence| {
        let events = [event(epoch, sequence, said("x"))];
        fixture
            .store
            .append_events(fixture.tenant, session.id, epoch, &events)
            .await
    };
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT * FROM sessions FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let refused = append(1).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    held.rollback().await.unwrap();
    append(1).await.unwrap();

    let tell = async |setting: &str| {
        for statement in [
            format!("ALTER DATABASE {database} {setting}"),
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .execute(&admin)
                .await
                .unwrap();
        }
    };
    tell("SET default_transaction_read_only = on").await;
    let refused = append(2).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly(_)), "{refused:?}");
    let refused = PostgresStore::open(postgres_options(cluster().url(&database)))
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly(_)), "{refused:?}");
    tell("RESET default_transaction_read_only").await;
    append(3).await.unwrap();
}

#[tokio::test]
async fn an_encrypted_server_is_trusted_as_far_as_the_settings_say() {
    use sqlx::postgres::PgSslMode;
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let cluster = Cluster::start_with_tls(&certificate, &key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("root.pem");
    std::fs::write(&trusted, certificate).unwrap();
    let open = async |tls: PgSslMode, host: &str, root: Option<&std::path::Path>| {
        let url = cluster.url("test").replace("127.0.0.1", host);
        let options = PostgresOptions {
            tls: Some(tls),
            root_certificate: root.map(ToOwned::to_owned),
            patience: Duration::from_secs(2),
            ..postgres_options(url)
        };
        let store = PostgresStore::open(options).await?;
        let (encrypted,): (bool,) =
            sqlx::query_as("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                .fetch_one(store.pool_for_tests())
                .await
                .unwrap();
        store.close().await;
        Ok::<_, StoreError>(encrypted)
    };
    assert!(!open(PgSslMode::Disable, "127.0.0.1", None).await.unwrap());
    for mode in [PgSslMode::Prefer, PgSslMode::Require] {
        assert!(open(mode, "127.0.0.1", None).await.unwrap(), "{mode:?}");
    }
    assert!(
        open(PgSslMode::VerifyFull, "localhost", Some(&trusted))
            .await
            .unwrap()
    );
    assert!(
        open(PgSslMode::VerifyCa, "127.0.0.1", Some(&trusted))
            .await
            .unwrap()
    );
    for (mode, host, root) in [
        (PgSslMode::VerifyCa, "localhost", None),
        (PgSslMode::VerifyFull, "localhost", None),
        (PgSslMode::VerifyFull, "127.0.0.1", Some(trusted.as_path())),
    ] {
        let refused = open(mode, host, root).await.unwrap_err();
        assert!(
            format!("{refused:?}").contains("ertificate"),
            "{mode:?} {host}: {refused:?}"
        );
    }
}
