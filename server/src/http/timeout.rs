//! The time limit that a client sets for its request: the header `X-Request-Timeout`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

use super::problem::Problem;

const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// The time limit of a request, which is at most the server's `limit`: seconds, as
/// `2` or `0.5`, or with a unit, as `500ms`.
///
/// # Errors
/// 400 for a value that is no time.
pub(super) fn limit(headers: &HeaderMap, limit: Duration) -> Result<Duration, Problem> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(limit);
    };
    let time = value.to_str().ok().and_then(parse);
    time.map(|time| time.min(limit)).ok_or_else(|| {
        let detail = "X-Request-Timeout must be a time of more than zero, such as 2, 0.5 or 500ms";
        Problem::bad_parameter(detail)
    })
}

fn parse(text: &str) -> Option<Duration> {
    let time = match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => humantime::parse_duration(text).ok()?,
    };
    (!time.is_zero()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_shorten_the_limit() {
        let server = Duration::from_secs(30);
        let of = |text: &str| {
            let value = text.parse().unwrap();
            limit(&HeaderMap::from_iter([(TIMEOUT, value)]), server).ok()
        };
        assert_eq!(limit(&HeaderMap::new(), server).ok(), Some(server));
        assert_eq!(of("2"), Some(Duration::from_secs(2)));
        assert_eq!(of("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(of("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(of("1h"), Some(server));
        for wrong in ["", "0", "-1", "soon", "nan", "inf", "1e300"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
