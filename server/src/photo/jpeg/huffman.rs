//! Huffman decoding (ITU-T T.81, annex F.2.2) with tables that look up code
//! and value together, and step over the coefficients nobody needs several at
//! a time.

use super::header::Codes;

/// Bits that one look-up sees.
const PEEK: u32 = 11;

/// Advance that ends every block.
const END: u8 = 64;

/// The position in a block (row by row) of the k-th coefficient as coded
/// (figure A.6).
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10,
    17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34,
    27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36,
    29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46,
    53, 60, 61, 54, 47, 55, 62, 63,
];

/// The bits of a scan, first bit first, from one restart marker to the next.
pub(super) struct Bits<'a> {
    /// What follows the segment that is being read.
    rest: &'a [u8],
    /// The segment without byte stuffing, then eight bytes of padding.
    segment: Vec<u8>,
    at: usize,
    /// The next bits, from the top.
    window: u64,
    /// How many of them are valid.
    valid: u32,
    /// Whether a marker closes the segment.
    closed: bool,
}

impl<'a> Bits<'a> {
    /// Starts at the first segment of `data`.
    pub(super) fn new(data: &'a [u8]) -> Self {
        let mut bits = Self {
            rest: data,
            segment: Vec::with_capacity(data.len() + 8),
            at: 0,
            window: 0,
            valid: 0,
            closed: false,
        };
        bits.next_segment();
        bits
    }

    /// Goes on after the next marker, taking the stuffed zeros out (F.1.2.3).
    pub(super) fn next_segment(&mut self) {
        (self.at, self.window, self.valid) = (0, 0, 0);
        self.segment.clear();
        self.closed = false;
        while let Some(at) = memchr::memchr(0xff, self.rest) {
            let (plain, rest) = self.rest.split_at(at);
            self.segment.extend_from_slice(plain);
            match rest {
                [_, 0, rest @ ..] => {
                    self.segment.push(0xff);
                    self.rest = rest;
                }
                [_, 0xff, ..] => self.rest = &rest[1..],
                [_, _, rest @ ..] => {
                    self.rest = rest;
                    self.closed = true;
                    break;
                }
                _ => self.rest = &[],
            }
        }
        if !self.closed {
            self.segment.extend_from_slice(self.rest);
            self.rest = &[];
        }
        self.segment.extend_from_slice(&[0; 8]);
    }

    /// Whether the segment lacks bits that were taken from it, or its end.
    pub(super) fn is_short(&self) -> bool {
        let taken = 8 * self.at - self.valid as usize;
        taken > 8 * (self.segment.len() - 8) || !self.closed
    }

    /// Makes at least 56 bits valid. Past the end they are anything.
    #[inline(always)]
    fn refill(&mut self) {
        let at = self.at.min(self.segment.len() - 8);
        let Some(eight) = self.segment[at..].first_chunk() else {
            return;
        };
        self.window |= u64::from_be_bytes(*eight) >> self.valid;
        let bytes = (63 - self.valid) / 8;
        self.at += bytes as usize;
        self.valid += 8 * bytes;
    }

    #[inline(always)]
    fn peek(&self, count: u32) -> usize {
        (self.window >> (64 - count)) as usize
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.window <<= count;
        self.valid -= count;
    }
}

/// What the next `PEEK` bits hold.
#[derive(Clone, Copy, Default)]
struct Symbol {
    /// Bits of code and value together; 0 if they are more than `PEEK`.
    bits: u8,
    /// Zero coefficients before the value, or `END`.
    run: u8,
    value: i16,
}

/// How far the next `PEEK` bits lead, values left aside.
#[derive(Clone, Copy, Default)]
struct Stride {
    /// Bits of all whole symbols; 0 if there is none.
    bits: u8,
    /// Coefficients that they stand for.
    advance: u8,
    /// Whether the last of them ends the block.
    end: bool,
}

/// A Huffman table, made ready.
pub(super) struct Table<'a> {
    symbols: Vec<Symbol>,
    strides: Vec<Stride>,
    codes: Codes<'a>,
    ac: bool,
}

/// The bits hold no code of the table.
#[derive(Debug)]
pub(super) struct NoSuchCode;

impl<'a> Table<'a> {
    /// A table for DC differences, or for AC coefficients.
    pub(super) fn new(codes: Codes<'a>, ac: bool) -> Self {
        let mut table = Self {
            symbols: Vec::new(),
            strides: Vec::new(),
            codes,
            ac,
        };
        for bits in 0..1u64 << PEEK {
            let symbol = table.long(bits << (64 - PEEK)).ok();
            let whole = symbol.filter(|symbol| u32::from(symbol.bits) <= PEEK);
            table.symbols.push(whole.unwrap_or_default());
        }
        if ac {
            table.strides = (0..1 << PEEK).map(|bits| table.stride(bits)).collect();
        }
        table
    }

    fn stride(&self, bits: usize) -> Stride {
        let mut stride = Stride::default();
        loop {
            let left = (bits << stride.bits) & ((1 << PEEK) - 1);
            let symbol = self.symbols[left];
            if symbol.bits == 0 || u32::from(stride.bits + symbol.bits) > PEEK {
                return stride;
            }
            stride.bits += symbol.bits;
            if symbol.run == END {
                return Stride {
                    end: true,
                    ..stride
                };
            }
            stride.advance += symbol.run + 1;
        }
    }

    /// Decodes one symbol bit by bit (figure F.16): `window` begins with it.
    #[cold]
    fn long(&self, window: u64) -> Result<Symbol, NoSuchCode> {
        let (mut first, mut index) = (0, 0);
        for (length, &count) in (1..).zip(self.codes.counts) {
            let code = (window >> (64 - length)) as usize;
            let count = usize::from(count);
            if code < first + count {
                let symbol = *self
                    .codes
                    .symbols
                    .get(index + code - first)
                    .ok_or(NoSuchCode)?;
                return self.symbol(symbol, length, window);
            }
            index += count;
            first = (first + count) << 1;
        }
        Err(NoSuchCode)
    }

    /// Completes a symbol whose code has `length` bits with its value.
    fn symbol(&self, symbol: u8, length: u32, window: u64) -> Result<Symbol, NoSuchCode> {
        let (run, size) = if self.ac {
            (symbol >> 4, symbol & 15)
        } else {
            (0, symbol)
        };
        if size > 15 {
            return Err(NoSuchCode);
        }
        let run = if self.ac && size == 0 && run < 15 {
            END
        } else {
            run
        };
        // EXTEND (figure F.12): values that begin with a 0 are negative.
        let value = match size {
            0 => 0,
            _ => {
                let value = ((window << length) >> (64 - u32::from(size))) as i32;
                let negative = value >> (size - 1) == 0;
                value - if negative { (1 << size) - 1 } else { 0 }
            }
        };
        let bits = length as u8 + size;
        Ok(Symbol {
            bits,
            run,
            value: value as i16,
        })
    }

    #[inline(always)]
    fn next(&self, bits: &mut Bits) -> Result<Symbol, NoSuchCode> {
        bits.refill();
        let mut symbol = self.symbols[bits.peek(PEEK)];
        if symbol.bits == 0 {
            symbol = self.long(bits.window)?;
        }
        bits.skip(symbol.bits.into());
        Ok(symbol)
    }
}

/// Decodes one block: the coefficients up to the `needed`-th as coded, times
/// `quantization`, go to `block` (row by row, all zero before); the rest are
/// stepped over. Returns how many coefficients may differ from zero.
#[inline(always)]
pub(super) fn decode_block(
    bits: &mut Bits,
    [dc, ac]: [&Table; 2],
    prediction: &mut i32,
    quantization: &[f32; 64],
    needed: usize,
    block: &mut [f32; 64],
) -> Result<usize, NoSuchCode> {
    let difference = dc.next(bits)?.value;
    *prediction = prediction.wrapping_add(difference.into());
    block[0] = *prediction as f32 * quantization[0];
    let mut k = 1;
    let mut reached = 1;
    while k < needed {
        let symbol = ac.next(bits)?;
        k += usize::from(symbol.run);
        if k >= needed {
            if symbol.run == END {
                return Ok(reached);
            }
            k += 1;
            break;
        }
        block[usize::from(ZIGZAG[k])] = f32::from(symbol.value) * quantization[k];
        k += 1;
        reached = k;
    }
    while k < 64 {
        bits.refill();
        let stride = ac.strides[bits.peek(PEEK)];
        if stride.bits == 0 || k + usize::from(stride.advance) > 63 {
            // Near the end of the block a stride might lead into the next one.
            k += usize::from(ac.next(bits)?.run) + 1;
            continue;
        }
        bits.skip(stride.bits.into());
        k += usize::from(stride.advance);
        if stride.end {
            break;
        }
    }
    Ok(reached)
}
