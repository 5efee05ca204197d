//! `Content-Encoding` of request bodies: gzip, deflate, br and zstd. The limit
//! on bodies and the memory of requests apply to the decoded bytes.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use brotli_decompressor::Decompressor;
use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

use super::body::too_large;
use super::problem::{Problem, ProblemType};
use crate::core::admission::ByteShare;
use crate::core::limits::Limits;

/// Codings that may be applied one after the other.
const MOST_CODINGS: usize = 3;

/// Bytes that are decoded at a time.
const STEP: usize = 64 * 1024;

/// The largest window of a zstd frame, as RFC 9659 requires of this coding.
const ZSTD_WINDOW: u64 = 8 << 20;

/// Bytes of the tables of a brotli or zstd decoder, at most.
const TABLES: usize = 512 << 10;

/// The codings of a body, in the order in which they were applied.
#[derive(Clone)]
pub(super) struct Codings(Vec<Coding>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Bytes that the decoder allocates, at most.
    fn memory(self, body: &[u8]) -> usize {
        match self {
            Self::Gzip | Self::Deflate => 1 << 16,
            Self::Brotli => brotli_window(body) + TABLES,
            Self::Zstd => zstd_window(body).map_or(0, |window| window as usize) + TABLES,
        }
    }
}

impl Codings {
    /// The codings of a request.
    ///
    /// # Errors
    /// 415 for an unknown coding, or too many of them.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut codings = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let names = value.to_str().map_err(|_| unsupported("?"))?;
            for name in names.split(',').map(str::trim) {
                match name.to_ascii_lowercase().as_str() {
                    "" | "identity" => {}
                    "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                    "deflate" => codings.push(Coding::Deflate),
                    "br" => codings.push(Coding::Brotli),
                    "zstd" => codings.push(Coding::Zstd),
                    _ => return Err(unsupported(name)),
                }
            }
        }
        match codings.len() {
            0..=MOST_CODINGS => Ok(Self(codings)),
            _ => Err(unsupported("a list of more than three codings")),
        }
    }

    pub(super) fn is_identity(&self) -> bool {
        self.0.is_empty()
    }

    /// The decoded body. `share` then counts its bytes instead of those of
    /// `body`.
    ///
    /// # Errors
    /// 400 for a damaged body, 413 above the size limit, 429 when all requests
    /// together are too large.
    pub(super) fn decode(
        &self,
        mut body: Bytes,
        limits: &Limits,
        share: &mut ByteShare,
    ) -> Result<Bytes, Problem> {
        for &coding in self.0.iter().rev() {
            let mut decoded = share.sibling();
            let step = || decode(coding, &body, limits, &mut decoded);
            // A decoder that panics has found a damaged body.
            let whole = catch_unwind(AssertUnwindSafe(step));
            body = whole.unwrap_or_else(|_| Err(damaged(coding, "the decoder failed")))?;
            *share = decoded;
        }
        Ok(body)
    }
}

fn decode(
    coding: Coding,
    body: &[u8],
    limits: &Limits,
    share: &mut ByteShare,
) -> Result<Bytes, Problem> {
    let most = ZSTD_WINDOW.max(limits.max_body as u64);
    if coding == Coding::Zstd && zstd_window(body).is_some_and(|window| window > most) {
        return Err(too_large(limits));
    }
    let mut window = share.sibling();
    window.grow(coding.memory(body))?;
    let mut target = Target {
        whole: Vec::new(),
        limits,
        share,
        coding,
    };
    match coding {
        Coding::Gzip => target.read(MultiGzDecoder::new(body))?,
        Coding::Deflate if is_zlib(body) => target.read(ZlibDecoder::new(body))?,
        // Some clients send the bare format under this name.
        Coding::Deflate => target.read(DeflateDecoder::new(body))?,
        Coding::Brotli => target.read(Decompressor::new(body, STEP))?,
        Coding::Zstd => target.read_frames(body)?,
    }
    Ok(target.whole.into())
}

/// Decoded bytes within the limits.
struct Target<'a> {
    whole: Vec<u8>,
    limits: &'a Limits,
    share: &'a mut ByteShare,
    coding: Coding,
}

impl Target<'_> {
    fn read(&mut self, mut source: impl Read) -> Result<(), Problem> {
        let mut step = vec![0; STEP];
        loop {
            match source.read(&mut step) {
                Ok(0) => return Ok(()),
                Ok(length) => self.append(&step[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(damaged(self.coding, &error.to_string())),
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let length = self.whole.len() + bytes.len();
        if length > self.limits.max_body {
            return Err(too_large(self.limits));
        }
        if length > self.whole.capacity() {
            let capacity = (length + length / 4).min(self.limits.max_body);
            self.share.grow(capacity - self.whole.capacity())?;
            self.whole.reserve_exact(capacity - self.whole.len());
        }
        self.whole.extend_from_slice(bytes);
        Ok(())
    }

    /// A body may be several frames, some of which hold no data.
    fn read_frames(&mut self, mut body: &[u8]) -> Result<(), Problem> {
        while !body.is_empty() {
            let window = zstd_window(body).unwrap_or(0);
            if window > ZSTD_WINDOW.max(self.limits.max_body as u64) {
                return Err(too_large(self.limits));
            }
            match StreamingDecoder::new(&mut body) {
                Ok(frame) => self.read(frame)?,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => body = body.get(length as usize..).unwrap_or_default(),
                Err(error) => return Err(damaged(self.coding, &error.to_string())),
            }
        }
        Ok(())
    }
}

/// Whether the body starts with the header of RFC 1950.
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0
        }
        _ => true,
    }
}

/// Bytes of the window that the body asks for (RFC 7932, section 9.1).
fn brotli_window(body: &[u8]) -> usize {
    let bits = body.first().copied().unwrap_or(0);
    let log = match (bits & 1, bits >> 1 & 7, bits >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, more) => 8 + more,
        (_, more, _) => 17 + more,
    };
    1 << log
}

/// Bytes of the window that the first frame asks for (RFC 8878, section 3.1.1.1).
fn zstd_window(body: &[u8]) -> Option<u64> {
    let frame = body.strip_prefix(&0xfd2f_b528_u32.to_le_bytes())?;
    let (&descriptor, rest) = frame.split_first()?;
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        let window = u64::from(*rest.first()?);
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * (window & 7));
    }
    let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = rest.get(dictionary_id..)?;
    let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let little_endian = size.get(..length)?.iter().rev();
    let size = little_endian.fold(0, |size, &byte| size << 8 | u64::from(byte));
    // A size of two bytes is stored less 256.
    Some(if length == 2 { size + 256 } else { size })
}

fn unsupported(name: &str) -> Problem {
    Problem::new(
        ProblemType::UnsupportedEncoding,
        format!(
            "the content encoding `{}` is not supported; send the body without one, or with gzip, \
             deflate, br or zstd",
            name.escape_default()
        ),
    )
}

fn damaged(coding: Coding, reason: &str) -> Problem {
    Problem::new(
        ProblemType::MalformedRequest,
        format!(
            "the body is not valid {}: {reason}; send it again, or without a content encoding",
            coding.name()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_a_zstd_frame() {
        let frame = |rest: &[u8]| zstd_window(&[b"\x28\xb5\x2f\xfd", rest].concat());
        assert_eq!(frame(&[0x00, 0x58]), Some(2 << 20));
        assert_eq!(frame(&[0x00, 0x59]), Some((2 << 20) + (1 << 18)));
        assert_eq!(frame(&[0x20, 200]), Some(200));
        assert_eq!(frame(&[0x61, 9, 1, 2]), Some(256 + 0x201));
        assert_eq!(frame(&[0xe0, 1, 0, 0, 0, 2, 0, 0, 0]), Some((2 << 32) + 1));
        assert_eq!(frame(&[0xe0, 1]), None);
        assert_eq!(zstd_window(b"PNG"), None);
    }

    #[test]
    fn the_window_of_a_brotli_stream() {
        for (bits, log) in [
            (0b0, 16),
            (0b1, 17),
            (0b0011, 18),
            (0b1111, 24),
            (0b010_0001, 10),
        ] {
            assert_eq!(brotli_window(&[bits]), 1 << log, "{bits:b}");
        }
    }

    #[test]
    fn codings_are_listed_in_any_case_and_unknown_ones_are_rejected() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, value.parse().unwrap());
            Codings::of(&headers).map(|codings| codings.0).ok()
        };
        assert_eq!(of("GZip , br"), Some(vec![Coding::Gzip, Coding::Brotli]));
        assert_eq!(of("identity"), Some(vec![]));
        assert_eq!(of("compress"), None);
        assert_eq!(of("gzip, gzip, gzip, gzip"), None);
    }
}
