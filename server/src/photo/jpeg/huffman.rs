//! Huffman decoding (ITU-T T.81, annex F.2.2) with tables that look up two
//! symbols at once: all of the first, and the second but for its value.

use super::bits::{Bits, Reader};
use super::header::Codes;

/// Bits that one look-up sees.
const PEEK: u32 = 10;

/// Zero coefficients before the value of a symbol that ends its block: beyond
/// any other position.
const END: u8 = 128;

/// A block's coefficients, row by row, and room for what is written beyond:
/// any byte is an index, so that no check is needed.
pub(super) type Block = [i16; 256];

/// The position in a block (row by row) of the k-th coefficient as coded
/// (figure A.6); those beyond the 64th go beyond the block.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 256] = {
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

/// The bits hold no code of the table.
#[derive(Debug)]
pub(super) struct NoSuchCode;

/// One code: what it stands for.
#[derive(Clone, Copy, Default)]
struct Code {
    /// Its length in bits; 0 for none.
    length: u8,
    /// Zero coefficients before the value, or `END`.
    run: u8,
    /// Bits of the value, which follow the code.
    size: u8,
}

/// One look-up.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Entry {
    /// Bits of both symbols.
    bits: u8,
    /// Bits before the last symbol's value.
    before: u8,
    /// 63 less the bits of that value.
    shift: u8,
    /// Coefficients that the first symbol stands for: 0 if there is but one,
    /// `LONG` if the code is longer than `PEEK`.
    first: u8,
    /// Zero coefficients before the first symbol's value.
    first_run: u8,
    /// The first symbol's value.
    first_value: i8,
    /// Zero coefficients before the last symbol's value, or `END`.
    run: u8,
}

/// In place of an entry for codes that are not in the table: more coefficients
/// than there are.
const LONG: Entry = Entry {
    first: 64,
    ..Entry::one(Code {
        length: 0,
        run: 0,
        size: 0,
    })
};

impl Entry {
    const fn one(last: Code) -> Self {
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

    fn two(first: Code, value: i8, last: Code) -> Self {
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

    /// The last symbol's value, `window` beginning with the entry. EXTEND
    /// (figure F.12): values that begin with a 0 are negative, and one more
    /// than the bits say behind a sign.
    #[inline(always)]
    fn value(&self, window: u64) -> i16 {
        let bits = window.wrapping_shl(self.before.into()) as i64;
        let signed = (bits >> 1) ^ i64::MIN;
        let negative = (signed as u64 >> 63) as i16;
        (signed.wrapping_shr(self.shift.into()) as i16).wrapping_add(negative)
    }
}

/// A Huffman table, made ready.
pub(super) struct Table<'a> {
    entries: Box<[Entry; 1 << PEEK]>,
    /// By length: the first 16 bits that are beyond all codes so long.
    limits: [u32; 17],
    /// By length: what leads from a code to the place of its symbol.
    offsets: [usize; 17],
    symbols: &'a [u8],
    ac: bool,
}

impl<'a> Table<'a> {
    /// A table for DC differences, or for AC coefficients. `None` if there are
    /// more codes than fit their lengths.
    pub(super) fn new(codes: Codes<'a>, ac: bool) -> Option<Self> {
        let mut table = Self {
            entries: Box::new([LONG; 1 << PEEK]),
            limits: [0; 17],
            offsets: [0; 17],
            symbols: codes.symbols,
            ac,
        };
        let mut short = [Code::default(); 1 << PEEK];
        let (mut next, mut index) = (0, 0);
        for (length, &count) in (1..=16).zip(codes.counts) {
            next <<= 1;
            table.offsets[length] = usize::wrapping_sub(index, next);
            for &symbol in &codes.symbols[index..index + usize::from(count)] {
                if next >= 1 << length {
                    return None;
                }
                if let Some(spare) = (PEEK as usize).checked_sub(length) {
                    let code = Code::new(symbol, length, ac).unwrap_or_default();
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
            *entry = Entry::one(first);
            let taken = u32::from(first.length + first.size);
            if ac && first.run != END && taken < PEEK {
                let last = short[(bits << taken) % (1 << PEEK)];
                if last.length > 0 && taken + u32::from(last.length) <= PEEK {
                    let value = entry.value((bits as u64) << (64 - PEEK));
                    *entry = Entry::two(first, value as i8, last);
                }
            }
        }
        Some(table)
    }

    /// Reads one code by its length (figure F.16): `window` begins with it.
    #[cold]
    #[inline(never)]
    fn one(&self, window: u64) -> Result<Entry, NoSuchCode> {
        let next = (window >> 48) as u32;
        let shorter = self.limits[1..].iter().filter(|&&limit| limit <= next);
        let length = 1 + shorter.count();
        if length > 16 {
            return Err(NoSuchCode);
        }
        let code = (next >> (16 - length)) as usize;
        let symbol = self.symbols.get(code.wrapping_add(self.offsets[length]));
        let code = symbol.and_then(|&symbol| Code::new(symbol, length, self.ac));
        code.map(Entry::one).ok_or(NoSuchCode)
    }

    #[inline(always)]
    fn entry(&self, window: u64) -> &Entry {
        &self.entries[(window >> (64 - PEEK)) as usize]
    }
}

impl Code {
    fn new(symbol: u8, length: usize, ac: bool) -> Option<Self> {
        let (run, size) = if ac {
            (symbol >> 4, symbol & 15)
        } else {
            (0, symbol)
        };
        let end = ac && size == 0 && run < 15;
        let most = if ac { 10 } else { 11 };
        (size <= most).then_some(Self {
            length: length as u8,
            run: if end { END } else { run },
            size,
        })
    }
}

/// Decodes one block. Its coefficients, `prediction` being the DC's, go to
/// `block`, which is all zero before. Returns how many may differ from zero,
/// of the `needed` first ones as coded; the rest are stepped over.
#[inline(always)]
pub(super) fn decode_block(
    bits: &mut Bits,
    [dc, ac]: [&Table; 2],
    prediction: &mut i32,
    needed: usize,
    block: &mut Block,
) -> Result<usize, NoSuchCode> {
    let mut reader = bits.reader();
    let result = read_block(&mut reader, [dc, ac], prediction, needed, block);
    let position = reader.position;
    bits.go_to(position);
    result
}

#[inline(always)]
fn read_block(
    reader: &mut Reader,
    [dc, ac]: [&Table; 2],
    prediction: &mut i32,
    needed: usize,
    block: &mut Block,
) -> Result<usize, NoSuchCode> {
    reader.refill();
    let window = reader.window();
    let long;
    let mut entry = dc.entry(window);
    if entry.first > 0 {
        long = dc.one(window)?;
        entry = &long;
    }
    reader.skip(entry.bits);
    *prediction = prediction.wrapping_add(entry.value(window).into());
    block[0] = *prediction as i16;
    let mut k = 1;
    while k < needed {
        coefficients(reader, ac, &mut k, block)?;
        if k >= needed {
            break;
        }
        reader.refill();
        coefficients(reader, ac, &mut k, block)?;
    }
    let reached = if k > usize::from(END) {
        k - usize::from(END) - 1
    } else {
        k.min(64)
    };
    while k < 64 {
        step_over(reader, ac, &mut k)?;
        if k >= 64 {
            break;
        }
        reader.refill();
        step_over(reader, ac, &mut k)?;
    }
    Ok(reached)
}

/// Takes the next one or two coefficients, those at `k`, which moves on.
#[inline(always)]
fn coefficients(
    reader: &mut Reader,
    ac: &Table,
    k: &mut usize,
    block: &mut Block,
) -> Result<(), NoSuchCode> {
    look_up(reader, ac, *k, |entry, window| {
        let first = ZIGZAG[(*k + usize::from(entry.first_run)) % 256];
        block[usize::from(first)] = entry.first_value.into();
        *k += usize::from(entry.first) + usize::from(entry.run);
        block[usize::from(ZIGZAG[*k % 256])] = entry.value(window);
        *k += 1;
    })
}

/// Steps over the next one or two coefficients, those at `k`, which moves on.
#[inline(always)]
fn step_over(reader: &mut Reader, ac: &Table, k: &mut usize) -> Result<(), NoSuchCode> {
    look_up(reader, ac, *k, |entry, _| {
        *k += usize::from(entry.first) + usize::from(entry.run) + 1;
    })
}

/// The entry of the coefficients at `k`, with the bits it was found by, which
/// the reader has left behind.
#[inline(always)]
fn look_up(
    reader: &mut Reader,
    ac: &Table,
    k: usize,
    take: impl FnOnce(&Entry, u64),
) -> Result<(), NoSuchCode> {
    let window = reader.window();
    let long;
    let mut entry = ac.entry(window);
    // A first symbol that fills the block leaves the second to the next one.
    if k + usize::from(entry.first) > 63 {
        long = ac.one(window)?;
        entry = &long;
    }
    reader.skip(entry.bits);
    take(entry, window);
    Ok(())
}
