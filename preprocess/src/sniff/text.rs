//! Names the kind of a text that was sent as an image.

/// The first 1024 bytes as text, if they are UTF-8 without control characters.
/// A character that the limit cuts in two is left out.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    let head = &bytes[..bytes.len().min(1024)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let plain = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{c}');
    text.chars().all(plain).then_some(text)
}

/// What a text is, with its article.
pub(super) enum Description {
    /// It stands for an image that the sender could have sent instead.
    Stands(&'static str),
    /// It is something else.
    Other(&'static str),
}

/// Names the kind of a text.
pub(super) fn describe_text(text: &str) -> Description {
    use Description::{Other, Stands};

    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| lower.starts_with(p));
    if lower.contains("<svg") {
        return Other("an SVG drawing");
    } else if starts(&["<!doctype html", "<html"]) {
        return Other("an HTML page");
    } else if lower.starts_with('<') {
        return Other("an XML or HTML document");
    } else if starts(&["%!ps"]) {
        return Other(match lower.lines().next() {
            Some(line) if line.contains("epsf") => "a PostScript drawing (EPS)",
            _ => "a PostScript document",
        });
    } else if starts(&["%pdf"]) {
        return Other("a PDF document");
    } else if starts(&["#?radiance", "#?rgbe"]) {
        return Other("a Radiance HDR image");
    } else if starts(&["simple  ="]) {
        return Other("a FITS image");
    } else if starts(&["/* xpm */"]) {
        return Other("an XPM image");
    } else if starts(&["#define "]) && lower.contains("_width ") {
        return Other("an XBM image");
    } else if starts(&["p7 332"]) {
        return Other("a thumbnail of the program xv");
    } else if starts(&["{", "["]) {
        return Stands("a JSON document");
    } else if starts(&["version https://git-lfs"]) {
        return Stands("a pointer file of Git LFS");
    } else if starts(&["--"]) && lower.contains("\ncontent-") {
        return Stands("a multipart message with its boundary lines");
    }
    match image_in(text) {
        Some(found) => Stands(found),
        None => Other("plain text"),
    }
}

/// How a text stands for an image, perhaps in quotes or as a value of a form.
fn image_in(text: &str) -> Option<&'static str> {
    let parts = unquoted(text).split('&');
    // Padding of base64 looks like the end of a key.
    let mut values = parts.flat_map(|part| [form_value(part), part]);
    values.find_map(|value| {
        let percent = value.get(..9).unwrap_or_default().to_ascii_lowercase();
        match percent.as_str() {
            "%ff%d8%ff" | "%89png%0d" => Some("an image as percent-encoded text"),
            _ => image_as(&unescaped(unquoted(value))),
        }
    })
}

fn image_as(value: &str) -> Option<&'static str> {
    let lower = value.to_ascii_lowercase();
    // What is left of a data: URL without its start.
    let data = value.split_once("base64,").map_or(value, |(_, data)| data);
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| lower.starts_with(p));
    if starts(&["data:"]) {
        Some("a data: URL")
    } else if starts(&["http://", "https://", "file://"]) {
        Some("the address of an image")
    } else if is_base64_image(data) {
        Some("an image as base64 text")
    } else if starts(&["ffd8ff", "89504e470d0a", "0xffd8ff", "0x89504e470d0a"]) {
        Some("an image as hexadecimal text")
    } else if starts(&["xffxd8xff", "x89png"]) {
        // The backslashes are gone.
        Some("an image as the text of Python bytes")
    } else {
        None
    }
}

/// A text without the quotation mark that it starts with, which may be that of bytes
/// in Python: `b'...'`.
fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('b').unwrap_or(text);
    let inner = inner.strip_prefix(['"', '\'']).unwrap_or(text);
    inner.trim_start()
}

/// The value in a text such as `image=...`, or the text.
fn form_value(text: &str) -> &str {
    let is_key = |key: &str| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
        (1..=40).contains(&key.len()) && key.chars().all(is_name)
    };
    match text.split_once('=') {
        Some((key, value)) if is_key(key) && !value.trim().is_empty() => value.trim_start(),
        _ => text,
    }
}

/// A text without the backslashes of JSON and Python, and with the characters that a
/// form or a URL writes as `%2F`.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let code = rest.strip_prefix('%').and_then(|code| code.get(..2));
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(code.into());
                rest = &rest[3..];
            }
            None => {
                plain.extend((c != '\\').then_some(c));
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    plain
}

/// Whether a text starts as the base64 of a JPEG, PNG, GIF, WebP, BMP, TIFF, ICO, PNM,
/// QOI, HEIC or AVIF file does, in the usual alphabet or that of URLs.
fn is_base64_image(text: &str) -> bool {
    const STARTS: &[&str] = &[
        "/9j/",
        "iVBORw0KGgo",
        "R0lGOD",
        "UklGR",
        "Qk0",
        "SUkqA",
        "TU0AK",
        "AAABAA",
        "UDYK",
        "UDUK",
        "cW9pZg",
        "AAAA",
    ];
    let standard: String = text
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    let standard = standard.trim_end_matches(|c: char| c.is_whitespace() || "\"'&;".contains(c));
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=\r\n".contains(c);
    STARTS.iter().any(|start| standard.starts_with(start)) && standard.chars().all(is_base64)
}
