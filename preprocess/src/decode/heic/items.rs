//! Bounds what the parser of `heic-decoder` copies. It copies the bytes of an item
//! each time that the item is referred to, and an item may name the same bytes of
//! the file many times.

use crate::error::ImageError;
use crate::format::Format;

/// The largest ratio of copied bytes to the bytes of the file. It is far above what
/// is copied, because the largest item counts for all references.
const MAX_RATIO: u64 = 96;

/// Copies that are allowed in any file, in bytes.
const LEAST: u64 = 4 << 20;

/// Items that are copied without a reference, such as metadata.
const OTHER_ITEMS: u64 = 8;

/// Checks the largest item times the number of references. The boxes are found by
/// their names, wherever they are, so that no box that the parser finds is missed.
///
/// # Errors
/// `Broken` if the items overlap so much that the file would grow when it is read.
pub(super) fn check(bytes: &[u8]) -> Result<(), ImageError> {
    let largest = boxes(bytes, b"iloc").filter_map(largest_item).max();
    let configuration = boxes(bytes, b"hvcC").map(|body| body.len() as u64).max();
    let largest = largest.unwrap_or(0).max(configuration.unwrap_or(0));
    // An entry has an identifier of two bytes at least.
    let references: u64 = boxes(bytes, b"iref")
        .map(|body| body.len() as u64 / 2)
        .sum();
    let copied = largest.saturating_mul(references + OTHER_ITEMS);
    let limit = (bytes.len() as u64).saturating_mul(MAX_RATIO);
    if copied > limit.max(LEAST) {
        return Err(ImageError::broken(
            Format::Heic,
            "its items are larger than the file",
        ));
    }
    Ok(())
}

/// The content of all boxes with this name, including what only looks like one.
fn boxes<'a>(bytes: &'a [u8], name: &'a [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
    memchr::memmem::find_iter(bytes, name).filter_map(move |at| {
        let size = bytes.get(at.checked_sub(4)?..at)?;
        let size = u32::from_be_bytes(size.try_into().ok()?) as usize;
        let rest = &bytes[at + 4..];
        match size {
            // To the end of what contains it, or a size of 64 bits.
            0 | 1 => Some(rest),
            size => rest.get(..size.checked_sub(8)?),
        }
    })
}

/// The bytes of the largest item in an `iloc` box (ISO/IEC 14496-12, 8.11.3).
/// `None` if none can be read.
fn largest_item(body: &[u8]) -> Option<u64> {
    let mut rest = body;
    let version = uint(&mut rest, 1)?;
    uint(&mut rest, 3)?;
    let sizes = uint(&mut rest, 2)?;
    let [offset, length, base, index] = [12, 8, 4, 0].map(|shift| (sizes >> shift & 15) as usize);
    let wide = if version < 2 { 2 } else { 4 };
    let count = uint(&mut rest, wide)?;
    let mut largest = None;
    for _ in 0..count {
        let item = (|| {
            uint(&mut rest, wide)?;
            if version > 0 {
                uint(&mut rest, 2)?;
            }
            uint(&mut rest, 2)?;
            uint(&mut rest, base)?;
            let extents = uint(&mut rest, 2)?;
            let mut total = 0_u64;
            for _ in 0..extents {
                uint(&mut rest, if version > 0 { index } else { 0 })?;
                uint(&mut rest, offset)?;
                total = total.saturating_add(uint(&mut rest, length)?);
            }
            Some(total)
        })();
        // The parser stops at the first entry that is incomplete.
        let Some(item) = item else { break };
        largest = largest.max(Some(item));
    }
    largest
}

/// The next big-endian number of `length` bytes.
fn uint(rest: &mut &[u8], length: usize) -> Option<u64> {
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes.iter().fold(0, |value, &b| value << 8 | u64::from(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one item of `extents` times 1000 bytes and some references.
    fn file(extents: u16, references: usize) -> Vec<u8> {
        let mut iloc = vec![0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0];
        iloc.extend(extents.to_be_bytes());
        for _ in 0..extents {
            iloc.extend([0, 0, 0, 0, 0, 0, 3, 232]);
        }
        let mut file = Vec::new();
        for (name, body) in [(b"iloc", iloc), (b"iref", vec![0; 2 * references])] {
            file.extend((body.len() as u32 + 8).to_be_bytes());
            file.extend(name);
            file.extend(body);
        }
        file
    }

    #[test]
    fn items_that_repeat_the_file_are_refused() {
        assert_eq!(check(&file(1, 48)), Ok(()));
        assert_eq!(check(&file(20, 48)), Ok(()));
        for (extents, references) in [(1, 60_000), (60_000, 0), (2000, 1000)] {
            let result = check(&file(extents, references));
            assert!(result.is_err(), "{extents}, {references}");
        }
    }
}
