//! How numbers, sizes, times and addresses are written in settings.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

/// The longest time that a setting accepts. Deadlines computed from it cannot
/// overflow.
pub const LONGEST_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest size that a setting accepts: no allocation can be larger.
pub const LARGEST_SIZE: usize = isize::MAX as usize;

/// A whole number in `range`.
pub(crate) fn count<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!(
            "must be a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// A size in bytes, at least one: `1048576`, `1024KiB`, `1MiB` or `1M`. `K`,
/// `M` and `G` alone are powers of 1024, as in `ulimit` and `docker --memory`;
/// `KB`, `MB` and `GB` are powers of 1000.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let binary = text.ends_with(['K', 'M', 'G']);
    let bytes: Result<ByteSize, _> = match binary {
        true => format!("{text}iB").parse(),
        false => text.parse(),
    };
    bytes
        .ok()
        .and_then(|bytes| usize::try_from(bytes.as_u64()).ok())
        .filter(|bytes| (1..LARGEST_SIZE).contains(bytes))
        .ok_or_else(|| "must be a size such as 500KiB, 32MiB or 1GiB".into())
}

/// A time of more than zero and at most a day: `500ms`, `30s`, `2m` or `1h`; a
/// number alone is seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    time.filter(|time| !time.is_zero() && *time <= LONGEST_TIME)
        .ok_or_else(|| "must be a time of at most 24h such as 500ms, 30s or 2m".into())
}

/// `off`, or what `parse` reads.
pub(crate) fn or_off<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match text {
        "off" => Ok(None),
        _ => parse(text)
            .map(Some)
            .map_err(|reason| format!("{reason}, or off")),
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address, IPv6 without brackets.
    pub host: String,
    /// Port; 0 for any free one.
    pub port: u16,
}

/// `HOST:PORT`, with brackets around an IPv6 address.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let valid = !host.is_empty() && (bare.is_some() || !host.contains(':'));
        valid.then_some((host, port.parse().ok()?))
    });
    let (host, port) = parts.ok_or("must be HOST:PORT such as 127.0.0.1:8001 or [::1]:8001")?;
    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("3KiB"), Ok(3072));
        assert_eq!(size("32 MiB"), Ok(32 << 20));
        assert_eq!(size("1G"), Ok(1 << 30));
        assert_eq!(size("2 M"), Ok(2 << 20));
        assert_eq!(size("1.5GiB"), Ok(3 << 29));
        assert_eq!(size("2kB"), Ok(2000));
        for bad in [
            "",
            "0",
            "-1",
            "MiB",
            "M",
            "1 potato",
            "99999999999999999999",
            "17179869184GiB",
            "inf",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("30"), Ok(Duration::from_secs(30)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(time("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(time("1d"), Ok(LONGEST_TIME));
        for bad in ["", "0s", "0", "25h", "soon", "-1s", "100000m", "inf"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(count("7", 1..=7_usize), Ok(7));
        assert!(count("8", 1..=7_usize).unwrap_err().contains("from 1 to 7"));
        assert!(count("x", 1..=7_usize).is_err());
    }

    #[test]
    fn off_disables_a_setting() {
        assert_eq!(or_off("off", time), Ok(None));
        assert_eq!(or_off("2s", time), Ok(Some(Duration::from_secs(2))));
        assert!(or_off("no", time).unwrap_err().ends_with(", or off"));
    }

    #[test]
    fn addresses() {
        let read = |text| address(text).map(|a| (a.host, a.port));
        assert_eq!(read("127.0.0.1:8001"), Ok(("127.0.0.1".into(), 8001)));
        assert_eq!(read("localhost:0"), Ok(("localhost".into(), 0)));
        assert_eq!(read("[::1]:8001"), Ok(("::1".into(), 8001)));
        for bad in [
            "", "8001", ":8001", "a:", "a:x", "a:65536", "::1:80", "[]:1",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
