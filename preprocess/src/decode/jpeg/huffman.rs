//! Huffman decoding of blocks (ITU-T T.81, annex F.2.2). One table lookup decodes
//! up to two symbols. The table contains the value of the first; the value of the
//! second is read from the bits.

use crate::decode::jpeg::bits::{BitReader, EntropySegments};
use crate::decode::jpeg::header::HuffmanDefinition;

/// The number of bits that index the lookup table.
const PEEK: u32 = 10;

/// The run length that stands for the end of the block: it moves past the last
/// coefficient, from any position.
const END_OF_BLOCK: u8 = 128;

/// The coefficients of a block in row order. Invalid positions are written to the
/// elements from 64 on; there are 256 elements so that no index needs a bounds
/// check.
pub(crate) type Block = [i16; 256];

/// The position in row order of the k-th coefficient in zigzag order (figure A.6).
/// All coefficients beyond the 64th go to position 64.
#[rustfmt::skip]
pub(crate) const ZIGZAG: [u8; 256] = {
    let coded = [
         0,  1,  8, 16,  9,  2,  3, 10,
        17, 24, 32, 25, 18, 11,  4,  5,
        12, 19, 26, 33, 40, 48, 41, 34,
        27, 20, 13,  6,  7, 14, 21, 28,
        35, 42, 49, 56, 57, 50, 43, 36,
        29, 22, 15, 23, 30, 37, 44, 51,
        58, 59, 52, 45, 38, 31, 39, 46,
        53, 60, 61, 54, 47, 55, 62, 63,
    ];
    let mut all = [64; 256];
    let mut k = 0;
    while k < 64 {
        all[k] = coded[k];
        k += 1;
    }
    all
};

/// The next bits match no code of the table.
#[derive(Debug)]
pub(crate) struct InvalidCode;

/// A code with the meaning of its symbol.
#[derive(Clone, Copy, Default)]
struct HuffmanCode {
    /// Length of the code in bits; 0 if there is no code.
    length: u8,
    /// Zero coefficients before the value, or `END_OF_BLOCK`.
    run: u8,
    /// Bits of the value, which follow the code.
    size: u8,
}

/// An entry of the lookup table: one or two symbols. "Last" is the second symbol,
/// or the only one.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct LookupEntry {
    /// Bits of all codes and values.
    bits: u8,
    /// Bits before the value of the last symbol.
    before: u8,
    /// 63 minus the number of bits of that value.
    shift: u8,
    /// Coefficients of the first symbol; 0 if there is only one symbol. 64 marks
    /// [`NOT_IN_TABLE`].
    first: u8,
    /// Zero coefficients before the value of the first symbol.
    first_run: u8,
    /// The value of the first symbol.
    first_value: i8,
    /// Zero coefficients before the value of the last symbol, or `END_OF_BLOCK`.
    run: u8,
}

/// The entry for codes longer than `PEEK` bits and for invalid codes. Its number
/// of coefficients exceeds every block, which selects the slow path.
const NOT_IN_TABLE: LookupEntry = LookupEntry {
    first: 64,
    ..LookupEntry::one(HuffmanCode {
        length: 0,
        run: 0,
        size: 0,
    })
};

impl LookupEntry {
    /// An entry of one symbol.
    const fn one(last: HuffmanCode) -> Self {
        Self {
            bits: last.length + last.size,
            before: last.length,
            shift: 63 - last.size,
            first: 0,
            first_run: 0,
            first_value: 0,
            run: last.run,
        }
    }

    /// An entry of two symbols, the first of which has the given value.
    fn two(first: HuffmanCode, value: i8, last: HuffmanCode) -> Self {
        let before = first.length + first.size;
        let last = Self::one(last);
        Self {
            bits: before + last.bits,
            before: before + last.before,
            first: first.run + 1,
            first_run: first.run,
            first_value: value,
            ..last
        }
    }

    /// The value of the last symbol. `window` starts with the first bit of the
    /// entry. This is EXTEND (figure F.12): a value whose first bit is 0 is
    /// negative. It equals its bits after a sign bit of 1, plus one.
    #[inline(always)]
    fn value(&self, window: u64) -> i16 {
        let bits = window.wrapping_shl(self.before.into()) as i64;
        let signed = (bits >> 1) ^ i64::MIN;
        let negative = (signed as u64 >> 63) as i16;
        (signed.wrapping_shr(self.shift.into()) as i16).wrapping_add(negative)
    }
}

/// A Huffman table prepared for decoding.
pub(crate) struct HuffmanTable<'a> {
    entries: Box<[LookupEntry; 1 << PEEK]>,
    /// For each code length, the smallest 16-bit prefix above all codes of that
    /// length.
    limits: [u32; 17],
    /// For each code length, the (wrapping) difference between a code and the
    /// index of its symbol.
    offsets: [usize; 17],
    symbols: &'a [u8],
    ac: bool,
}

impl<'a> HuffmanTable<'a> {
    /// A table for AC coefficients if `ac`, otherwise for DC differences. `None` if
    /// a length has more codes than its number of bits allows.
    pub(crate) fn new(definition: HuffmanDefinition<'a>, ac: bool) -> Option<Self> {
        let mut table = Self {
            entries: Box::new([NOT_IN_TABLE; 1 << PEEK]),
            limits: [0; 17],
            offsets: [0; 17],
            symbols: definition.symbols,
            ac,
        };
        let mut short = [HuffmanCode::default(); 1 << PEEK];
        let (mut next, mut index) = (0, 0);
        for (length, &count) in (1..=16).zip(definition.counts) {
            next <<= 1;
            table.offsets[length] = usize::wrapping_sub(index, next);
            for &symbol in &definition.symbols[index..index + usize::from(count)] {
                if next >= 1 << length {
                    return None;
                }
                if let Some(spare) = (PEEK as usize).checked_sub(length) {
                    let code = HuffmanCode::new(symbol, length, ac).unwrap_or_default();
                    short[next << spare..(next + 1) << spare].fill(code);
                }
                next += 1;
            }
            index += usize::from(count);
            table.limits[length] = (next << (16 - length)) as u32;
        }
        for (bits, entry) in table.entries.iter_mut().enumerate() {
            let first = short[bits];
            if first.length == 0 {
                continue;
            }
            *entry = LookupEntry::one(first);
            let used = u32::from(first.length + first.size);
            if ac && first.run != END_OF_BLOCK && used < PEEK {
                let last = short[(bits << used) % (1 << PEEK)];
                if last.length > 0 && used + u32::from(last.length) <= PEEK {
                    let value = entry.value((bits as u64) << (64 - PEEK));
                    *entry = LookupEntry::two(first, value as i8, last);
                }
            }
        }
        Some(table)
    }

    /// Decodes one symbol without the lookup table (figure F.16). `window` starts
    /// with its code.
    #[cold]
    #[inline(never)]
    fn decode_slowly(&self, window: u64) -> Result<LookupEntry, InvalidCode> {
        let next = (window >> 48) as u32;
        let shorter = self.limits[1..].iter().filter(|&&limit| limit <= next);
        let length = 1 + shorter.count();
        if length > 16 {
            return Err(InvalidCode);
        }
        let code = (next >> (16 - length)) as usize;
        let symbol = self.symbols.get(code.wrapping_add(self.offsets[length]));
        let code = symbol.and_then(|&symbol| HuffmanCode::new(symbol, length, self.ac));
        code.map(LookupEntry::one).ok_or(InvalidCode)
    }

    /// The lookup entry for the first bits of `window`.
    #[inline(always)]
    fn entry(&self, window: u64) -> &LookupEntry {
        &self.entries[(window >> (64 - PEEK)) as usize]
    }
}

impl HuffmanCode {
    /// `None` if the symbol is invalid for baseline coding (tables F.1 and F.2).
    fn new(symbol: u8, length: usize, ac: bool) -> Option<Self> {
        let (run, size) = if ac {
            (symbol >> 4, symbol & 15)
        } else {
            (0, symbol)
        };
        let end_of_block = ac && size == 0 && run < 15;
        let max_size = if ac { 10 } else { 11 };
        (size <= max_size).then_some(Self {
            length: length as u8,
            run: if end_of_block { END_OF_BLOCK } else { run },
            size,
        })
    }
}

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
    }
    reader.consume(entry.bits);
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
    }
    reader.consume(entry.bits);
    apply(entry, window);
    Ok(())
}
