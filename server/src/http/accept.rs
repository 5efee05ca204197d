//! Content negotiation: the media type of a response by the `Accept` header.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The one of `offered` (media types, the default first) that the client prefers
/// (RFC 9110, 12.5.1). The default if there is no header, or if it names none of
/// them.
pub(super) fn preferred<T: Copy>(headers: &HeaderMap, offered: &[(&str, T)]) -> Option<T> {
    let mut best: Option<(f32, T)> = None;
    for &(media_type, value) in offered {
        let quality = quality(headers, media_type).unwrap_or(0.0);
        if quality > best.map_or(0.0, |(quality, _)| quality) {
            best = Some((quality, value));
        }
    }
    let default = offered.first().map(|&(_, value)| value);
    best.map(|(_, value)| value).or(default)
}

/// The quality of a media type by the range that matches it most exactly.
fn quality(headers: &HeaderMap, media_type: &str) -> Option<f32> {
    let (kind, _) = media_type.split_once('/')?;
    let values = headers.get_all(ACCEPT).iter();
    let ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let matching = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next()?.to_ascii_lowercase();
        let exactness = match range.split_once('/')? {
            _ if range == media_type => 2,
            (range, "*") if range == kind => 1,
            ("*", "*") => 0,
            _ => return None,
        };
        let weight =
            parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok());
        Some((exactness, quality?.clamp(0.0, 1.0)))
    });
    matching
        .max_by_key(|&(exactness, _)| exactness)
        .map(|(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const OFFERED: [(&str, char); 3] = [
        ("application/json", 'j'),
        ("application/octet-stream", 'o'),
        ("application/x-npy", 'n'),
    ];

    fn chosen(accept: &'static str) -> Option<char> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        preferred(&headers, &OFFERED)
    }

    #[test]
    fn the_best_range_wins() {
        for (accept, expected) in [
            ("*/*", 'j'),
            ("application/*", 'j'),
            ("application/x-npy", 'n'),
            ("Application/Octet-Stream", 'o'),
            ("text/html, application/x-npy;q=0.1", 'n'),
            (
                "application/x-npy;q=0.5, application/octet-stream;q=0.8",
                'o',
            ),
            ("*/*;q=0.1, application/octet-stream", 'o'),
            ("*/*, application/json;q=0", 'o'),
            ("image/webp", 'j'),
            ("", 'j'),
            ("application/x-npy;q=high, */*;q=0.2", 'j'),
        ] {
            assert_eq!(chosen(accept), Some(expected), "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &OFFERED), Some('j'));
    }
}
