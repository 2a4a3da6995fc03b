//! The user who listens at an address of this machine: `proc_net_tcp(5)` tells it of every socket.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use http::Uri;
use rustix::process::geteuid;

/// Returns the user who listens at an address of the loopback and is neither root, nor the owner of `state_dir`, nor whoever
/// asks. While no server runs, anybody on the machine may have its port, a run too. Where the kernel tells of nobody, somebody
/// of another network listens there, as of a container.
pub(super) fn stranger(address: SocketAddr, state_dir: &Path) -> Option<u32> {
    if !address.ip().is_loopback() {
        return None;
    }
    let sockets =
        ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
    let owner = state_dir.metadata().ok().map(|metadata| metadata.uid());
    let known = [Some(0), owner, Some(geteuid().as_raw())];
    user_of(address, &sockets.concat()).filter(|user| !known.contains(&Some(*user)))
}

/// The address that a URL names, where it is one of the loopback.
pub(super) fn loopback(url: &Uri) -> Option<SocketAddr> {
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
    let ip = match host {
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        host => host.parse::<IpAddr>().ok()?,
    };
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    Some(SocketAddr::new(ip, port)).filter(|address| address.ip().is_loopback())
}

/// Of those who listen there: the one of that address before one of all addresses, as the kernel has it.
fn user_of(address: SocketAddr, sockets: &str) -> Option<u32> {
    let there: Vec<_> =
        sockets.lines().filter_map(listener).filter(|(at, _)| at.port() == address.port()).collect();
    let of = |ip: IpAddr| there.iter().find(|(at, _)| at.ip().to_canonical() == ip).map(|(_, user)| *user);
    let all: &[IpAddr] = match address {
        SocketAddr::V4(_) => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        SocketAddr::V6(_) => &[IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
    };
    of(address.ip()).or_else(|| all.iter().find_map(|ip| of(*ip)))
}

/// The address and the user of a line, if it is of a socket that listens.
fn listener(line: &str) -> Option<(SocketAddr, u32)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let (at, state, user) = (fields.get(1)?, fields.get(3)?, fields.get(7)?);
    if *state != LISTENS {
        return None;
    }
    let (ip, port) = at.split_once(':')?;
    let words: Option<Vec<u32>> =
        (0..ip.len() / 8).map(|word| u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok()).collect();
    // Each word as it stands in memory.
    let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip: IpAddr = match <[u8; 4]>::try_from(&*bytes) {
        Ok(bytes) => Ipv4Addr::from(bytes).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&*bytes).ok()?).into(),
    };
    Some((SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?), user.parse().ok()?))
}

const LISTENS: &str = "0A";

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn whoever_listens_is_known_by_the_kernels_word() {
        let here = tempfile::tempdir().unwrap();
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.local_addr().unwrap().port());
            let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
            assert_eq!(user_of(at, &sockets), Some(geteuid().as_raw()), "{address}");
            assert_eq!(stranger(at, here.path()), None);
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn an_address_of_its_own_goes_before_all_addresses() {
        let line =
            |at: &str, state, user| format!(" 0: {at} 00000000:0000 {state} 0:0 00:0 0 {user} 0 1 1\n");
        let sockets = [
            line("00000000:1F91", "0A", 7),
            line("0100007F:1F91", "0A", 8),
            line("0100007F:1F92", "01", 9),
            line("00000000000000000000000000000000:1F93", "0A", 10),
            line("00000000000000000000000001000000:1F93", "0A", 11),
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n".to_owned(),
        ];
        let user = |address: &str| user_of(address.parse().unwrap(), &sockets.concat());
        assert_eq!((user("127.0.0.1:8081"), user("127.0.0.2:8081")), (Some(8), Some(7)));
        assert_eq!((user("127.0.0.1:8082"), user("[::1]:8081")), (None, None));
        assert_eq!((user("127.0.0.1:8083"), user("[::1]:8083")), (Some(10), Some(11)));
    }

    #[test]
    fn a_url_names_the_loopback_or_somebody_elses() {
        let of = |url: &str| loopback(&url.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("http://localhost:8081/x").as_deref(), Some("127.0.0.1:8081"));
        assert_eq!(of("http://[::1]:8081").as_deref(), Some("[::1]:8081"));
        assert_eq!(of("https://127.0.0.1").as_deref(), Some("127.0.0.1:443"));
        assert_eq!((of("http://10.0.0.1:8081"), of("http://example.org")), (None, None));
    }
}
