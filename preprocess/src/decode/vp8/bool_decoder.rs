//! The arithmetic decoder (RFC 6386, 7).

/// Reads bits of given probabilities.
pub(super) struct BoolDecoder<'a> {
    data: &'a [u8],
    /// Bytes read, of which some may be after the end of `data`.
    at: usize,
    /// The bits that are read ahead.
    value: u64,
    /// The size of the interval, less one.
    range: u32,
    /// Bits in `value` beyond the eight that are compared; negative if more must be
    /// read first.
    bits: i32,
}

impl<'a> BoolDecoder<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            value: 0,
            range: 254,
            bits: -8,
        }
    }

    /// Whether more was read than there is. As in other decoders, one byte after the
    /// end counts as zero.
    pub(super) fn is_exhausted(&self) -> bool {
        self.at > self.data.len() + 1
    }

    #[inline(always)]
    fn load(&mut self) {
        match self.data.get(self.at..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => {
                self.value = self.value << 56 | u64::from_be_bytes(*bytes) >> 8;
                self.at += 7;
                self.bits += 56;
            }
            None => self.load_byte(),
        }
    }

    #[cold]
    fn load_byte(&mut self) {
        let byte = self.data.get(self.at).copied().unwrap_or(0);
        self.value = self.value << 8 | u64::from(byte);
        self.at += 1;
        self.bits += 8;
    }

    /// A bit that is 0 with the probability `zero` / 256.
    #[inline(always)]
    pub(super) fn bit(&mut self, zero: u8) -> bool {
        if self.bits < 0 {
            self.load();
        }
        let split = (self.range * u32::from(zero)) >> 8;
        let is_one = (self.value >> self.bits) as u32 > split;
        let mut range = if is_one {
            self.value -= u64::from(split + 1) << self.bits;
            self.range - split
        } else {
            split + 1
        };
        // Doubled until it is at least 128.
        let shift = range.leading_zeros() - 24;
        range <<= shift;
        self.bits -= shift as i32;
        self.range = range - 1;
        is_one
    }

    /// A bit whose values are equally probable.
    pub(super) fn flag(&mut self) -> bool {
        self.bit(128)
    }

    /// A number of `bits` bits, the highest first.
    pub(super) fn number(&mut self, bits: u32) -> u8 {
        (0..bits).fold(0, |number, _| number << 1 | u8::from(self.flag()))
    }

    /// A number of `bits` bits and its sign, or `None` if a flag says that it is
    /// absent.
    pub(super) fn optional_signed(&mut self, bits: u32) -> Option<i32> {
        if !self.flag() {
            return None;
        }
        let number = i32::from(self.number(bits));
        Some(if self.flag() { -number } else { number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_to_the_end_and_not_further() {
        // Flags of probability 128 on ones: after the first byte the interval keeps
        // its size, and each flag takes a bit.
        let mut decoder = BoolDecoder::new(&[0xff; 12]);
        let mut ones = 0;
        while !decoder.is_exhausted() {
            ones += usize::from(decoder.flag());
            assert!(ones < 200);
        }
        assert!(ones >= 12 * 8 - 8, "{ones}");
        let mut zeros = BoolDecoder::new(&[0; 3]);
        assert_eq!(zeros.number(7), 0);
        assert_eq!(zeros.optional_signed(4), None);
        assert!(!zeros.is_exhausted());
    }
}
