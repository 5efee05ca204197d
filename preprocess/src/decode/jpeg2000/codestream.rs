//! The framing of a codestream (ISO/IEC 15444-1, annex A): the main header and the
//! tile-parts. A copy is written in which all lengths are stated and the end mark is
//! there, without the segments that only describe or index the data.

use std::collections::BTreeMap;

use crate::decode::jpeg2000::faults::damaged;
use crate::decode::jpeg2000::parts::{Parts, SHARE, Styles};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

const START_OF_TILE_PART: u8 = 0x90;
const START_OF_DATA: u8 = 0x93;
const END: &[u8] = b"\xff\xd9";

/// A codestream that is rewritten.
pub(super) struct Codestream {
    pub(super) bytes: Vec<u8>,
    /// Whether the framing shows that no data is missing.
    pub(super) is_complete: bool,
}

impl Codestream {
    /// Copies `bytes`. What follows the end is ignored.
    ///
    /// # Errors
    /// `Broken` if a tile-part is incomplete, `Unsupported` for rare codings.
    pub(super) fn read(bytes: &[u8], budget: &Budget<'_>) -> Result<Self, ImageError> {
        let mut rest = bytes.strip_prefix(b"\xff\x4f").ok_or_else(damaged)?;
        let (_, size) = segment(&mut rest)?;
        let mut parts = Parts::new(size)?;
        let [width, height] = parts.size;
        budget.check_share(Format::Jpeg2000, width, height, SHARE)?;
        let mut copy = bytes[..bytes.len() - rest.len()].to_vec();
        let mut styles = Styles::default();
        while marker(rest)? != START_OF_TILE_PART {
            let before = rest;
            let (code, content) = segment(&mut rest)?;
            styles.read(code, content)?;
            if matches!(code, 0x52 | 0x53 | 0x5c..=0x60) {
                copy.extend_from_slice(&before[..before.len() - rest.len()]);
            }
        }
        let work = parts.add_image(&styles);
        parts.check(budget)?;
        budget.spend(Format::Jpeg2000, work)?;
        let mut tiles = TileParts::default();
        while rest.starts_with(&[0xff, START_OF_TILE_PART]) {
            let (tile, header) = tiles.copy(&mut rest, &mut copy)?;
            let own = own_styles(header, &styles)?;
            let work = own.map_or(0, |own| parts.add_tile(tile, &own));
            parts.check(budget)?;
            budget.spend(Format::Jpeg2000, work)?;
        }
        let has_end = rest.starts_with(END);
        if !has_end && !tiles.are_all(&parts) {
            return Err(ImageError::truncated(Format::Jpeg2000));
        }
        copy.extend_from_slice(END);
        Ok(Self {
            bytes: copy,
            // One byte may be half of the end mark.
            is_complete: has_end || (tiles.has_all_lengths && rest.len() < 2),
        })
    }
}

/// What is known about the tile-parts.
struct TileParts {
    /// For each tile, the parts that are there and the parts that there should be,
    /// if that is stated.
    counts: BTreeMap<u16, [u8; 2]>,
    has_all_lengths: bool,
}

impl Default for TileParts {
    fn default() -> Self {
        Self {
            counts: BTreeMap::new(),
            has_all_lengths: true,
        }
    }
}

impl TileParts {
    /// Copies the tile-part at the start of `rest`. Returns the index of the tile and
    /// what follows the first segment.
    fn copy<'a>(
        &mut self,
        rest: &mut &'a [u8],
        to: &mut Vec<u8>,
    ) -> Result<(u16, &'a [u8]), ImageError> {
        let truncated = || ImageError::truncated(Format::Jpeg2000);
        let start: &[u8; 12] = rest.first_chunk().ok_or_else(truncated)?;
        let &[_, _, 0, 10, t0, t1, l0, l1, l2, l3, _, count] = start else {
            return Err(damaged());
        };
        let tile = u16::from_be_bytes([t0, t1]);
        let length = match u32::from_be_bytes([l0, l1, l2, l3]) {
            0 => self.length_of_last(rest),
            length => length as usize,
        };
        let (part, after) = rest.split_at_checked(length).ok_or_else(truncated)?;
        let header = part.get(12..).ok_or_else(damaged)?;
        let written = u32::try_from(length).map_err(|_| damaged())?;
        to.extend_from_slice(&part[..6]);
        to.extend_from_slice(&written.to_be_bytes());
        to.extend_from_slice(&part[10..]);
        let [found, stated] = self.counts.entry(tile).or_default();
        *found = found.saturating_add(1);
        *stated = count.max(*stated);
        *rest = after;
        Ok((tile, header))
    }

    /// The length of a tile-part that does not state it: up to the end mark. Data
    /// cannot contain the mark.
    fn length_of_last(&mut self, rest: &[u8]) -> usize {
        let end = memchr::memmem::find(rest, END);
        self.has_all_lengths &= end.is_some();
        end.unwrap_or(rest.len())
    }

    /// Whether all tile-parts are there.
    fn are_all(&self, parts: &Parts) -> bool {
        let is_whole = |[found, stated]: &[u8; 2]| found >= stated;
        self.counts.len() as u64 == parts.tiles() && self.counts.values().all(is_whole)
    }
}

/// The styles of a tile whose header changes them.
fn own_styles(mut header: &[u8], styles: &Styles) -> Result<Option<Styles>, ImageError> {
    let mut own = None;
    // Some files have tile-parts that end before their data.
    while !header.is_empty() && marker(header)? != START_OF_DATA {
        let (code, content) = segment(&mut header)?;
        if matches!(code, 0x52 | 0x53) {
            let own = own.get_or_insert_with(|| styles.clone());
            own.read(code, content)?;
        }
    }
    Ok(own)
}

/// The code of the marker at the start of `rest`.
fn marker(rest: &[u8]) -> Result<u8, ImageError> {
    match rest {
        [0xff, code, ..] => Ok(*code),
        [] | [0xff] => Err(ImageError::truncated(Format::Jpeg2000)),
        _ => Err(damaged()),
    }
}

/// The code and the content of the marker segment at the start of `rest`.
fn segment<'a>(rest: &mut &'a [u8]) -> Result<(u8, &'a [u8]), ImageError> {
    let truncated = || ImageError::truncated(Format::Jpeg2000);
    let code = marker(rest)?;
    let after = &rest[2..];
    // These markers have no content.
    if matches!(code, 0x30..=0x3f) {
        *rest = after;
        return Ok((code, &[]));
    }
    let length = after.first_chunk().ok_or_else(truncated)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (content, after) = after.split_at_checked(length).ok_or_else(truncated)?;
    *rest = after;
    Ok((code, content.get(2..).ok_or_else(damaged)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    /// A codestream of 4 x 4 samples with one tile-part that states this length.
    fn codestream(length: u32) -> Vec<u8> {
        let mut bytes = b"\xff\x4f\xff\x51\0\x29\0\0".to_vec();
        for number in [4, 4, 0, 0, 4, 4, 0, 0_u32] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(b"\0\x01\x07\x01\x01\xff\x57\0\x03\0\xff\x90\0\x0a\0\0");
        bytes.extend(length.to_be_bytes());
        bytes.extend(b"\0\x01\xff\x93abc\xff\xd9junk");
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Codestream, ImageError> {
        Codestream::read(bytes, &Budget::new(&Limits::default(), &|| false))
    }

    #[test]
    fn lengths_and_the_end_are_written_and_indices_are_not() {
        let expected = codestream(17);
        let index = memchr::memmem::find(&expected, b"\xff\x57").unwrap();
        let end = expected.len() - 4;
        let expected = [&expected[..index], &expected[index + 5..end]].concat();
        for length in [17, 0] {
            let bytes = codestream(length);
            let found = read(&bytes).unwrap();
            assert_eq!(found.bytes, expected, "{length}");
            assert!(found.is_complete, "{length}");
            let without_end = read(&bytes[..end - 2]).unwrap();
            assert_eq!(without_end.bytes, expected, "{length}");
            assert_eq!(without_end.is_complete, length > 0);
        }
    }

    #[test]
    fn wrong_lengths_of_tile_parts_are_damage() {
        for length in [1, 5, 6, 11, 13, 30, u32::MAX] {
            let result = read(&codestream(length)).err();
            assert!(
                matches!(result, Some(ImageError::Broken { .. })),
                "{length}"
            );
        }
    }
}
