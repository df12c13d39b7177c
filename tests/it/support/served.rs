//! The server as people run it: a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, PATIENCE};

/// The server as a process of its own.
pub(crate) struct Served {
    child: Child,
    pub(crate) folder: Arc<tempfile::TempDir>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) welcome: String,
    log: Arc<Mutex<Vec<u8>>>,
}

/// The server's command in this folder, with the stand-in for the CLI.
pub(crate) fn paddock(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paddock"));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("PADDOCK__API__PORT", "0")
        .env("PADDOCK__AGENT__CLI_PATH", env!("CARGO_BIN_EXE_fake-claude"))
        .env("PADDOCK__MODEL__SCRIPTED", "true")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Served {
    pub(crate) fn start(folder: impl Into<Arc<tempfile::TempDir>>) -> Self {
        let folder = folder.into();
        let mut command = paddock(folder.path());
        command.arg("serve");
        Self::of(command, folder)
    }

    pub(crate) fn of(mut command: Command, folder: impl Into<Arc<tempfile::TempDir>>) -> Self {
        let folder = folder.into();
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&log);
        // Read on, so that a full pipe never holds the server back.
        std::thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(read @ 1..) = stderr.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut welcome = String::new();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").unwrap();
            welcome.push_str(&line);
            welcome.push('\n');
            if let Some((_, rest)) = line.split_once("listens on http://") {
                let address = rest.split_whitespace().next().unwrap().parse().unwrap();
                for line in lines.by_ref().take(2) {
                    welcome.push_str(&line.unwrap());
                    welcome.push('\n');
                }
                break address;
            }
        };
        Self {
            child,
            folder,
            address,
            welcome,
            log,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address, None)
    }

    /// What it logs, as it does.
    pub(crate) fn log(&self) -> Arc<Mutex<Vec<u8>>> {
        Arc::clone(&self.log)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit code, once it has ended, and how long that took.
    pub(crate) fn ended(mut self) -> (Option<i32>, Duration, Arc<tempfile::TempDir>) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), started.elapsed(), Arc::clone(&self.folder));
            }
            assert!(started.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Served {
    /// A test that failed leaves no server behind either. One that has ended takes no more signals.
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
