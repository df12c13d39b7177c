//! A deterministic, scripted Messages API server: no model, no key, no network beyond loopback.
//!
//! What it answers is written in the prompt, line by line, in a small language that the README explains. It keeps no
//! conversations: a request carries its own. The one thing it counts is how often a prompt has failed, for `times N`.
//!
//! [`ScriptedModel::start`] runs it inside another program, on threads of its own; the binary runs it as a process.

mod conversation;
mod performance;
mod recording;
mod script;
mod server;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;

pub use recording::RecordedRequest;
use recording::Recording;

/// Where it listens, and what it holds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address; only loopback is taken, since anyone who reaches it may read what others asked.
    pub host: IpAddr,
    /// The port; 0: any free one.
    pub port: u16,
    /// The longest request body, in bytes.
    pub body_limit_bytes: usize,
    /// How many of the last requests are kept to be looked at.
    pub recorded_requests: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            body_limit_bytes: 64 * 1024 * 1024,
            recorded_requests: 1000,
        }
    }
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not loopback.
    #[error("{0} is not a loopback address")]
    NotLoopback(IpAddr),
    /// The address is taken.
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// Its thread did not start.
    #[error("its thread did not start")]
    Thread(#[source] std::io::Error),
    /// Its thread ended before it served.
    #[error("its thread ended before it served")]
    Vanished,
}

/// A running server. It stops when this is dropped.
#[derive(Debug)]
pub struct ScriptedModel {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
    recording: Arc<Recording>,
}

impl ScriptedModel {
    /// Starts it on threads of its own.
    pub fn start(options: Options) -> Result<Self, StartError> {
        if !options.host.is_loopback() {
            return Err(StartError::NotLoopback(options.host));
        }
        let wanted = SocketAddr::new(options.host, options.port);
        let listener =
            std::net::TcpListener::bind(wanted).map_err(|source| StartError::Bind(wanted, source))?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Bind(wanted, source))?;
        let recording = Arc::new(Recording::of(options.recorded_requests));
        let shown = Arc::clone(&recording);
        let (started, is_started) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("scripted-model".to_owned())
            .spawn(move || server::run(listener, &options, &shown, &started))
            .map_err(StartError::Thread)?;
        let handle = is_started
            .recv()
            .map_err(|_ended| StartError::Vanished)?
            .map_err(|source| StartError::Bind(address, source))?;
        Ok(Self {
            address,
            handle,
            thread: Some(thread),
            recording,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to set `ANTHROPIC_BASE_URL` to.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The last requests for messages, oldest first.
    #[must_use]
    pub fn recorded(&self) -> Vec<RecordedRequest> {
        self.recording.all()
    }

    /// Stops it, and waits until its threads have ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Told at once; the answer, that it has stopped, is the end of its thread.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the scripted model's thread panicked");
        }
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        self.end();
    }
}
