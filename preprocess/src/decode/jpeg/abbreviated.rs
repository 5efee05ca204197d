//! JPEG streams inside other formats. Those of TIFF are abbreviated (ITU-T T.81,
//! B.4 and B.5): one stream has the tables, the others have the images.

use crate::decode::interleaved::InterleavedPixels;
use crate::decode::jpeg::color::Color;
use crate::decode::jpeg::frame::decode_frame;
use crate::decode::jpeg::header::{JpegReader, broken, component_count};
use crate::decode::jpeg::layout::Layout;
use crate::decode::jpeg::planes::{JpegPlanes, STEP, fill_columns};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::support::simd::Simd;

/// A JPEG stream, and what its container says about it.
pub(crate) struct AbbreviatedStream<'a> {
    /// A stream with tables only; may be empty.
    pub tables: &'a [u8],
    /// The stream with the image.
    pub image: &'a [u8],
    /// The colours. `None` if the markers of the stream decide.
    pub color: Option<Color>,
    /// The largest width and height that the container has room for.
    pub max_size: [u32; 2],
}

/// Decodes a whole stream at full size. The result has one channel per component,
/// or three after a colour conversion.
///
/// # Errors
/// `TooLarge` above the limit of `budget`, `Unsupported` for rare coding processes, `Broken` for
/// damage and for an image that is larger than `max_size`.
pub(crate) fn decode_abbreviated(
    simd: Simd,
    stream: &AbbreviatedStream,
    budget: &Budget<'_>,
) -> Result<InterleavedPixels, ImageError> {
    let tables = JpegReader::read_tables(stream.tables)?;
    let (mut reader, frame, scan) = JpegReader::open_with(tables, stream.image)?;
    let [width, height] = frame.size;
    if width > stream.max_size[0] || height > stream.max_size[1] {
        return Err(broken("it is larger than its container says"));
    }
    budget.check(Format::Jpeg, width, height)?;
    let color = match stream.color {
        Some(color) => color,
        None => reader.color()?,
    };
    let count = frame.components.len();
    let bytes = u64::from(width) * u64::from(height) * count as u64;
    budget.spend(Format::Jpeg, bytes)?;
    let fits = match color {
        Color::Unchanged => true,
        Color::YCbCr => count == 3,
        Color::Cmyk | Color::Ycck => count == 4,
    };
    if !fits {
        return Err(component_count(count));
    }
    let layout = Layout::new(&frame, 8)?;
    let planes = decode_frame(simd, &mut reader, &layout, scan, budget)?;
    let planes = JpegPlanes::new(layout.size, planes, color);
    Ok(InterleavedPixels {
        width,
        height,
        channels: planes.channels(),
        samples: interleave(simd, &planes),
    })
}

/// The pixels in rows: `[height, width, channels]`.
fn interleave(simd: Simd, planes: &JpegPlanes) -> Vec<u8> {
    let ([width, height], channels) = (planes.size(), planes.channels());
    let plane = width * STEP;
    let mut columns = vec![0; channels * plane];
    let mut samples = vec![0; width * height * channels];
    for (i, band) in samples.chunks_mut(width * channels * STEP).enumerate() {
        let rows = i * STEP..height.min((i + 1) * STEP);
        fill_columns(simd, planes, 0..width, rows, &mut columns, [plane, STEP]);
        for (y, row) in band.chunks_exact_mut(width * channels).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
                for (channel, sample) in pixel.iter_mut().enumerate() {
                    *sample = columns[channel * plane + x * STEP + y];
                }
            }
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::jpeg::markers::{DHT, DQT, Segments};
    use crate::limits::Limits;

    fn test_image(name: &str) -> Vec<u8> {
        std::fs::read(format!(
            "{}/tests/images/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
    }

    fn decode(stream: &AbbreviatedStream) -> Result<InterleavedPixels, ImageError> {
        let budget = Budget::new(&Limits::default(), &|| false);
        decode_abbreviated(Simd::best(), stream, &budget)
    }

    #[test]
    fn tables_may_be_in_another_stream() {
        let file = test_image("odd_420.jpg");
        let mut tables = vec![0xff, 0xd8];
        let mut image = file.clone();
        for (marker, payload) in (Segments { rest: &file }) {
            if marker == DQT || marker == DHT {
                let segment = [&[0xff, marker, 0, payload.len() as u8 + 2], payload].concat();
                let at = image.windows(segment.len()).position(|w| w == segment);
                image.drain(at.unwrap()..at.unwrap() + segment.len());
                tables.extend(segment);
            }
        }
        tables.extend([0xff, 0xd9]);
        let mut stream = AbbreviatedStream {
            tables: &tables,
            image: &image,
            color: None,
            max_size: [61, 37],
        };
        let pixels = decode(&stream).unwrap();
        assert_eq!((pixels.width, pixels.height, pixels.channels), (61, 37, 3));
        stream.tables = &[];
        assert!(decode(&stream).is_err(), "no quantisation tables");
        stream.image = &file;
        assert_eq!(decode(&stream).unwrap().samples, pixels.samples);
        stream.color = Some(Color::Unchanged);
        assert_ne!(decode(&stream).unwrap().samples, pixels.samples);
        stream.color = Some(Color::Ycck);
        assert!(matches!(
            decode(&stream),
            Err(ImageError::Unsupported { .. })
        ));
        stream.max_size = [60, 37];
        assert!(matches!(decode(&stream), Err(ImageError::Broken { .. })));
    }
}
