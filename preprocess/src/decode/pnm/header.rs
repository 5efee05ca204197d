//! The headers of PNM: those of PBM, PGM and PPM, which are numbers, and that of
//! PAM, which has a keyword in each line.

use crate::decode::pnm::broken;
use crate::error::ImageError;

/// How the samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Digits 0 (white) and 1 (black).
    PlainBits,
    /// Decimal numbers.
    Plain,
    /// Bits, of which 1 is black, in rows of whole bytes.
    Bits,
    /// One byte, or two with the higher one first.
    Binary,
}

/// What a header says, and what follows it.
#[derive(Debug)]
pub(super) struct Header<'a> {
    /// Width and height in pixels.
    pub size: [u32; 2],
    /// Samples per pixel: 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha).
    pub channels: usize,
    /// The value of white, from 1 to 65535.
    pub max: u16,
    /// How the samples are written.
    pub coding: Coding,
    /// The samples.
    pub data: &'a [u8],
}

/// Whether bytes start as a PNM does. As "P1" to "P7" also start ordinary text, the
/// width and the height or a keyword must follow, unless the file ends before.
pub(crate) fn is_pnm(bytes: &[u8]) -> bool {
    let (kind, after) = match bytes {
        [b'P', kind @ b'1'..=b'7', after @ ..] => (kind, after),
        _ => return false,
    };
    if !matches!(after, [next, ..] if is_space(*next) || *next == b'#') {
        return false;
    }
    let mut tokens = Tokens { rest: after };
    match kind {
        b'7' => matches!(
            tokens.next(),
            Some(b"WIDTH" | b"HEIGHT" | b"DEPTH" | b"MAXVAL" | b"TUPLTYPE") | None
        ),
        _ => (0..2).all(|_| tokens.next().is_none_or(|token| number(token).is_some())),
    }
}

impl<'a> Header<'a> {
    /// Reads the header of a file for which [`is_pnm`] is true.
    ///
    /// # Errors
    /// `Broken`, or `Unsupported` for unusual samples of PAM.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let (coding, channels) = match bytes[1] {
            b'1' => (Coding::PlainBits, 1),
            b'2' => (Coding::Plain, 1),
            b'3' => (Coding::Plain, 3),
            b'4' => (Coding::Bits, 1),
            b'5' => (Coding::Binary, 1),
            b'6' => (Coding::Binary, 3),
            _ => return pam(&bytes[2..]),
        };
        let mut tokens = Tokens { rest: &bytes[2..] };
        let mut next = |name| value(tokens.next(), name);
        let size = [next("width")?, next("height")?];
        let max = match coding {
            Coding::PlainBits | Coding::Bits => 1,
            _ => maximum(next("maximum value")?)?,
        };
        Ok(Self {
            size,
            channels,
            max,
            coding,
            data: after_header(tokens.rest),
        })
    }
}

/// What follows the one character, or comment, that ends a header.
fn after_header(rest: &[u8]) -> &[u8] {
    let comment = rest
        .starts_with(b"#")
        .then(|| memchr::memchr2(b'\n', b'\r', rest));
    let end = comment.flatten().unwrap_or(0);
    rest.get(end + 1..).unwrap_or_default()
}

/// PAM: lines with a keyword and a value, in any order.
fn pam(mut rest: &[u8]) -> Result<Header<'_>, ImageError> {
    let [mut width, mut height, mut depth, mut max] = [None; 4];
    let mut kind: &[u8] = b"";
    loop {
        let end = memchr::memchr(b'\n', rest);
        let end = end.ok_or_else(|| broken("the file ends in its header"))?;
        let mut tokens = Tokens { rest: &rest[..end] };
        rest = &rest[end + 1..];
        match tokens.next() {
            None => {}
            Some(b"ENDHDR") => break,
            Some(b"WIDTH") => width = tokens.next(),
            Some(b"HEIGHT") => height = tokens.next(),
            Some(b"DEPTH") => depth = tokens.next(),
            Some(b"MAXVAL") => max = tokens.next(),
            Some(b"TUPLTYPE") => kind = tokens.next().unwrap_or_default(),
            Some(_) => return Err(broken("its header has an unknown line")),
        }
    }
    let channels = match value(depth, "depth")? {
        depth @ 1..=4 => depth as usize,
        depth => {
            let found = format!("a PAM image with {depth} samples per pixel");
            return Err(ImageError::unsupported(found));
        }
    };
    match kind.strip_suffix(b"_ALPHA").unwrap_or(kind) {
        b"" | b"BLACKANDWHITE" | b"GRAYSCALE" | b"RGB" => {}
        _ => {
            let found = "a PAM image with other colours than grey or RGB";
            return Err(ImageError::unsupported(found));
        }
    }
    Ok(Header {
        size: [value(width, "width")?, value(height, "height")?],
        channels,
        max: maximum(value(max, "maximum value")?)?,
        coding: Coding::Binary,
        data: rest,
    })
}

fn value(token: Option<&[u8]>, name: &str) -> Result<u32, ImageError> {
    let value = token.and_then(number);
    value.ok_or_else(|| broken(format!("its header has no {name}")))
}

fn maximum(value: u32) -> Result<u16, ImageError> {
    let value = u16::try_from(value).ok().filter(|value| *value > 0);
    value.ok_or_else(|| broken("its maximum value is not between 1 and 65535"))
}

/// A decimal number. One that is too large becomes the largest.
pub(super) fn number(token: &[u8]) -> Option<u32> {
    token.iter().try_fold(0_u32, |value, &c| {
        let digit = (c as char).to_digit(10)?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13)
}

/// The words of a text, without comments. A comment ends with its line.
pub(super) struct Tokens<'a> {
    /// What follows the last word.
    pub rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// Skips spaces and comments.
    pub(super) fn skip_spaces(&mut self) {
        while let Some((&byte, rest)) = self.rest.split_first() {
            if byte == b'#' {
                let end = memchr::memchr2(b'\n', b'\r', rest);
                self.rest = end.map_or(&[], |end| &rest[end..]);
            } else if is_space(byte) {
                self.rest = rest;
            } else {
                break;
            }
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.skip_spaces();
        let ends = |&byte: &u8| is_space(byte) || byte == b'#';
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }
}
