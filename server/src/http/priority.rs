//! The priority of a request: the header `Priority` (RFC 9218).

use axum::http::{HeaderMap, HeaderName};

use crate::core::round_robin::Class;

const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// The default urgency of RFC 9218: 0 is the most urgent, 7 the least.
const DEFAULT: u8 = 3;
const LEAST: u8 = 7;

/// The class of a request: low for an urgency below the default, as in `u=5`. Other
/// values, and ones that cannot be read, have no effect.
pub(super) fn class(headers: &HeaderMap) -> Class {
    let priority = headers.get(PRIORITY).and_then(|value| value.to_str().ok());
    let members = priority.unwrap_or_default().split(',');
    let urgency = members
        .filter_map(|member| member.trim().strip_prefix("u="))
        .filter_map(|urgency| urgency.split(';').next()?.parse::<u8>().ok())
        .next_back();
    match urgency {
        Some(urgency) if urgency > DEFAULT && urgency <= LEAST => Class::Low,
        _ => Class::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_urgency_below_the_default_is_low() {
        let of = |value: &str| {
            let value = value.parse().unwrap();
            class(&HeaderMap::from_iter([(PRIORITY, value)]))
        };
        assert_eq!(class(&HeaderMap::new()), Class::Normal);
        for low in ["u=5", "i, u=7", "u=4;x", "u=1, u=6"] {
            assert_eq!(of(low), Class::Low, "{low}");
        }
        for normal in ["u=3", "u=0, i", "i", "u=x", "u=8", "u=999", "u=6, u=1"] {
            assert_eq!(of(normal), Class::Normal, "{normal}");
        }
    }
}
