//! The client's address, as far as it can be known behind proxies.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The peer's address, for adapters: a host that knows it puts this into the extensions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub IpAddr);

/// Who sent the request: the last address that no trusted proxy has written itself. `None` where a proxy wrote
/// something that is no address.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|b| *b == b','));
    while contains(trusted, client) {
        match hops.next() {
            Some(hop) => client = parse(hop)?,
            None => break,
        }
    }
    Some(client)
}

/// Whether one of the networks has the address; IPv4 and IPv4 in IPv6 are the same.
pub(super) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| match (network, address) {
        (IpNet::V6(network), IpAddr::V4(v4)) => network.contains(&v4.to_ipv6_mapped()),
        (network, address) => network.contains(&address),
    })
}

/// `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, each with or without a port.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_ascii();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &[][..], Some("192.0.2.1")),
            // A client may say what it likes.
            ("192.0.2.1", &["140.82.112.1"], Some("192.0.2.1")),
            ("10.0.0.1", &["140.82.112.1"], Some("140.82.112.1")),
            ("::ffff:10.0.0.1", &["140.82.112.1"], Some("140.82.112.1")),
            ("10.0.0.1", &["140.82.112.1, 192.0.2.9"], Some("192.0.2.9")),
            ("10.0.0.1", &["140.82.112.1, 192.0.2.9, 10.0.0.2"], Some("192.0.2.9")),
            ("10.0.0.1", &["140.82.112.1", "192.0.2.9,10.0.0.2"], Some("192.0.2.9")),
            ("10.0.0.1", &["10.0.0.3"], Some("10.0.0.3")),
            ("10.0.0.1", &["::ffff:192.0.2.9"], Some("192.0.2.9")),
            ("fd00::1", &["[2001:db8::1]:4711"], Some("2001:db8::1")),
            ("10.0.0.1", &["[2001:db8::1]"], Some("2001:db8::1")),
            ("10.0.0.1", &["192.0.2.9:80"], Some("192.0.2.9")),
            ("10.0.0.1", &["140.82.112.1, unknown"], None),
            ("10.0.0.1", &[""], None),
            ("10.0.0.1", &[], Some("10.0.0.1")),
        ] {
            let mut headers = HeaderMap::new();
            forwarded.iter().for_each(|line| {
                headers.append("x-forwarded-for", line.parse().unwrap());
            });
            let found = client(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn an_ipv4_address_in_ipv6_is_the_ipv4_address() {
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(contains(&networks(&["192.0.2.0/24"]), mapped));
        assert!(contains(&networks(&["::ffff:192.0.2.0/120"]), "192.0.2.1".parse().unwrap()));
        assert!(!contains(&networks(&["192.0.3.0/24", "2001:db8::/32"]), mapped));
        assert!(!contains(&[], mapped));
    }
}
