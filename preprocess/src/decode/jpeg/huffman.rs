//! Huffman tables (ITU-T T.81, annexes C and F.2.2). One table lookup decodes up to
//! two symbols. The table contains the value of the first; the value of the
//! second is read from the bits.

use crate::decode::jpeg::bits::{BitReader, InvalidCode};
use crate::decode::jpeg::tables::HuffmanDefinition;

/// The number of bits that index the lookup table.
const PEEK: u32 = 10;

/// The run length that stands for the end of the block: it moves past the last
/// coefficient, from any position. In progressive scans, the number of bits of the
/// count of further blocks is added.
pub(crate) const END_OF_BLOCK: u8 = 128;

/// What a Huffman table codes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Coding {
    /// Differences of DC coefficients.
    Dc,
    /// AC coefficients of whole blocks.
    Ac,
    /// The first bits of AC coefficients in a band (G.1.2.2).
    AcFirst,
    /// The next bit of AC coefficients in a band (G.1.2.3).
    AcRefinement,
}

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
pub(crate) struct LookupEntry {
    /// Bits of all codes and values.
    pub bits: u8,
    /// Bits before the value of the last symbol.
    before: u8,
    /// 63 minus the number of bits of that value.
    shift: u8,
    /// Coefficients of the first symbol; 0 if there is only one symbol. 64 marks
    /// [`NOT_IN_TABLE`].
    pub first: u8,
    /// Zero coefficients before the value of the first symbol.
    pub first_run: u8,
    /// The value of the first symbol.
    pub first_value: i8,
    /// Zero coefficients before the value of the last symbol, or `END_OF_BLOCK`.
    pub run: u8,
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
    pub(crate) fn value(&self, window: u64) -> i16 {
        let bits = window.wrapping_shl(self.before.into()) as i64;
        let signed = (bits >> 1) ^ i64::MIN;
        let negative = (signed as u64 >> 63) as i16;
        (signed.wrapping_shr(self.shift.into()) as i16).wrapping_add(negative)
    }

    /// The bits of the last symbol's value, without sign.
    #[inline(always)]
    pub(crate) fn raw_value(&self, window: u64) -> u32 {
        ((window.wrapping_shl(self.before.into()) >> 1) >> self.shift) as u32
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
    coding: Coding,
}

impl<'a> HuffmanTable<'a> {
    /// `None` if a length has more codes than its number of bits allows.
    pub(crate) fn new(definition: HuffmanDefinition<'a>, coding: Coding) -> Option<Self> {
        let mut table = Self {
            entries: Box::new([NOT_IN_TABLE; 1 << PEEK]),
            limits: [0; 17],
            offsets: [0; 17],
            symbols: definition.symbols,
            coding,
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
                    let code = HuffmanCode::new(symbol, length, coding).unwrap_or_default();
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
            let pairs = matches!(coding, Coding::Ac | Coding::AcFirst);
            if pairs && first.run < END_OF_BLOCK && used < PEEK {
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
    pub(crate) fn decode_slowly(&self, window: u64) -> Result<LookupEntry, InvalidCode> {
        let next = (window >> 48) as u32;
        let shorter = self.limits[1..].iter().filter(|&&limit| limit <= next);
        let length = 1 + shorter.count();
        if length > 16 {
            return Err(InvalidCode);
        }
        let code = (next >> (16 - length)) as usize;
        let symbol = self.symbols.get(code.wrapping_add(self.offsets[length]));
        let code = symbol.and_then(|&symbol| HuffmanCode::new(symbol, length, self.coding));
        code.map(LookupEntry::one).ok_or(InvalidCode)
    }

    /// The lookup entry for the first bits of `window`.
    #[inline(always)]
    pub(crate) fn entry(&self, window: u64) -> &LookupEntry {
        &self.entries[(window >> (64 - PEEK)) as usize]
    }

    /// Consumes the next one or two symbols, of which the first ends before the
    /// coefficient `room`, counted from the current one. Returns them with the
    /// window that starts with them. An entry of the table has at most 25 bits, and
    /// any other symbol 31. Two calls are therefore allowed after each `refill`.
    #[inline(always)]
    pub(crate) fn next(
        &self,
        reader: &mut BitReader,
        room: usize,
    ) -> Result<(LookupEntry, u64), InvalidCode> {
        let window = reader.window();
        let mut entry = *self.entry(window);
        // If the first symbol completes the block, the second belongs to the next block.
        if usize::from(entry.first) >= room {
            entry = self.decode_slowly(window)?;
            reader.consume(entry.bits);
            reader.refill();
        } else {
            reader.consume(entry.bits);
        }
        Ok((entry, window))
    }
}

impl HuffmanCode {
    /// `None` if the symbol is invalid (tables F.1, F.2 and G.1, where libjpeg
    /// allows values of up to 15 bits).
    fn new(symbol: u8, length: usize, coding: Coding) -> Option<Self> {
        let length = length as u8;
        let (run, size) = (symbol >> 4, symbol & 15);
        let (run, size) = match coding {
            Coding::Dc => (symbol <= 15).then_some((0, symbol))?,
            Coding::Ac if size == 0 && run < 15 => (END_OF_BLOCK, 0),
            Coding::AcFirst | Coding::AcRefinement if size == 0 && run < 15 => {
                (END_OF_BLOCK + run, run)
            }
            Coding::AcRefinement if size > 1 => return None,
            _ => (run, size),
        };
        Some(Self { length, run, size })
    }
}
