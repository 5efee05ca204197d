//! How numbers, sizes and times are written in flags.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A whole number in `range`.
pub(super) fn count<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!(
            "not a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// A size in bytes: `1048576`, `1024KiB` or `1MiB`; at least one byte.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let shift = match unit {
        "" | "B" => Some(0),
        "KiB" | "K" => Some(10),
        "MiB" | "M" => Some(20),
        "GiB" | "G" => Some(30),
        _ => None,
    };
    let bytes = shift.and_then(|shift| number.parse::<usize>().ok()?.checked_mul(1 << shift));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "not a size such as 500KiB, 32MiB or 1GiB".into())
}

/// A time: `30`, `30s`, `500ms` or `2m`; more than nothing, at most a day.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let milliseconds = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    let time = milliseconds.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit));
    time.filter(|ms| (1..=86_400_000).contains(ms))
        .map(Duration::from_millis)
        .ok_or_else(|| "not a time such as 500ms, 30s or 2m".into())
}

/// `30s` -> `30` and `s`.
fn split(text: &str) -> (&str, &str) {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
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
        for bad in [
            "",
            "0",
            "-1",
            "MiB",
            "1TB",
            "99999999999999999999",
            "17179869184GiB",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("30"), Ok(Duration::from_secs(30)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "0s", "1h", "1.5s", "-1s", "100000m"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(count("7", 1..=7_usize), Ok(7));
        assert!(count("8", 1..=7_usize).unwrap_err().contains("from 1 to 7"));
        assert!(count("x", 1..=7_usize).is_err());
    }
}
