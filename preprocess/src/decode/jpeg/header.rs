//! Reads the marker segments of a JPEG (ITU-T T.81, annex B): the frame header,
//! the tables and the scan headers. All decisions about size and memory are made
//! from this one reader.

use crate::decode::jpeg::color::Color;
use crate::decode::jpeg::markers::{
    APP0, APP1, APP14, DAC, DHT, DQT, DRI, EOI, SOF0, SOF2, SOI, SOS, Segments, is_ignored, word,
};
use crate::decode::jpeg::tables::Tables;
use crate::error::ImageError;
use crate::format::Format;
use crate::orientation::Orientation;

/// The most components that a JPEG image has: those of CMYK.
const MAX_COMPONENTS: usize = 4;

/// What starts an APP1 segment with an XMP packet.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// The content of a JPEG up to the current scan.
#[derive(Default)]
pub(crate) struct JpegReader<'a> {
    /// The rest of the file.
    pub rest: &'a [u8],
    /// The tables that are valid for the current scan.
    pub tables: Tables<'a>,
    /// Whether the end marker (EOI) was read.
    pub has_ended: bool,
    /// The first valid orientation in EXIF blocks, and in XMP packets.
    exif: Option<Orientation>,
    xmp: Option<Orientation>,
    frame: Option<Frame>,
    /// The identifiers of the components in the frame header.
    ids: Vec<u8>,
    has_jfif: bool,
    /// The colour transform of the Adobe segment (APP14).
    adobe_transform: Option<u8>,
}

/// The frame header (B.2.2).
pub(crate) struct Frame {
    /// Whether the coding is progressive (SOF2) or sequential (SOF0, SOF1).
    pub progressive: bool,
    /// Width and height in pixels.
    pub size: [u32; 2],
    /// The colour components.
    pub components: Vec<FrameComponent>,
}

/// A colour component in the frame header.
#[derive(Clone, Copy)]
pub(crate) struct FrameComponent {
    /// Sampling factors, horizontal and vertical, from 1 to 4.
    pub sampling: [usize; 2],
    /// The index of its quantisation table.
    pub quantization: usize,
}

/// The scan header (B.2.3).
pub(crate) struct ScanHeader {
    /// The components of the scan, in the order of the frame header.
    pub components: Vec<ScanComponent>,
    /// The first and the last coefficient, in zigzag order (Ss, Se).
    pub band: [u8; 2],
    /// The bit positions of the previous and of this scan (Ah, Al).
    pub bits: [u8; 2],
}

/// A colour component in a scan header.
#[derive(Clone, Copy)]
pub(crate) struct ScanComponent {
    /// Its index in the frame header.
    pub index: usize,
    /// The indices of its Huffman tables for DC and AC.
    pub tables: [usize; 2],
}

impl<'a> JpegReader<'a> {
    /// Reads the segments up to the first scan.
    ///
    /// # Errors
    /// `Unsupported` for rare coding processes, `Broken` for damage.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<(Self, Frame, ScanHeader), ImageError> {
        Self::open_with(Tables::default(), bytes)
    }

    /// Like [`Self::open`], with tables from elsewhere.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub(crate) fn open_with(
        tables: Tables<'a>,
        bytes: &'a [u8],
    ) -> Result<(Self, Frame, ScanHeader), ImageError> {
        // The start marker is not allowed again.
        let rest = bytes.strip_prefix(&[0xff, SOI]).unwrap_or(bytes);
        let mut reader = Self {
            rest,
            tables,
            ..Self::default()
        };
        let scan = reader.next_scan()?;
        let (Some(scan), Some(frame)) = (scan, reader.frame.take()) else {
            return Err(broken("the file ends before its first pixel"));
        };
        Ok((reader, frame, scan))
    }

    /// Reads a stream that has only tables.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub(crate) fn read_tables(bytes: &'a [u8]) -> Result<Tables<'a>, ImageError> {
        let mut reader = Self {
            rest: bytes.strip_prefix(&[0xff, SOI]).unwrap_or(bytes),
            ..Self::default()
        };
        reader.next_scan()?;
        Ok(reader.tables)
    }

    /// Reads the segments up to the next scan. `None` at the end of the image.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub(crate) fn next_scan(&mut self) -> Result<Option<ScanHeader>, ImageError> {
        let mut segments = Segments { rest: self.rest };
        while let Some((marker, payload)) = segments.next() {
            self.rest = segments.rest;
            let read = match marker {
                SOF0..=SOF2 => self.frame_header(marker, payload)?,
                DHT => self.tables.define_huffman(payload),
                DQT => self.tables.define_quantization(payload),
                DRI => word(payload, 0).map(|n| self.tables.restart_interval = n.into()),
                APP0 => {
                    self.has_jfif |= payload.len() >= 14 && payload.starts_with(b"JFIF\0");
                    Some(())
                }
                APP1 => {
                    if payload.starts_with(b"Exif\0\0") {
                        self.exif = self.exif.or_else(|| Orientation::find_in_exif(payload));
                    } else if let Some(xmp) = payload.strip_prefix(XMP) {
                        self.xmp = self.xmp.or_else(|| Orientation::find_in_xmp(xmp));
                    }
                    Some(())
                }
                APP14 => {
                    if payload.len() >= 12 && payload.starts_with(b"Adobe") {
                        self.adobe_transform = Some(payload[11]);
                    }
                    Some(())
                }
                SOS => match self.scan_header(payload) {
                    None => None,
                    scan => return Ok(scan),
                },
                EOI => {
                    self.has_ended = true;
                    return Ok(None);
                }
                // Conditions of arithmetic codes, which Huffman codes do not have.
                DAC => payload.len().is_multiple_of(2).then_some(()),
                0xc3 | 0xc5..=0xcf | 0xf7 => {
                    return Err(ImageError::unsupported(rare_process(marker)));
                }
                marker => is_ignored(marker).then_some(()),
            };
            read.ok_or_else(|| damaged(marker))?;
        }
        Ok(None)
    }

    /// Whether the end marker is present in the rest of the file.
    pub(crate) fn end_marker_follows(&self) -> bool {
        Segments { rest: self.rest }.any(|(marker, _)| marker == EOI)
    }

    /// The orientation: that of XMP only if EXIF has none, as in Pillow.
    pub(crate) fn orientation(&self) -> Orientation {
        self.exif.or(self.xmp).unwrap_or_default()
    }

    /// How the components are converted to grey or RGB, in libjpeg's order: JFIF
    /// decides before Adobe, and Adobe before the identifiers of the components.
    ///
    /// # Errors
    /// `Unsupported` for images of two components.
    pub(crate) fn color(&self) -> Result<Color, ImageError> {
        match (&self.ids[..], self.adobe_transform) {
            ([_], _) => Ok(Color::Unchanged),
            ([_, _, _], _) if self.has_jfif => Ok(Color::YCbCr),
            ([_, _, _], Some(0)) | (b"RGB", None) => Ok(Color::Unchanged),
            ([_, _, _], _) => Ok(Color::YCbCr),
            ([_, _, _, _], None | Some(0)) => Ok(Color::Cmyk),
            ([_, _, _, _], _) => Ok(Color::Ycck),
            (ids, _) => Err(component_count(ids.len())),
        }
    }

    /// SOF. `None` if it is damaged.
    fn frame_header(&mut self, marker: u8, payload: &[u8]) -> Result<Option<()>, ImageError> {
        let [precision, size @ ..] = payload else {
            return Ok(None);
        };
        match precision {
            8 => {}
            12 => return Err(ImageError::unsupported("a 12-bit JPEG")),
            2..=16 => {
                let found = format!("a JPEG with {precision} bits per sample");
                return Err(ImageError::unsupported(found));
            }
            _ => return Ok(None),
        }
        if !self.ids.is_empty() {
            return Err(broken("it has two frame headers"));
        }
        let (Some(height), Some(width), Some(&count)) = (word(size, 0), word(size, 2), size.get(4))
        else {
            return Ok(None);
        };
        if usize::from(count) > MAX_COMPONENTS {
            return Err(component_count(count.into()));
        }
        let Some(list) = size.get(5..5 + 3 * usize::from(count)) else {
            return Ok(None);
        };
        let mut components = Vec::new();
        for component in list.as_chunks::<3>().0 {
            let &[id, sampling, quantization] = component;
            let sampling = [sampling >> 4, sampling & 15].map(usize::from);
            if sampling.iter().any(|factor| !(1..=4).contains(factor)) || quantization > 3 {
                return Ok(None);
            }
            self.ids.push(id);
            components.push(FrameComponent {
                sampling,
                quantization: quantization.into(),
            });
        }
        if components.is_empty() {
            return Ok(None);
        }
        self.frame = Some(Frame {
            progressive: marker == SOF2,
            size: [width, height].map(u32::from),
            components,
        });
        Ok(Some(()))
    }

    /// SOS. `None` if it is damaged.
    fn scan_header(&self, payload: &[u8]) -> Option<ScanHeader> {
        let count = usize::from(*payload.first()?);
        if !(1..=self.ids.len()).contains(&count) {
            return None;
        }
        let (list, rest) = payload[1..].split_at_checked(2 * count)?;
        let mut components: Vec<ScanComponent> = Vec::new();
        for (i, &[id, tables]) in list.as_chunks::<2>().0.iter().enumerate() {
            // Some files give all components the same identifier, so the search
            // starts at the position in the scan, as in libjpeg.
            let index = i + self.ids[i..].iter().position(|&other| other == id)?;
            if components.iter().any(|other| other.index == index) {
                return None;
            }
            let tables = [tables >> 4, tables & 15].map(usize::from);
            components.push(ScanComponent { index, tables });
        }
        let &[start, end, bits, ..] = rest else {
            return None;
        };
        Some(ScanHeader {
            components,
            band: [start, end],
            bits: [bits >> 4, bits & 15],
        })
    }
}

/// An error about a damaged JPEG.
pub(crate) fn broken(reason: &str) -> ImageError {
    ImageError::broken(Format::Jpeg, reason)
}

fn damaged(marker: u8) -> ImageError {
    broken(&format!("its marker segment FF{marker:02X} is damaged"))
}

/// An error about an image with this number of components.
pub(crate) fn component_count(count: usize) -> ImageError {
    ImageError::unsupported(format!("a JPEG with {count} colour components"))
}

/// Names the coding process of a frame header, with its article.
fn rare_process(marker: u8) -> &'static str {
    match marker {
        0xc3 => "a lossless JPEG",
        0xf7 => "a JPEG-LS image",
        0xc5..=0xc7 | 0xcd..=0xcf => "a hierarchical JPEG",
        _ => "a JPEG with arithmetic coding",
    }
}
