use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::address;

/// A client's address as far as clients are told apart: an IPv4 address, or the /64 of an IPv6 address, since whoever
/// has one of its 2^64 addresses has all of them. IPv4 in IPv6 is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAddr(IpAddr);

/// The network around a client: the /24 of an IPv4 address, the /48 of an IPv6 address. One tenant may well have all of
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientNetwork(IpAddr);

/// Standing of a client, known by its address. It decides who gives way when there is not enough for all, and nothing
/// else: whatever it is, a delivery is taken for its signature alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reputation {
    /// Nothing speaks for it.
    Unknown,
    /// A hook takes deliveries from its address (`allow_from`), or a client of its network is [proven](Self::Proven).
    Expected,
    /// A right signature came from its address lately, of a push that was made just then.
    Proven,
}

impl ClientAddr {
    /// The client that has this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(network(address, 32, 64))
    }

    /// One for all of whom it is not known who they are.
    pub(super) fn nobody() -> Self {
        Self(Ipv4Addr::UNSPECIFIED.into())
    }

    /// The network around it.
    #[must_use]
    pub fn network(self) -> ClientNetwork {
        ClientNetwork(network(self.0, 24, 48))
    }

    /// Tells whether it has an address of this network.
    pub(super) fn is_in(self, network: &IpNet) -> bool {
        let is_part = match (self.0, network) {
            (IpAddr::V6(v6), IpNet::V6(part)) => {
                Ipv6Net::new(v6, 64).is_ok_and(|own| own.contains(&part.addr()))
            }
            _ => false,
        };
        is_part || address::contains(std::slice::from_ref(network), self.0)
    }

    /// The first of its addresses.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }
}

/// The address, or a network with its length: `192.0.2.1`, `2001:db8::/64`.
impl std::fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

fn network(address: IpAddr, of_v4: u32, of_v6: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - of_v4))).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - of_v6))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddr {
        ClientAddr::of(text.parse().unwrap())
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_a_network_of_ipv6() {
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:0:0:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(client("::ffff:192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn around_it_is_what_one_tenant_may_have() {
        assert_eq!(client("192.0.2.1").network(), client("::ffff:192.0.2.255").network());
        assert_ne!(client("192.0.2.1").network(), client("192.0.3.1").network());
        assert_eq!(client("2001:db8:7::1").network(), client("2001:db8:7:ffff::1").network());
        assert_ne!(client("2001:db8:7::1").network(), client("2001:db8:8::1").network());
    }
}
