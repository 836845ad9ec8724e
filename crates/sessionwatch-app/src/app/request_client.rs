//! Client of a request: IP address and user agent.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

// Typically the addresses that one subscriber can choose from: limits per address would be easy to evade.
const IPV4_NETWORK_PREFIX_BITS: u8 = 24;
const IPV6_NETWORK_PREFIX_BITS: u8 = 64;
/// Maximum number of characters stored of a user agent.
const MAX_USER_AGENT_LENGTH: usize = 200;

/// Client of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// IP address of the client behind trusted proxies.
    pub address: IpAddr,
    /// User agent header; may be empty.
    pub user_agent: String,
}

impl ClientInfo {
    /// Reads the client from the headers of a request sent by `peer`.
    #[must_use]
    pub fn from_request(trusted_proxies: &[IpNet], headers: &HeaderMap, peer: SocketAddr) -> Self {
        Self { address: client_ip(trusted_proxies, headers, peer), user_agent: user_agent(headers) }
    }

    /// Returns the network of the address.
    #[must_use]
    pub fn network(&self) -> IpNet {
        network_for(self.address)
    }
}

/// Returns the network of an address: its IPv4 /24 or IPv6 /64.
#[must_use]
pub fn network_for(address: IpAddr) -> IpNet {
    // An IPv4 client of a dual-stack socket arrives as `::ffff:a.b.c.d` and must share the IPv4 limit.
    let address = address.to_canonical();
    let prefix = if address.is_ipv4() { IPV4_NETWORK_PREFIX_BITS } else { IPV6_NETWORK_PREFIX_BITS };
    IpNet::new_assert(address, prefix).trunc()
}

/// Returns the last address in `X-Forwarded-For` that is not a trusted proxy, or the peer's address if the peer is not
/// trusted.
#[must_use]
pub fn client_ip(trusted_proxies: &[IpNet], headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted_proxies.iter().any(|net| net.contains(ip));
    // A proxy may send the header several times; RFC 9110 permits joining the values in order.
    let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut client = peer.ip().to_canonical();
    // Backwards: each proxy appends the address it saw, so entries before the first untrusted one can be forged.
    for hop in hops.into_iter().rev() {
        if !is_trusted(&client) {
            break;
        }
        // Some proxies append the port.
        let ip = hop.parse::<IpAddr>().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
        let Some(ip) = ip else { break };
        client = ip.to_canonical();
    }
    client
}

fn user_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Cut by characters, because a slice of bytes could split one and panic.
    agent.chars().take(MAX_USER_AGENT_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_those_of_one_subscriber() {
        let of = |address: &str| network_for(address.parse().unwrap());
        assert_eq!(of("198.51.100.7").to_string(), "198.51.100.0/24");
        assert_eq!(of("::ffff:198.51.100.7"), of("198.51.100.200"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn forwarded_addresses_are_accepted_only_from_trusted_proxies() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).into();
        let from = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            client_ip(&trusted, &headers, SocketAddr::new(peer.parse().unwrap(), 4711)).to_string()
        };
        assert_eq!(from("10.0.0.1", "203.0.113.7"), "203.0.113.7");
        assert_eq!(from("::ffff:10.0.0.1", "203.0.113.7:4711"), "203.0.113.7");
        assert_eq!(from("::1", "6.6.6.6, 203.0.113.7, 10.2.3.4"), "203.0.113.7");
        // The header of an untrusted peer is ignored.
        assert_eq!(from("203.0.113.9", "127.0.0.1"), "203.0.113.9");
        assert_eq!(from("10.0.0.1", "203.0.113.7, nonsense"), "10.0.0.1");
        assert_eq!(from("10.0.0.1", "10.0.0.2"), "10.0.0.2");
    }
}
