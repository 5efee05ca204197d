//! The boxes of a JP2 file (ISO/IEC 15444-1, annex I): where the codestream is, and
//! what its components mean.

use crate::decode::jpeg2000::faults::damaged;
use crate::error::ImageError;
use crate::format::Format;

/// The signature box and the file type box of a JP2 file.
const START: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 ";

/// The parts of a file that the pixels depend on.
pub(super) struct Boxes<'a> {
    /// The boxes of the header, of a JP2 file.
    header: Option<Vec<u8>>,
    pub(super) codestream: &'a [u8],
    pub(super) is_cmyk: bool,
}

impl<'a> Boxes<'a> {
    /// Finds the first header and the first codestream. What follows is ignored.
    ///
    /// # Errors
    /// `Unsupported` for rare colours, `Broken` without a codestream.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut found = Self {
            header: None,
            codestream: bytes,
            is_cmyk: false,
        };
        if bytes.starts_with(b"\xff\x4f") {
            return Ok(found);
        }
        let header = children(bytes).find(|(name, _)| name == b"jp2h");
        let codestream = children(bytes).find(|(name, _)| name == b"jp2c");
        let (_, codestream) = codestream.ok_or_else(|| without_codestream(bytes))?;
        found.codestream = codestream;
        found.header = Some(found.useful(header.map_or(&[], |(_, content)| content))?);
        Ok(found)
    }

    /// The boxes of a header that the pixels depend on.
    fn useful(&mut self, header: &[u8]) -> Result<Vec<u8>, ImageError> {
        let mut boxes = Vec::new();
        let mut has_color = false;
        for (name, content) in children(header) {
            let is_useful = match &name {
                b"pclr" | b"cmap" | b"cdef" => true,
                b"colr" if !has_color => {
                    has_color = true;
                    self.is_color_known(content)?
                }
                _ => false,
            };
            if is_useful {
                push(&mut boxes, &name, content)?;
            }
        }
        Ok(boxes)
    }

    /// Whether the decoder knows these colours. Others are read as grey or RGB, as by
    /// OpenJPEG: those of a profile, and YCbCr with other matrices than sYCC.
    fn is_color_known(&mut self, content: &[u8]) -> Result<bool, ImageError> {
        let &[1, _, _, a, b, c, d, ..] = content else {
            return Ok(false);
        };
        match u32::from_be_bytes([a, b, c, d]) {
            12 | 13 => {
                self.is_cmyk = true;
                Ok(true)
            }
            14 => Err(ImageError::unsupported(
                "a JPEG 2000 image with CIE L*a*b* colours",
            )),
            24 => Err(ImageError::unsupported(
                "a JPEG 2000 image with e-sYCC colours",
            )),
            16..=18 => Ok(true),
            _ => Ok(false),
        }
    }

    /// A file with the boxes and this codestream.
    pub(super) fn file(&self, codestream: &[u8]) -> Result<Vec<u8>, ImageError> {
        let mut file = Vec::new();
        if let Some(header) = &self.header {
            file.extend_from_slice(START);
            push(&mut file, b"jp2h", header)?;
            // A box of length 0 ends with the file.
            file.extend_from_slice(b"\0\0\0\0jp2c");
        }
        file.extend_from_slice(codestream);
        Ok(file)
    }
}

/// The error for a file that has no codestream where JP2 has it.
fn without_codestream(bytes: &[u8]) -> ImageError {
    match children(bytes).any(|(name, _)| &name == b"moov") {
        true => ImageError::unsupported("a Motion JPEG 2000 video"),
        false => ImageError::truncated(Format::Jpeg2000),
    }
}

/// Appends a box.
fn push(to: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) -> Result<(), ImageError> {
    let length = u32::try_from(content.len() + 8).map_err(|_| damaged())?;
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(name);
    to.extend_from_slice(content);
    Ok(())
}

/// The names and contents of boxes, up to the first that has no valid length. A box
/// that is longer than what is left ends there.
fn children(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (&[a, b, c, d, ref name @ ..], content) = rest.split_first_chunk::<8>()?;
        let (length, content) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (content.len(), content),
            1 => {
                let (length, content) = content.split_first_chunk::<8>()?;
                let length = u64::from_be_bytes(*length).checked_sub(16)?;
                (usize::try_from(length).ok()?, content)
            }
            length => (length.checked_sub(8)? as usize, content),
        };
        let (content, after) = content.split_at(length.min(content.len()));
        rest = after;
        Some((*name, content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_all_kinds_of_length_are_found() {
        let file = [
            START,
            b"\0\0\0\x09junkx",
            b"\0\0\0\x01jp2h\0\0\0\0\0\0\0\x1f",
            b"\0\0\0\x0fcolr\x01\0\0\0\0\0\x10",
            b"\0\0\0\x0bjp2cone\0\0\0\x0bjp2ctwo\0\0",
        ];
        let file = file.concat();
        let boxes = Boxes::read(&file).unwrap();
        assert_eq!(boxes.codestream, b"one");
        assert!(!boxes.is_cmyk);
        let header = b"\0\0\0\x17jp2h\0\0\0\x0fcolr\x01\0\0\0\0\0\x10";
        let expected = [START, header, b"\0\0\0\0jp2cone"].concat();
        assert_eq!(boxes.file(b"one").unwrap(), expected);
        for (codestream, expected) in [
            (&b"\0\0\0\0jp2call"[..], &b"all"[..]),
            (b"\0\0\0\xffjp2call", b"all"),
        ] {
            let file = [START, codestream].concat();
            assert_eq!(Boxes::read(&file).unwrap().codestream, expected);
        }
        assert!(Boxes::read(START).is_err());
    }
}
