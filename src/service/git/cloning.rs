//! Sessions that begin with a clone of a repository.
//!
//! The clone is made in the session's jail, with the network that agents have, into a workspace that is new or empty. Which
//! hosts may be cloned from is a setting; addresses of private networks are looked up first, and `git` is held to those
//! that were found to be good. A credential is handed over by the environment of that one clone, for that host alone, and is
//! kept nowhere: an agent of the session could read what is kept.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{ALWAYS, GitService, done, environment, last_line, refused, text};
use crate::agent::{Folders, Helper};
use crate::domain::Principal;
use crate::domain::pattern::any_matches;
use crate::security::outgoing::OutgoingRules;
use crate::service::error::Error;

/// What may be cloned, and how.
#[derive(Debug, Clone)]
pub struct CloneRules {
    /// How long it may take.
    pub timeout: Duration,
    /// How many commits are fetched of each branch; 0: all.
    pub depth: u32,
    /// The hosts that may be cloned from; any when empty.
    pub hosts: Vec<String>,
    /// Whether it may go without TLS.
    pub http: bool,
    /// Which addresses may be gone to.
    pub addresses: OutgoingRules,
}

/// How one proves oneself to where a repository is.
#[derive(Debug, Clone)]
pub struct GitCredential {
    /// As whom.
    pub username: String,
    /// A password, or a token.
    pub password: SecretString,
}

/// What a session begins with.
#[derive(Debug, Clone)]
pub struct SourceOrder {
    /// Where the repository is.
    pub url: Url,
    /// The branch or tag; the repository's own choice when absent.
    pub name: Option<String>,
    /// How one proves oneself there.
    pub credential: Option<GitCredential>,
}

fn source_refused(reason: impl Into<String>) -> Error {
    Error::SourceRefused {
        reason: reason.into(),
    }
}

impl GitService {
    /// Makes a clone in a new folder of a workspace's, of this name.
    pub(in crate::service) async fn fetch_into(
        &self,
        caller: &Principal,
        folders: &Arc<Folders>,
        order: &SourceOrder,
        part: &str,
    ) -> Result<(), Error> {
        let Some(rules) = &self.rules.cloning else {
            return Err(source_refused("this server clones no repositories (git.clone)"));
        };
        let (protocol, held_to) = self.check(rules, &order.url).await?;
        let helper = self.clone_helper(rules, order, part, protocol, held_to);
        let cloned = self.agents.help(caller.tenant, folders, helper).await;
        let cloned = cloned.map_err(refused)?;
        done(&cloned).map_err(|_failed| Error::CloneFailed {
            why: last_line(&cloned.complaint).unwrap_or_else(|| "it did not say why".to_owned()),
        })
    }

    /// The protocol, and what name resolution is held to, of a URL that may be cloned from.
    async fn check(&self, rules: &CloneRules, url: &Url) -> Result<(&'static str, Option<String>), Error> {
        let protocol = match url.scheme() {
            "https" => "https",
            "http" if rules.http => "http",
            "http" => {
                return Err(source_refused(
                    "repositories are cloned over https (git.clone_http)",
                ));
            }
            _ => return Err(source_refused("repositories are cloned over https")),
        };
        let host = url
            .host_str()
            .ok_or_else(|| source_refused("its URL has no host"))?;
        if !rules.hosts.is_empty() && !allows(&rules.hosts, host) {
            return Err(source_refused(
                "this host is none to be cloned from (git.clone_hosts)",
            ));
        }
        let private = || source_refused("its host leads to a private address (git.clone_networks)");
        rules.addresses.check(url).map_err(|_private| private())?;
        let port = url.port_or_known_default().unwrap_or(443);
        if url.domain().is_none() || self.agents.has_proxy(protocol) {
            // An address was looked at already; where a proxy is, it finds the host.
            return Ok((protocol, None));
        }
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|_unknown| Error::CloneFailed {
            why: "its host cannot be found".to_owned(),
        })?;
        let good: Vec<String> = found
            .map(|address| address.ip())
            .filter(|address| rules.addresses.allow(*address))
            .map(|address| match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            })
            .collect();
        if good.is_empty() {
            return Err(private());
        }
        // So that another look does not find another address.
        Ok((protocol, Some(format!("{host}:{port}:{}", good.join(",")))))
    }

    fn clone_helper(
        &self,
        rules: &CloneRules,
        order: &SourceOrder,
        part: &str,
        protocol: &'static str,
        held_to: Option<String>,
    ) -> Helper {
        let mut arguments: Vec<_> = ALWAYS.iter().copied().map(text).collect();
        arguments.extend(["clone", "--quiet", "--template=", "--no-recurse-submodules"].map(text));
        if rules.depth > 0 {
            arguments.push(text(format!("--depth={}", rules.depth)));
            arguments.push(text("--no-single-branch"));
        }
        if let Some(name) = &order.name {
            arguments.push(text(format!("--branch={name}")));
        }
        arguments.extend(["--", order.url.as_str(), part].map(text));
        // Not on the command line, which others can read, and not in the repository, which the agent can.
        let mut settings = vec![
            // Another host would not be one that was looked at, and would be told the credential.
            ("http.followRedirects".to_owned(), "false".to_owned()),
        ];
        settings.extend(held_to.map(|held_to| ("http.curloptResolve".to_owned(), held_to)));
        if let Some(GitCredential { username, password }) = &order.credential {
            let both = format!("{username}:{}", password.expose_secret());
            let both = base64::engine::general_purpose::STANDARD.encode(both);
            let origin = order.url.origin().ascii_serialization();
            settings.push((
                format!("http.{origin}/.extraHeader"),
                format!("Authorization: Basic {both}"),
            ));
        }
        let mut environment = environment(protocol);
        environment.push(("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string().into()));
        for (index, (name, value)) in settings.into_iter().enumerate() {
            environment.push((format!("GIT_CONFIG_KEY_{index}"), name.into()));
            environment.push((format!("GIT_CONFIG_VALUE_{index}"), value.into()));
        }
        Helper {
            program: self.rules.program.clone(),
            arguments,
            environment,
            input: Vec::new(),
            files: Vec::new(),
            online: true,
            grows: true,
            timeout: rules.timeout,
            output_max_bytes: self.rules.output_max_bytes,
        }
    }
}

/// Whether a host is among those that are named; `*.example.com` names what ends so.
fn allows(hosts: &[String], host: &str) -> bool {
    hosts.iter().any(|named| {
        named.strip_prefix('*').map_or_else(
            || any_matches(std::slice::from_ref(&named.to_ascii_lowercase()), host),
            |ending| host.ends_with(&ending.to_ascii_lowercase()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_whole_or_by_their_ending() {
        let hosts = ["GitHub.com".to_owned(), "*.example.com".to_owned()];
        for (host, good) in [
            ("github.com", true),
            ("evil-github.com", false),
            ("github.com.evil.org", false),
            ("git.example.com", true),
            ("example.com", false),
            ("badexample.com", false),
        ] {
            assert_eq!(allows(&hosts, host), good, "{host}");
        }
    }
}
