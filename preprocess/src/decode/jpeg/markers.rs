//! Markers and the segments that follow them (ITU-T T.81, B.1.1).

pub(crate) const SOF0: u8 = 0xc0;
pub(crate) const SOF2: u8 = 0xc2;
pub(crate) const DHT: u8 = 0xc4;
pub(crate) const RST0: u8 = 0xd0;
pub(crate) const RST7: u8 = 0xd7;
pub(crate) const SOI: u8 = 0xd8;
pub(crate) const EOI: u8 = 0xd9;
pub(crate) const SOS: u8 = 0xda;
pub(crate) const DQT: u8 = 0xdb;
pub(crate) const DAC: u8 = 0xcc;
pub(crate) const DNL: u8 = 0xdc;
pub(crate) const DRI: u8 = 0xdd;
pub(crate) const APP0: u8 = 0xe0;
pub(crate) const APP1: u8 = 0xe1;
pub(crate) const APP14: u8 = 0xee;
pub(crate) const APP15: u8 = 0xef;
pub(crate) const COM: u8 = 0xfe;
const TEM: u8 = 0x01;

/// Iterates over the segments in `rest` as marker and payload. Entropy-coded data
/// is skipped.
#[derive(Clone)]
pub(crate) struct Segments<'a> {
    /// What follows the last segment.
    pub rest: &'a [u8],
}

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let fill = memchr::memchr(0xff, self.rest)?;
            let at = fill + self.rest[fill..].iter().position(|&byte| byte != 0xff)?;
            let marker = self.rest[at];
            self.rest = &self.rest[at + 1..];
            match marker {
                0 => {}
                TEM | RST0..=EOI => return Some((marker, &[])),
                _ => {
                    let length = usize::from(word(self.rest, 0)?);
                    // As in libjpeg, a length below that of itself is an empty payload
                    // in segments whose content does not matter.
                    let end = if is_skipped(marker) {
                        length.max(2)
                    } else {
                        length
                    };
                    let payload = self.rest.get(2..end)?;
                    self.rest = &self.rest[end..];
                    return Some((marker, payload));
                }
            }
        }
    }
}

/// The 16-bit number at a position.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Whether libjpeg ignores a marker and its segment.
pub(crate) fn is_ignored(marker: u8) -> bool {
    matches!(marker, TEM | RST0..=RST7) || is_skipped(marker)
}

/// Whether libjpeg skips the segment of a marker.
fn is_skipped(marker: u8) -> bool {
    matches!(marker, DNL | APP0..=APP15 | COM)
}
