//! Three instances behind nginx, on a database that they reach over links which can be cut.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use private_postgres::Cluster;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::chance::Chance;
use crate::support::{Client, PATIENCE, Served, paddock, processes_of, real_cli, until};

const INSTANCES: usize = 3;

/// What answers prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// `fake-claude`.
    StandIn,
    /// The real CLI, on the scripted model.
    RealCli,
}

/// What happens in a round.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Nothing,
    /// An instance is killed, and started again: soon, or when others have gone on.
    Kill {
        which: usize,
        soon: bool,
    },
    /// An instance is frozen for longer than it is waited for.
    Freeze {
        which: usize,
    },
    /// An instance is told to end, and started again.
    Restart {
        which: usize,
    },
    /// An instance is started again with a wrong clock.
    WrongClock {
        which: usize,
        minutes: i64,
    },
    /// An instance and the database no longer hear each other.
    CutOff {
        which: usize,
    },
    /// All connections to the database break.
    Disconnect,
    /// The database is restarted, in order or not.
    Database {
        in_order: bool,
    },
}

impl Fault {
    pub(super) fn pick(chance: &mut Chance, size: usize) -> Self {
        let which = chance.below(size);
        match chance.below(10) {
            0 => Self::Nothing,
            1 | 2 => Self::Kill {
                which,
                soon: chance.happens(50),
            },
            3 => Self::Freeze { which },
            4 | 5 => Self::Restart { which },
            6 => {
                let minutes = i64::try_from(chance.below(20)).unwrap() - 10;
                Self::WrongClock { which, minutes }
            }
            7 => Self::CutOff { which },
            8 => Self::Disconnect,
            _ => Self::Database {
                in_order: chance.happens(50),
            },
        }
    }
}

/// A way to the database that can be cut.
struct Link {
    port: u16,
    cut: watch::Sender<bool>,
}

impl Link {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let cut = watch::Sender::new(false);
        let told = cut.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    let mut open = told.clone();
                    if open.wait_for(|cut| !cut).await.is_err() {
                        return;
                    }
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let _nodelay = (near.set_nodelay(true), far.set_nodelay(true));
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::select! {
                        () = carry(near_in, far_out, told.clone()) => {}
                        () = carry(far_in, near_out, told) => {}
                    }
                });
            }
        });
        Self { port: own, cut }
    }
}

/// Carries bytes, and holds them while the link is cut.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

struct Instance {
    served: Option<Served>,
    port: u16,
    link: Link,
    folder: Arc<tempfile::TempDir>,
}

/// All of it.
pub(super) struct Place {
    database: Cluster,
    instances: Vec<Instance>,
    shared: tempfile::TempDir,
    nginx: (u16, tokio::process::Child, tempfile::TempDir),
    speaks: Speaks,
}

fn open_folder(prefix: &str) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

fn free_port() -> u16 {
    let spot = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    spot.local_addr().unwrap().port()
}

impl Place {
    pub(super) async fn open(speaks: Speaks) -> Self {
        let database = Cluster::start_durable().unwrap();
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            instances.push(Instance {
                served: None,
                port: free_port(),
                link: Link::to(database.port()).await,
                folder: Arc::new(open_folder("paddock-node-")),
            });
        }
        let ports: Vec<_> = instances.iter().map(|instance| instance.port).collect();
        let mut place = Self {
            nginx: nginx(&ports).await,
            database,
            instances,
            shared: open_folder("paddock-shared-"),
            speaks,
        };
        for which in 0..INSTANCES {
            place.start(which, 0);
        }
        place
    }

    pub(super) fn size(&self) -> usize {
        self.instances.len()
    }

    pub(super) fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// Where clients may knock: nginx, and each instance.
    pub(super) fn doors(&self) -> Vec<SocketAddr> {
        let own = self.instances.iter().map(|instance| instance.port);
        let ports = [self.nginx.0].into_iter().chain(own);
        ports.map(|port| ([127, 0, 0, 1], port).into()).collect()
    }

    fn start(&mut self, which: usize, clock_offset_minutes: i64) {
        let shared = self.shared.path().join("workspaces");
        let instance = &mut self.instances[which];
        let mut command = paddock(instance.folder.path());
        let url = format!("postgres://postgres@127.0.0.1:{}/rounds", instance.link.port);
        command
            .arg("serve")
            .env("PADDOCK__API__PORT", instance.port.to_string())
            .env("PADDOCK__API__WORKERS", "1")
            .env("PADDOCK__API__DRAIN_TIMEOUT", "5s")
            .env("PADDOCK__SESSION__STORAGE", "postgresql")
            .env("PADDOCK__SESSION__DATABASE_URL", url)
            .env("PADDOCK__SESSION__STORE_PATIENCE", "5s")
            .env("PADDOCK__SESSION__PG_STATEMENT_TIMEOUT", "3s")
            .env("PADDOCK__USER__BASE_DIR", shared)
            .env("PADDOCK__AGENT__HOMES_DIR", instance.folder.path().join("homes"))
            .env("PADDOCK__AGENT__STOP_GRACE", "500ms")
            .env("PADDOCK__AGENT__INTERRUPT_GRACE", "300ms")
            .env("PADDOCK__INSTANCE__ID", format!("instance-{which}"))
            .env("PADDOCK__INSTANCE__LEASE_TTL", "1500ms")
            .env("PADDOCK__INSTANCE__HEARTBEAT_INTERVAL", "300ms")
            .env("PADDOCK__INSTANCE__PEER_TIMEOUT", "1s")
            .env("PADDOCK__INSTANCE__HANDOVER_TIMEOUT", "500ms")
            .env(
                "PADDOCK__INSTANCE__CLOCK_OFFSET_SECONDS",
                (clock_offset_minutes * 60).to_string(),
            )
            .env(
                "PADDOCK__TELEMETRY__LOG_FILTER",
                std::env::var("PADDOCK_ROUNDS_LOG").unwrap_or_else(|_| "error".to_owned()),
            );
        if self.speaks == Speaks::RealCli {
            command
                .env("PADDOCK__AGENT__CLI_PATH", real_cli())
                .env("PADDOCK__ISOLATION__LEVEL", "best");
        } else {
            command.env("PADDOCK__ISOLATION__LEVEL", "landlock");
        }
        instance.served = Some(Served::of(command, Arc::clone(&instance.folder)));
    }

    fn served(&self, which: usize) -> &Served {
        self.instances[which].served.as_ref().unwrap()
    }

    /// Ends an instance, and waits for its end: it has its port no more.
    async fn end(&mut self, which: usize, signal: Signal) {
        self.served(which).signal(signal);
        let served = self.instances[which].served.take().unwrap();
        tokio::task::spawn_blocking(move || served.ended()).await.unwrap();
    }

    /// Has a fault happen in the middle of the work.
    pub(super) async fn suffer(&mut self, fault: Fault, chance: &mut Chance) {
        sleep(chance.time(200, 900)).await;
        match fault {
            Fault::Nothing => {}
            Fault::Kill { which, soon } => {
                self.end(which, Signal::KILL).await;
                sleep(if soon {
                    chance.time(10, 300)
                } else {
                    Duration::from_millis(2500)
                })
                .await;
                self.start(which, 0);
            }
            Fault::Freeze { which } => {
                self.served(which).signal(Signal::STOP);
                sleep(chance.time(500, 3000)).await;
                self.served(which).signal(Signal::CONT);
            }
            Fault::Restart { which } => {
                self.end(which, Signal::TERM).await;
                self.start(which, 0);
            }
            Fault::WrongClock { which, minutes } => {
                self.end(which, Signal::TERM).await;
                self.start(which, minutes);
            }
            Fault::CutOff { which } => {
                self.instances[which].link.cut.send_replace(true);
                sleep(chance.time(500, 4000)).await;
                self.instances[which].link.cut.send_replace(false);
            }
            Fault::Disconnect => {
                let url = self.database.url("rounds");
                let pool = sqlx::PgPool::connect(&url).await.unwrap();
                sqlx::query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = 'rounds' AND pid <> pg_backend_pid()",
                )
                .execute(&pool)
                .await
                .unwrap();
                pool.close().await;
            }
            Fault::Database { in_order } => {
                if in_order {
                    self.database.stop().unwrap();
                } else {
                    self.database.crash().unwrap();
                }
                sleep(chance.time(10, 500)).await;
                self.database.start_again().unwrap();
            }
        }
    }

    /// Waits until all instances serve again; one that ended by itself is started again, as whoever runs it would.
    pub(super) async fn heal(&mut self) {
        for which in 0..self.instances.len() {
            let client = Client::new(([127, 0, 0, 1], self.instances[which].port).into(), None);
            let started = std::time::Instant::now();
            loop {
                let ready = client.request(reqwest::Method::GET, "/health/ready");
                let answer = ready.timeout(Duration::from_secs(2)).send().await;
                if answer.is_ok_and(|answer| answer.status() == 200) {
                    break;
                }
                assert!(
                    started.elapsed() < PATIENCE,
                    "instance {which} does not serve again"
                );
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Ends all in order; nothing may be left.
    pub(super) async fn close(mut self) {
        for which in 0..self.instances.len() {
            self.end(which, Signal::TERM).await;
        }
        for instance in &self.instances {
            until("no process is left", async || {
                processes_of(instance.folder.path()).is_empty().then_some(())
            })
            .await;
        }
        self.nginx.1.kill().await.unwrap();
    }
}

/// nginx before the instances: a session's requests go to the same one while it is there.
async fn nginx(ports: &[u16]) -> (u16, tokio::process::Child, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let at = folder.path().display();
    let servers: Vec<_> = ports
        .iter()
        .map(|port| format!("server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;"))
        .collect();
    // The very file that is shipped, but for where everybody is.
    let shipped = include_str!("../../../../docker/nginx.conf");
    let elsewhere = |line: &&str| !line.trim_start().starts_with("server paddock-");
    let config: String = shipped
        .lines()
        .filter(elsewhere)
        .map(|line| match line.trim() {
            "worker_processes auto;" => {
                format!("daemon off; pid {at}/pid; error_log stderr crit; worker_processes 1;\n")
            }
            "http {" => format!(
                "http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
                 fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n"
            ),
            "hash $session consistent;" => format!("{line}\n{}\n", servers.concat()),
            "listen 8000;" => format!("listen 127.0.0.1:{port};\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let process = tokio::process::Command::new("nginx")
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
    (port, process, folder)
}
