//! Where requests may go whose address a tenant chose: to no address of a private network, unless it is allowed.
//!
//! It is the address that a name resolves to, at the time of the connection, that counts; a name proves nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Networks that are not the internet, in the order of the registries of special-purpose addresses.
const SPECIAL: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Which addresses may be gone to.
#[derive(Debug, Clone)]
pub struct OutgoingRules {
    special: Arc<[IpNet]>,
    allowed: Arc<[IpNet]>,
}

/// The address is one that is not gone to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it leads to a private address")]
pub struct PrivateAddress;

impl OutgoingRules {
    /// The internet, and these networks.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self {
            special: SPECIAL
                .iter()
                .filter_map(|network| network.parse().ok())
                .collect(),
            allowed: allowed.into(),
        }
    }

    /// Whether an address may be gone to.
    #[must_use]
    pub fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let among = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        among(&self.allowed) || !among(&self.special)
    }

    /// Refuses a URL whose host is an address that may not be gone to. Of a name, nothing is known yet.
    pub fn check(&self, url: &url::Url) -> Result<(), PrivateAddress> {
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
            Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Ok(()),
        };
        if self.allow(address) {
            Ok(())
        } else {
            Err(PrivateAddress)
        }
    }
}

impl Resolve for OutgoingRules {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|found| rules.allow(found.ip())).collect();
            if allowed.is_empty() {
                return Err(Box::new(PrivateAddress) as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_internet_is_gone_to_and_what_is_allowed() {
        let rules = OutgoingRules::new(vec!["10.1.0.0/16".parse().unwrap()]);
        assert_eq!(rules.special.len(), SPECIAL.len(), "each is a network");
        for good in [
            "93.184.215.14",
            "8.8.8.8",
            "2606:4700::1111",
            "10.1.2.3",
            "::ffff:8.8.8.8",
        ] {
            assert!(rules.allow(good.parse().unwrap()), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "10.2.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fd00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!rules.allow(bad.parse().unwrap()), "{bad}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_an_address_however_it_is_written() {
        let rules = OutgoingRules::new(Vec::new());
        for bad in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://0/",
        ] {
            assert!(rules.check(&bad.parse().unwrap()).is_err(), "{bad}");
        }
        for good in ["https://example.com/", "https://8.8.8.8/"] {
            assert!(rules.check(&good.parse().unwrap()).is_ok(), "{good}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_leads_nowhere() {
        let closed = OutgoingRules::new(Vec::new());
        assert!(closed.resolve("localhost".parse().unwrap()).await.is_err());
        let open = OutgoingRules::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(open.resolve("localhost".parse().unwrap()).await.unwrap().count() > 0);
    }
}
