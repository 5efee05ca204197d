//! Decodes the blocks of sequential scans (ITU-T T.81, annex F.2.2).

use crate::decode::jpeg::bits::{BitReader, EntropySegments, InvalidCode};
use crate::decode::jpeg::huffman::{END_OF_BLOCK, HuffmanTable, LookupEntry};
use crate::decode::jpeg::zigzag::ZIGZAG;

/// The coefficients of a block in row order. Invalid positions are written to the
/// elements from 64 on; there are 256 elements so that no index needs a bounds
/// check.
pub(crate) type Block = [i16; 256];

/// Decodes one block into `block`, which must be zero. `prediction` is the DC
/// coefficient of the previous block and is updated. Only the first `needed`
/// coefficients (in zigzag order) are stored; the others are skipped. Returns how
/// many of the stored coefficients may be nonzero.
#[inline(always)]
pub(crate) fn decode_block(
    segments: &mut EntropySegments,
    [dc, ac]: [&HuffmanTable; 2],
    prediction: &mut i32,
    needed: usize,
    block: &mut Block,
) -> Result<usize, InvalidCode> {
    let mut reader = segments.reader();
    let result = read_block(&mut reader, [dc, ac], prediction, needed, block);
    let position = reader.position;
    segments.seek(position);
    result
}

#[inline(always)]
fn read_block(
    reader: &mut BitReader,
    [dc, ac]: [&HuffmanTable; 2],
    prediction: &mut i32,
    needed: usize,
    block: &mut Block,
) -> Result<usize, InvalidCode> {
    reader.refill();
    let window = reader.window();
    let slow;
    let mut entry = dc.entry(window);
    if entry.first > 0 {
        slow = dc.decode_slowly(window)?;
        entry = &slow;
        reader.consume(entry.bits);
        reader.refill();
    } else {
        reader.consume(entry.bits);
    }
    *prediction = prediction.wrapping_add(entry.value(window).into());
    block[0] = *prediction as i16;
    let mut k = 1;
    while k < needed {
        read_coefficients(reader, ac, &mut k, block)?;
        if k >= needed {
            break;
        }
        reader.refill();
        read_coefficients(reader, ac, &mut k, block)?;
    }
    let reached = if k > usize::from(END_OF_BLOCK) {
        k - usize::from(END_OF_BLOCK) - 1
    } else {
        k.min(64)
    };
    while k < 64 {
        skip_coefficients(reader, ac, &mut k)?;
        if k >= 64 {
            break;
        }
        reader.refill();
        skip_coefficients(reader, ac, &mut k)?;
    }
    Ok(reached)
}

/// Stores the next one or two symbols at position `k` and advances it.
#[inline(always)]
fn read_coefficients(
    reader: &mut BitReader,
    ac: &HuffmanTable,
    k: &mut usize,
    block: &mut Block,
) -> Result<(), InvalidCode> {
    look_up(reader, ac, *k, |entry, window| {
        let first = ZIGZAG[(*k + usize::from(entry.first_run)) % 256];
        block[usize::from(first)] = entry.first_value.into();
        *k += usize::from(entry.first) + usize::from(entry.run);
        block[usize::from(ZIGZAG[*k % 256])] = entry.value(window);
        *k += 1;
    })
}

/// Skips the next one or two symbols at position `k` and advances it.
#[inline(always)]
fn skip_coefficients(
    reader: &mut BitReader,
    ac: &HuffmanTable,
    k: &mut usize,
) -> Result<(), InvalidCode> {
    look_up(reader, ac, *k, |entry, _| {
        *k += usize::from(entry.first) + usize::from(entry.run) + 1;
    })
}

/// Looks up the symbols at position `k`, consumes their bits, and calls `apply`
/// with the entry and the window that starts with it.
#[inline(always)]
fn look_up(
    reader: &mut BitReader,
    ac: &HuffmanTable,
    k: usize,
    apply: impl FnOnce(&LookupEntry, u64),
) -> Result<(), InvalidCode> {
    let window = reader.window();
    let slow;
    let mut entry = ac.entry(window);
    // If the first symbol completes the block, the second belongs to the next block.
    if k + usize::from(entry.first) > 63 {
        slow = ac.decode_slowly(window)?;
        entry = &slow;
        reader.consume(entry.bits);
        reader.refill();
    } else {
        reader.consume(entry.bits);
    }
    apply(entry, window);
    Ok(())
}
