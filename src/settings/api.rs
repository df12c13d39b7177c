//! `api`: the HTTP server.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{duration, require};

/// The HTTP server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSection {
    /// The address to listen on. Anything but loopback needs a key (see `auth`).
    pub host: IpAddr,
    /// The port to listen on; 0: any free one.
    pub port: u16,
    /// How many threads serve requests; 0: one for each core.
    pub workers: usize,
    /// The most open connections.
    pub max_connections: usize,
    /// How long an idle connection is kept.
    #[serde(with = "duration")]
    pub keep_alive: Duration,
    /// How long a client may take to send a request's head.
    #[serde(with = "duration")]
    pub head_timeout: Duration,
    /// How long a client may take to send a request's body.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// The longest request body, in bytes.
    pub body_limit_bytes: usize,
    /// How long running turns may go on after SIGTERM.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// The web origins whose pages may call: `https://app.example.com`, or `*` alone for all. None by default.
    pub cors_origins: Vec<String>,
    /// Whether pages may send credentials of the browser's; not together with `*`.
    pub cors_credentials: bool,
    /// The reverse proxies whose `X-Forwarded-For` is believed: addresses, or networks such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<Network>,
    /// Whether browsers get the web console at `/`; it is in the binary if that was built after `make web`.
    pub console: bool,
}

impl Default for ApiSection {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8000,
            workers: 0,
            max_connections: 10_000,
            keep_alive: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_limit_bytes: 10 * 1024 * 1024,
            drain_timeout: Duration::from_secs(30),
            cors_origins: Vec::new(),
            cors_credentials: false,
            trusted_proxies: Vec::new(),
            console: true,
        }
    }
}

impl ApiSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            self.max_connections > 0,
            problems,
            "api.max_connections: must be at least 1",
        );
        require(
            self.body_limit_bytes > 0,
            problems,
            "api.body_limit_bytes: must be at least 1",
        );
        require(
            !self.body_timeout.is_zero(),
            problems,
            "api.body_timeout: must be more than 0",
        );
        let any = self.cors_origins.iter().any(|origin| origin == "*");
        require(
            !any || self.cors_origins.len() == 1,
            problems,
            "api.cors_origins: `*` already means every origin; list it alone",
        );
        require(
            !(any && self.cors_credentials),
            problems,
            "api.cors_credentials: credentials for every origin (`*`) would let any page act for its visitor; list the origins",
        );
        for origin in self.cors_origins.iter().filter(|origin| *origin != "*") {
            let is_origin = url::Url::parse(origin)
                .is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == *origin);
            require(
                is_origin,
                problems,
                &format!("api.cors_origins: `{origin}` is not an origin such as `https://app.example.com`"),
            );
        }
    }
}

/// An address, or a network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        address
            .or_else(|_| text.parse::<IpNet>())
            .map(Self)
            .map_err(|_unreadable| {
                format!("`{text}` is neither an address nor a network such as `10.0.0.0/8`")
            })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}
