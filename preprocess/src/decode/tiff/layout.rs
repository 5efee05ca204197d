//! What the tags of a TIFF image say about its pixels and where they are
//! (TIFF 6.0, sections 3 to 23).

use crate::decode::tiff::compression::Compression;
use crate::error::ImageError;
use crate::format::Format;
use crate::ifd::{ByteOrder, Directory, TiffFile, Values};

/// Tag numbers.
pub(super) mod tag {
    pub(in crate::decode::tiff) const NEW_SUBFILE_TYPE: u16 = 254;
    pub(in crate::decode::tiff) const WIDTH: u16 = 256;
    pub(in crate::decode::tiff) const HEIGHT: u16 = 257;
    pub(in crate::decode::tiff) const BITS: u16 = 258;
    pub(in crate::decode::tiff) const COMPRESSION: u16 = 259;
    pub(in crate::decode::tiff) const PHOTOMETRIC: u16 = 262;
    pub(in crate::decode::tiff) const FILL_ORDER: u16 = 266;
    pub(in crate::decode::tiff) const MAKE: u16 = 271;
    pub(in crate::decode::tiff) const STRIP_OFFSETS: u16 = 273;
    pub(in crate::decode::tiff) const SAMPLES: u16 = 277;
    pub(in crate::decode::tiff) const ROWS_PER_STRIP: u16 = 278;
    pub(in crate::decode::tiff) const STRIP_COUNTS: u16 = 279;
    pub(in crate::decode::tiff) const PLANAR: u16 = 284;
    pub(in crate::decode::tiff) const T4_OPTIONS: u16 = 292;
    pub(in crate::decode::tiff) const PREDICTOR: u16 = 317;
    pub(in crate::decode::tiff) const COLOR_MAP: u16 = 320;
    pub(in crate::decode::tiff) const TILE_WIDTH: u16 = 322;
    pub(in crate::decode::tiff) const TILE_HEIGHT: u16 = 323;
    pub(in crate::decode::tiff) const TILE_OFFSETS: u16 = 324;
    pub(in crate::decode::tiff) const TILE_COUNTS: u16 = 325;
    pub(in crate::decode::tiff) const SUB_IFDS: u16 = 330;
    pub(in crate::decode::tiff) const EXTRA_SAMPLES: u16 = 338;
    pub(in crate::decode::tiff) const SAMPLE_FORMAT: u16 = 339;
    pub(in crate::decode::tiff) const JPEG_TABLES: u16 = 347;
    pub(in crate::decode::tiff) const JPEG_STREAM: u16 = 513;
    pub(in crate::decode::tiff) const JPEG_RESTART_INTERVAL: u16 = 515;
    pub(in crate::decode::tiff) const JPEG_Q_TABLES: u16 = 519;
    pub(in crate::decode::tiff) const JPEG_DC_TABLES: u16 = 520;
    pub(in crate::decode::tiff) const JPEG_AC_TABLES: u16 = 521;
    pub(in crate::decode::tiff) const XMP: u16 = 700;
    pub(in crate::decode::tiff) const YCBCR_COEFFICIENTS: u16 = 529;
    pub(in crate::decode::tiff) const YCBCR_SUBSAMPLING: u16 = 530;
    pub(in crate::decode::tiff) const REFERENCE_BLACK_WHITE: u16 = 532;
    pub(in crate::decode::tiff) const DNG_VERSION: u16 = 50706;
}

/// How samples are to be read as colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// Grey, 0 is white.
    WhiteIsZero,
    /// Grey, 0 is black.
    BlackIsZero,
    /// Red, green, blue.
    Rgb,
    /// Indices of a palette.
    Palette,
    /// Cyan, magenta, yellow, black.
    Cmyk,
    /// Luma and two colour differences.
    YCbCr,
    /// Lightness and two colour differences, which are signed.
    CieLab,
    /// The same as numbers without a sign.
    IccLab,
}

impl Photometric {
    /// Samples per pixel without alpha.
    pub(super) fn channels(self) -> usize {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero | Self::Palette => 1,
            Self::Rgb | Self::YCbCr | Self::CieLab | Self::IccLab => 3,
            Self::Cmyk => 4,
        }
    }
}

/// The type of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleFormat {
    Unsigned,
    Signed,
    Float,
}

/// The pixels of an image.
pub(super) struct Layout<'a> {
    /// The file.
    pub file: TiffFile<'a>,
    /// The tags of the image.
    pub directory: Directory<'a>,
    /// Pixels per row, and rows.
    pub size: [u32; 2],
    /// Bits per sample.
    pub bits: usize,
    /// The type of the samples.
    pub format: SampleFormat,
    /// Samples per pixel, with alpha and others that are not used.
    pub samples: usize,
    /// Whether each sample has a plane of its own.
    pub is_planar: bool,
    /// Whether colours were multiplied by alpha, the sample after them.
    pub is_premultiplied: bool,
    /// What the samples mean.
    pub photometric: Photometric,
    /// How strips or tiles are compressed.
    pub compression: Compression,
    /// 1 (none), 2 (differences) or 3 (differences of floats).
    pub predictor: u64,
    /// Whether the first pixel of a byte is its lowest bit.
    pub is_reversed: bool,
    /// Whether the JPEG decoder is to convert YCbCr to RGB.
    pub converts_in_jpeg: bool,
    /// Width and height of a strip or tile.
    pub chunk: [u32; 2],
    /// The bytes that strips and tiles are in: the file, or a copy of it in which
    /// the bits of each byte are in the usual order.
    pub data: &'a [u8],
    offsets: Values<'a>,
    counts: Option<Values<'a>>,
}

impl<'a> Layout<'a> {
    /// Reads the tags.
    ///
    /// # Errors
    /// `Unsupported` for what is not implemented, `Broken` for contradictions.
    pub(super) fn read(file: TiffFile<'a>, directory: Directory<'a>) -> Result<Self, ImageError> {
        let required = |tag, name| {
            let value = directory.uint(tag).and_then(|v| u32::try_from(v).ok());
            value.ok_or_else(|| broken(format!("it has no {name}")))
        };
        let size = [
            required(tag::WIDTH, "width")?,
            required(tag::HEIGHT, "height")?,
        ];
        let compression = Compression::read(&directory)?;
        let samples = directory.uint(tag::SAMPLES).unwrap_or(1);
        let samples = usize::try_from(samples).unwrap_or(0);
        if !(1..=usize::from(u16::MAX)).contains(&samples) {
            return Err(broken("it has no samples per pixel"));
        }
        let is_planar = samples > 1 && directory.uint(tag::PLANAR) == Some(2);
        let mut photometric = photometric(&directory, samples, compression)?;
        let converts_in_jpeg =
            photometric == Photometric::YCbCr && compression.is_jpeg() && !is_planar;
        if converts_in_jpeg {
            photometric = Photometric::Rgb;
        }
        let channels = photometric.channels();
        if samples < channels {
            return Err(broken(
                "it has fewer samples per pixel than its colours need",
            ));
        }
        let extra = directory.get(tag::EXTRA_SAMPLES);
        let is_premultiplied = samples > channels
            && matches!(photometric, Photometric::Rgb | Photometric::BlackIsZero)
            && extra.and_then(|values| values.uint(0)) == Some(1);
        let used = channels + usize::from(is_premultiplied);
        let (bits, format) = sample_type(&directory, used)?;
        let (chunk, offsets, counts) = match directory.get(tag::JPEG_STREAM) {
            // The image as one JPEG, to which this compression usually points.
            Some(offsets) if compression == Compression::OldJpeg => (size, offsets, None),
            _ => chunks(&directory, size)?,
        };
        let layout = Self {
            file,
            directory,
            size,
            bits,
            format,
            samples,
            is_planar,
            is_premultiplied,
            photometric,
            compression,
            predictor: match compression {
                Compression::Lzw | Compression::Deflate => {
                    directory.uint(tag::PREDICTOR).unwrap_or(1)
                }
                _ => 1,
            },
            is_reversed: directory.uint(tag::FILL_ORDER) == Some(2) && !compression.is_jpeg(),
            converts_in_jpeg,
            chunk,
            data: file.bytes,
            offsets,
            counts,
        };
        layout.check()?;
        Ok(layout)
    }

    /// Refuses combinations that no program writes.
    fn check(&self) -> Result<(), ImageError> {
        let is_known = match self.predictor {
            1 => true,
            2 => matches!(self.bits, 8 | 16 | 32 | 64),
            3 => self.format == SampleFormat::Float,
            _ => false,
        };
        if !is_known {
            return Err(broken("its predictor does not fit its samples"));
        }
        if (self.compression.is_fax() && self.bits != 1)
            || (self.compression.is_jpeg() && self.bits != 8)
        {
            return Err(ImageError::unsupported(format!(
                "a TIFF with samples of {} bits in this compression",
                self.bits
            )));
        }
        Ok(())
    }

    /// The byte order of the samples after decompression.
    pub(super) fn order(&self) -> ByteOrder {
        match self.predictor {
            3 => ByteOrder::Big,
            _ => self.file.order,
        }
    }

    /// Samples of one plane in a row of a chunk.
    pub(super) fn row_samples(&self) -> usize {
        let per_pixel = if self.is_planar { 1 } else { self.samples };
        self.chunk[0] as usize * per_pixel
    }

    /// The stored bytes of a strip or tile.
    ///
    /// # Errors
    /// `Broken` if they are outside the file.
    pub(super) fn chunk_bytes(&self, index: usize) -> Result<&'a [u8], ImageError> {
        let outside = || broken("a strip or tile is not in the file");
        let offset = self.offsets.uint(index).ok_or_else(outside)?;
        let offset = usize::try_from(offset).map_err(|_| outside())?;
        let rest = self.data.get(offset..).ok_or_else(outside)?;
        let count = self.counts.and_then(|counts| counts.uint(index));
        let length = match count {
            // Uncompressed pixels have a known length, and some counts are wrong.
            _ if self.compression == Compression::None => rest.len(),
            // Some writers leave the counts out.
            None | Some(0) => rest.len(),
            Some(count) => usize::try_from(count).unwrap_or(rest.len()),
        };
        Ok(&rest[..length.min(rest.len())])
    }
}

/// Size, offsets and byte counts of strips or tiles.
type Chunks<'a> = ([u32; 2], Values<'a>, Option<Values<'a>>);

fn chunks<'a>(
    directory: &Directory<'a>,
    [width, height]: [u32; 2],
) -> Result<Chunks<'a>, ImageError> {
    let side = |tag, whole: u32| {
        let value = directory.uint(tag).filter(|&value| value > 0);
        value.map_or(whole, |value| u32::try_from(value).unwrap_or(u32::MAX))
    };
    let tiles = directory
        .get(tag::TILE_OFFSETS)
        .filter(|_| directory.get(tag::TILE_WIDTH).is_some());
    if let Some(offsets) = tiles {
        let chunk = [side(tag::TILE_WIDTH, width), side(tag::TILE_HEIGHT, height)];
        let counts = directory.get(tag::TILE_COUNTS);
        return Ok((chunk, offsets, counts.or(directory.get(tag::STRIP_COUNTS))));
    }
    let offsets = directory.get(tag::STRIP_OFFSETS);
    let offsets = offsets.ok_or_else(|| broken("it does not say where its pixels are"))?;
    let chunk = [width, side(tag::ROWS_PER_STRIP, height).min(height)];
    Ok((chunk, offsets, directory.get(tag::STRIP_COUNTS)))
}

fn photometric(
    directory: &Directory<'_>,
    samples: usize,
    compression: Compression,
) -> Result<Photometric, ImageError> {
    let name = match directory.uint(tag::PHOTOMETRIC) {
        Some(0) => return Ok(Photometric::WhiteIsZero),
        Some(1 | 4) => return Ok(Photometric::BlackIsZero),
        Some(2) => return Ok(Photometric::Rgb),
        Some(3) => return Ok(Photometric::Palette),
        // As in Pillow, the first four inks count, whatever they are called.
        Some(5) => return Ok(Photometric::Cmyk),
        Some(6) => return Ok(Photometric::YCbCr),
        Some(8) => return Ok(Photometric::CieLab),
        Some(9) => return Ok(Photometric::IccLab),
        // As libtiff guesses.
        None if samples >= 3 => return Ok(Photometric::Rgb),
        None if compression.is_fax() => return Ok(Photometric::WhiteIsZero),
        None => return Ok(Photometric::BlackIsZero),
        Some(10) => "the L*a*b* colours of fax machines".to_string(),
        Some(32844 | 32845) => "LogLuv colours".to_string(),
        Some(other) => format!("pixels of kind {other}"),
    };
    Err(ImageError::unsupported(format!("a TIFF with {name}")))
}

/// Bits and type of the samples that are used, which must be the same for all.
fn sample_type(
    directory: &Directory<'_>,
    used: usize,
) -> Result<(usize, SampleFormat), ImageError> {
    let same = |tag, default| {
        let Some(values) = directory.get(tag) else {
            return Some(default);
        };
        let first = values.uint(0)?;
        // Some writers store one value for all samples.
        let mut others = (1..used.min(values.count())).map(|at| values.uint(at));
        others.all(|value| value == Some(first)).then_some(first)
    };
    let mixed = || ImageError::unsupported("a TIFF with samples of different types");
    let bits = same(tag::BITS, 1).ok_or_else(mixed)?;
    let format = match same(tag::SAMPLE_FORMAT, 1).ok_or_else(mixed)? {
        2 => SampleFormat::Signed,
        3 => SampleFormat::Float,
        5 | 6 => return Err(ImageError::unsupported("a TIFF with complex numbers")),
        _ => SampleFormat::Unsigned,
    };
    let is_known = match format {
        SampleFormat::Float => matches!(bits, 16 | 32 | 64),
        _ => matches!(bits, 1..=16 | 24 | 32 | 64),
    };
    if !is_known {
        let kind = match format {
            SampleFormat::Float => "floating-point ",
            _ => "",
        };
        return Err(ImageError::unsupported(format!(
            "a TIFF with {kind}samples of {bits} bits"
        )));
    }
    Ok((bits as usize, format))
}

/// Something in the file is contradictory or missing.
pub(super) fn broken(reason: impl ToString) -> ImageError {
    ImageError::broken(Format::Tiff, reason)
}
