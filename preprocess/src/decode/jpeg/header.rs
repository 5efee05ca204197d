//! The marker segments of a JPEG (ITU-T T.81, annex B) up to the first scan:
//! size, sampling, tables and orientation.

use crate::error::ImageError;
use crate::format::Format;
use crate::orientation::Orientation;

const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
pub(crate) const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
const APP1: u8 = 0xe1;
const APP14: u8 = 0xee;

/// The content of the marker segments up to the first scan.
#[derive(Default)]
pub(crate) struct Header<'a> {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Sequential coding (SOF0, SOF1) with 8 bits per sample.
    pub sequential: bool,
    /// The colour components in the order of the frame header.
    pub components: Vec<FrameComponent>,
    /// The components of the first scan: id, DC table and AC table.
    pub scan: Vec<(u8, usize, usize)>,
    /// Quantisation tables, in zigzag order.
    pub quantization: [Option<[u16; 64]>; 4],
    /// Huffman tables: `[class][id]`, class 0 for DC and 1 for AC.
    pub huffman: [[Option<HuffmanDefinition<'a>>; 4]; 2],
    /// MCUs between restart markers; 0 if there are none.
    pub restart_interval: usize,
    /// The colour transform of the Adobe segment (APP14).
    pub adobe_transform: Option<u8>,
    /// The orientation from EXIF.
    pub orientation: Orientation,
    /// The entropy-coded data of the first scan and everything after it.
    pub data: &'a [u8],
}

/// A colour component in the frame header.
#[derive(Clone, Copy)]
pub(crate) struct FrameComponent {
    /// The identifier that scan headers refer to.
    pub id: u8,
    /// Sampling factors, horizontal and vertical.
    pub sampling: [usize; 2],
    /// The index of its quantisation table.
    pub quantization: usize,
}

/// The definition of a Huffman table in the file.
#[derive(Clone, Copy)]
pub(crate) struct HuffmanDefinition<'a> {
    /// The number of codes with 1, 2, .. 16 bits.
    pub counts: &'a [u8],
    /// The symbols in ascending order of their codes.
    pub symbols: &'a [u8],
}

/// Iterates over the segments in `rest` as marker and payload. Entropy-coded data
/// is skipped.
struct Segments<'a> {
    rest: &'a [u8],
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
                1 | 0xd0..=EOI => return Some((marker, &[])),
                _ => {
                    let length = usize::from(word(self.rest, 0)?);
                    let payload = self.rest.get(2..length)?;
                    self.rest = &self.rest[length..];
                    return Some((marker, payload));
                }
            }
        }
    }
}

/// Whether the end marker (EOI) is present in `data`, which starts with the first
/// scan. Decoders fill missing blocks with grey, which would be classified as if
/// it were image content.
pub(crate) fn has_end_marker(data: &[u8]) -> bool {
    Segments { rest: data }.any(|(marker, _)| marker == EOI)
}

/// Reads the segments up to the first scan.
///
/// # Errors
/// `Unsupported` for rare coding processes, `Broken` for damage.
pub(crate) fn parse(bytes: &[u8]) -> Result<Header<'_>, ImageError> {
    let mut header = Header::default();
    let mut segments = Segments { rest: bytes };
    while let Some((marker, payload)) = segments.next() {
        let read = match marker {
            SOF0..=0xc2 => header.frame(marker, payload),
            DHT => header.huffman_tables(payload),
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => {
                return Err(ImageError::unsupported(rare_process(marker)));
            }
            DQT => header.quantization_tables(payload),
            DRI => word(payload, 0).map(|n| header.restart_interval = usize::from(n)),
            APP1 => {
                if let Some(exif) = payload.strip_prefix(b"Exif\0") {
                    header.orientation = Orientation::from_exif(exif.get(1..).unwrap_or_default());
                }
                Some(())
            }
            APP14 => {
                if payload.starts_with(b"Adobe") {
                    header.adobe_transform = payload.get(11).copied();
                }
                Some(())
            }
            SOS if header.components.is_empty() => None,
            SOS => {
                header.data = segments.rest;
                header.scan(payload).ok_or_else(|| damaged(marker))?;
                return Ok(header);
            }
            EOI => break,
            _ => Some(()),
        };
        read.ok_or_else(|| damaged(marker))?;
    }
    Err(ImageError::broken(
        Format::Jpeg,
        "the file ends before its first pixel",
    ))
}

fn damaged(marker: u8) -> ImageError {
    ImageError::broken(
        Format::Jpeg,
        format!("its marker segment FF{marker:02X} is damaged"),
    )
}

/// Names the coding process of a frame header, with its article.
fn rare_process(marker: u8) -> &'static str {
    match marker {
        0xc3 => "a lossless JPEG",
        0xc5..=0xc7 | 0xcd..=0xcf => "a hierarchical JPEG",
        _ => "a JPEG with arithmetic coding",
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

impl<'a> Header<'a> {
    /// SOF (B.2.2).
    fn frame(&mut self, marker: u8, payload: &[u8]) -> Option<()> {
        self.sequential = marker != 0xc2 && payload.first() == Some(&8);
        self.height = u32::from(word(payload, 1)?);
        self.width = u32::from(word(payload, 3)?);
        let count = usize::from(*payload.get(5)?);
        self.components.clear();
        for component in payload.get(6..6 + 3 * count)?.chunks_exact(3) {
            let &[id, sampling, quantization] = component else {
                return None;
            };
            let sampling = [sampling >> 4, sampling & 15].map(usize::from);
            if sampling.iter().any(|factor| !(1..=4).contains(factor)) || quantization > 3 {
                return None;
            }
            self.components.push(FrameComponent {
                id,
                sampling,
                quantization: quantization.into(),
            });
        }
        Some(())
    }

    /// DQT (B.2.4.1).
    fn quantization_tables(&mut self, mut payload: &[u8]) -> Option<()> {
        while let [head, rest @ ..] = payload {
            let is_16_bit = head >> 4 != 0;
            let size = if is_16_bit { 128 } else { 64 };
            let (values, rest) = rest.split_at_checked(size)?;
            let mut table = [0; 64];
            for (k, value) in table.iter_mut().enumerate() {
                *value = if is_16_bit {
                    word(values, 2 * k)?
                } else {
                    values[k].into()
                };
            }
            *self.quantization.get_mut(usize::from(head & 15))? = Some(table);
            payload = rest;
        }
        Some(())
    }

    /// DHT (B.2.4.2).
    fn huffman_tables(&mut self, mut payload: &'a [u8]) -> Option<()> {
        while let [head, rest @ ..] = payload {
            let (counts, rest) = rest.split_at_checked(16)?;
            let total = counts.iter().map(|&n| usize::from(n)).sum();
            let (symbols, rest) = rest.split_at_checked(total)?;
            let class = self.huffman.get_mut(usize::from(head >> 4))?;
            *class.get_mut(usize::from(head & 15))? = Some(HuffmanDefinition { counts, symbols });
            payload = rest;
        }
        Some(())
    }

    /// SOS (B.2.3).
    fn scan(&mut self, payload: &[u8]) -> Option<()> {
        let count = usize::from(*payload.first()?);
        for part in payload.get(1..1 + 2 * count)?.chunks_exact(2) {
            let (dc, ac) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
            self.scan.push((part[0], dc, ac));
        }
        Some(())
    }
}
