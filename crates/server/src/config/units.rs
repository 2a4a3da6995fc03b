//! The small values of a configuration: durations, sizes, address ranges.

use std::time::Duration;

use ipnet::IpNet;

use super::reader::Wrong;

/// A duration such as `30s`, `5m`, `12h` or `7d`; never zero.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(Wrong::new(format!("not a duration: `{text}`")).instead(DURATIONS)),
    }
}

/// A duration, or `off`.
pub(super) fn duration_or_off(text: &str) -> Result<Option<Duration>, Wrong> {
    if text == "off" {
        return Ok(None);
    }
    let wrong = |_| Wrong::new(format!("not a duration: `{text}`")).instead(format!("{DURATIONS}, or `off`"));
    duration(text).map(Some).map_err(wrong)
}

/// A duration, or `forever`, or `off`.
pub(super) fn duration_or_forever(text: &str) -> Result<Option<Duration>, Wrong> {
    if matches!(text, "forever" | "off") {
        return Ok(None);
    }
    let wrong =
        |_| Wrong::new(format!("not a duration: `{text}`")).instead("for example `90d`, or `forever`");
    duration(text).map(Some).map_err(wrong)
}

/// A size in bytes, such as `25 MiB`; never zero, and at most `most`.
pub(super) fn size(text: &str, most: usize) -> Result<usize, Wrong> {
    let wrong = || Wrong::new(format!("not a size: `{text}`")).instead("for example `512 KiB` or `25 MiB`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: usize = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match text[digits..].trim() {
        "B" => 1,
        "KB" | "kB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    match number.checked_mul(unit) {
        Some(0) | None => Err(wrong()),
        Some(bytes) if bytes > most => {
            let most =
                if most >= 1 << 30 { format!("{} GiB", most >> 30) } else { format!("{} MiB", most >> 20) };
            Err(Wrong::new(format!("too large: `{text}`")).instead(format!("at most {most}")))
        }
        Some(bytes) => Ok(bytes),
    }
}

/// A size in bytes of a disk or of memory, such as `64 GiB`; never zero.
pub(super) fn bytes(text: &str) -> Result<u64, Wrong> {
    let wrong = |_| Wrong::new(format!("not a size: `{text}`")).instead("for example `512 MiB` or `64 GiB`");
    size(text, usize::MAX).map(|bytes| bytes as u64).map_err(wrong)
}

/// A range of addresses, or a single one.
pub(super) fn cidr(text: &str) -> Result<IpNet, Wrong> {
    let single = || text.parse().map(|address: std::net::IpAddr| IpNet::from(address));
    text.parse().or_else(|_| single()).map_err(|_| {
        Wrong::new(format!("not a range of addresses: `{text}`"))
            .instead("for example `192.30.252.0/22` or `2606:50c0::/32`")
    })
}

const DURATIONS: &str = "for example `30s`, `5m`, `12h` or `7d`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        let most = 256 << 20;
        assert_eq!(size("25 MiB", most).unwrap(), 25 << 20);
        assert_eq!(size("512KiB", most).unwrap(), 512 << 10);
        for wrong in
            ["", "25", "MiB", "0 B", "-1 B", "1.5 MiB", "25 Mib", "300 MiB", "99999999999999999999 B"]
        {
            assert!(size(wrong, most).is_err(), "{wrong}");
        }
    }

    #[test]
    fn disks_and_memory_are_larger() {
        assert_eq!(bytes("64 GiB").unwrap(), 64 << 30);
        assert_eq!(bytes("2TB").unwrap(), 2_000_000_000_000);
        for wrong in ["", "64", "0 GiB", "64 G", "99999999999 TiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_never_nothing() {
        assert_eq!(duration("1h 30m").unwrap(), Duration::from_secs(5_400));
        assert_eq!(duration_or_off("off").unwrap(), None);
        for wrong in ["", "0s", "7", "soon", "off"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_single_address_is_a_range_of_one() {
        assert_eq!(cidr("10.0.0.7").unwrap().to_string(), "10.0.0.7/32");
        assert!(cidr("10.0.0.0/33").is_err());
    }
}
