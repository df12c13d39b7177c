//! PostgreSQL clusters of a test's own: made from the machine's binaries in a temporary folder, on a port of their own,
//! and gone with the process that made them, however that ends.
//!
//! A shell stands between: it starts the server, obeys a few words on its input, and when its input ends it stops the
//! server and removes the folder. PostgreSQL refuses to run as root; there, it runs as the user `postgres`, whom
//! Debian's package brings.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const START_PATIENCE: Duration = Duration::from_mins(1);

const KEEPER: &str = r#"
bin=$1 folder=$2 port=$3 durable=$4 ssl=$5
start() {
    "$bin/postgres" -D "$folder" -k "$folder" -p "$port" -c listen_addresses=127.0.0.1 -c fsync="$durable" \
        -c full_page_writes="$durable" -c ssl="$ssl" -c max_connections=200 -c shared_buffers=128MB \
        >>"$folder/server.log" 2>&1 &
    server=$!
}
end() { kill -"$1" "$server" 2>/dev/null; wait "$server"; }
start
echo started
while read -r word; do
    case $word in
        start) start ;;
        stop) end INT ;;
        crash) end QUIT ;;
    esac
    echo "$word"
done
end INT
rm -rf "$folder"
"#;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// PostgreSQL's server is not installed.
    #[error("no PostgreSQL server was found; `make test-tools` installs one")]
    NotInstalled,
    /// A program did not run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program failed.
    #[error("{program} failed: {told}")]
    Failed {
        /// The program.
        program: String,
        /// What it said.
        told: String,
    },
    /// The server did not start in time.
    #[error("the server did not start: {0}")]
    NotReady(String),
    /// The keeper is gone.
    #[error("the cluster's keeper does not answer")]
    Keeper(#[from] std::io::Error),
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    keeper: Child,
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    databases: AtomicU64,
}

impl Cluster {
    /// A cluster that does not wait for the disk: whoever pulls the plug loses it.
    pub fn start() -> Result<Self, ClusterError> {
        Self::start_with("off", None)
    }

    /// A cluster as it is run for earnest, for measuring.
    pub fn start_durable() -> Result<Self, ClusterError> {
        Self::start_with("on", None)
    }

    /// A cluster that encrypts its connections with this certificate and key, both in PEM.
    pub fn start_with_tls(certificate: &str, key: &str) -> Result<Self, ClusterError> {
        Self::start_with("off", Some((certificate, key)))
    }

    fn start_with(durable: &str, tls: Option<(&str, &str)>) -> Result<Self, ClusterError> {
        static CLUSTERS: AtomicU64 = AtomicU64::new(0);
        let bin = find_binaries().ok_or(ClusterError::NotInstalled)?;
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("private-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        run(as_server_user(&bin.join("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ])
            .arg(&folder))?;
        if let Some((certificate, key)) = tls {
            write_as_server_user(&folder.join("server.crt"), certificate)?;
            write_as_server_user(&folder.join("server.key"), key)?;
        }
        // A free one now; nobody else asks for it in the moment until the server has it.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut keeper = as_server_user(Path::new("sh"))
            .args(["-c", KEEPER, "keeper"])
            .arg(&bin)
            .arg(&folder)
            .arg(port.to_string())
            .arg(durable)
            .arg(if tls.is_some() { "on" } else { "off" })
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| ClusterError::Run {
                program: "sh".to_owned(),
                source,
            })?;
        let (Some(words), Some(answers)) = (keeper.stdin.take(), keeper.stdout.take()) else {
            return Err(ClusterError::NotReady("it has no pipes".to_owned()));
        };
        let mut cluster = Self {
            bin,
            folder,
            port,
            keeper,
            words: Some(words),
            answers: BufReader::new(answers),
            databases: AtomicU64::new(0),
        };
        cluster.answer()?;
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// The URL of one of its databases, which need not exist.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A name that no database of it has.
    #[must_use]
    pub fn new_name(&self) -> String {
        format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends the server in order.
    pub fn stop(&mut self) -> Result<(), ClusterError> {
        self.say("stop")
    }

    /// Ends the server as if the plug were pulled.
    pub fn crash(&mut self) -> Result<(), ClusterError> {
        self.say("crash")
    }

    /// Starts the server that was ended.
    pub fn start_again(&mut self) -> Result<(), ClusterError> {
        self.say("start")?;
        self.wait_until_ready()
    }

    fn say(&mut self, word: &str) -> Result<(), ClusterError> {
        if let Some(words) = &mut self.words {
            writeln!(words, "{word}")?;
            words.flush()?;
        }
        self.answer()
    }

    fn answer(&mut self) -> Result<(), ClusterError> {
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err(ClusterError::NotReady("its keeper has ended".to_owned()));
        }
        Ok(())
    }

    fn wait_until_ready(&self) -> Result<(), ClusterError> {
        let started = Instant::now();
        loop {
            let mut ask = as_server_user(&self.bin.join("psql"));
            ask.args(["-h", "127.0.0.1", "-U", "postgres", "-p"])
                .arg(self.port.to_string())
                .args(["-c", "SELECT 1", "postgres"]);
            match run(&mut ask) {
                Ok(()) => return Ok(()),
                Err(_) if started.elapsed() < START_PATIENCE => std::thread::sleep(Duration::from_millis(50)),
                Err(error) => {
                    let log = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
                    return Err(ClusterError::NotReady(format!("{error}; {log}")));
                }
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its keeper ends the server and removes the folder.
        drop(self.words.take());
        let _ended = self.keeper.wait();
    }
}

fn find_binaries() -> Option<PathBuf> {
    let has_server = |folder: &PathBuf| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<_> = debian.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    std::env::split_paths(&path)
        .chain(versions.into_iter().rev())
        .find(has_server)
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing of these processes outlives their cluster"
)]
fn as_server_user(program: &Path) -> Command {
    let id = Command::new("id").arg("-u").output();
    let is_root = id.is_ok_and(|id| id.stdout.starts_with(b"0\n"));
    if is_root {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"])
            .arg(program)
            .current_dir("/");
        command
    } else {
        Command::new(program)
    }
}

/// A file that only the server's user reads.
fn write_as_server_user(path: &Path, text: &str) -> Result<(), ClusterError> {
    let mut writer = as_server_user(Path::new("sh"))
        .args(["-c", "umask 077; cat > \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = writer.stdin.take() {
        input.write_all(text.as_bytes())?;
    }
    writer.wait()?;
    Ok(())
}

fn run(command: &mut Command) -> Result<(), ClusterError> {
    let program = format!("{command:?}");
    let output = command.output().map_err(|source| ClusterError::Run {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(ClusterError::Failed {
        program,
        told: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_answers_ends_comes_back_and_leaves_nothing() {
        let mut cluster = Cluster::start().unwrap();
        let folder = cluster.folder.clone();
        cluster.crash().unwrap();
        assert!(std::net::TcpStream::connect(("127.0.0.1", cluster.port())).is_err());
        cluster.start_again().unwrap();
        assert!(folder.exists());
        drop(cluster);
        assert!(!folder.exists());
    }
}
