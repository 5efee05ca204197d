//! From the input tensor of a request to its images. By type and rank: BYTES, and
//! UINT8 of rank 1 or 2, are image files; UINT8 of rank 3 or 4 are RGB pixels;
//! FP32, FP16 and BF16 are normalised pixels, unless the model says otherwise.

use std::sync::Arc;

use bytes::Bytes;

use super::failure::Failure;
use super::tensor::{Datatype, InputTensor, TensorData, shape_text};
use crate::core::admission::ByteShare;
use crate::core::image::{EncodedImage, Encoding, ImageInput};
use crate::core::tensor::{Element, FloatFormat, FloatImage, FloatRange, Layout, PixelImage};

/// What a request for a model may send.
#[derive(Clone, Copy, Debug)]
pub struct ModelInput<'a> {
    /// The model, as the request names it.
    pub model: &'a str,
    /// Width and height of the network's input.
    pub side: usize,
    /// The most images of a request.
    pub most: usize,
    /// What floats mean.
    pub range: FloatRange,
}

/// The image that a request with an empty JSON header is (Triton's raw binary
/// request): a whole body.
#[must_use]
pub fn raw(body: Bytes, share: Arc<ByteShare>) -> Vec<ImageInput> {
    vec![encoded(body, Encoding::Raw, &share)]
}

/// The images of a tensor of the request whose body is counted in `share`.
///
/// # Errors
/// A type, shape or size that is not one of an image; too many images.
pub fn images(
    tensor: &InputTensor,
    input: ModelInput<'_>,
    share: &Arc<ByteShare>,
) -> Result<Vec<ImageInput>, Failure> {
    let reader = Reader {
        tensor,
        input,
        share,
    };
    let element = match tensor.datatype {
        Datatype::Bytes => return reader.elements(),
        Datatype::Uint8 if tensor.shape.len() <= 2 => return reader.files(),
        Datatype::Uint8 => return reader.pixels(),
        Datatype::Fp32 => Element::F32,
        Datatype::Fp16 => Element::F16,
        Datatype::Bf16 => Element::Bf16,
        other => {
            return Err(Failure::Invalid(format!(
                "inference input '{}' data-type is '{}', but model '{}' expects 'UINT8' pixels, \
                 'BYTES' image files, or 'FP32', 'FP16' or 'BF16' normalised pixels",
                tensor.name,
                other.name(),
                input.model
            )));
        }
    };
    reader.floats(element)
}

struct Reader<'a> {
    tensor: &'a InputTensor,
    input: ModelInput<'a>,
    share: &'a Arc<ByteShare>,
}

/// Images of one tensor.
struct Batch {
    count: usize,
    /// Height and width.
    size: [u32; 2],
    layout: Layout,
}

impl Reader<'_> {
    /// BYTES: each element is a file.
    fn elements(&self) -> Result<Vec<ImageInput>, Failure> {
        let (elements, encoding) = self.tensor.elements()?;
        let mut dims = self.tensor.shape.iter();
        let is_free = dims.clone().any(|&dim| dim < 0);
        let of_shape = dims.try_fold(1_i64, |product, &dim| product.checked_mul(dim));
        if !is_free && of_shape != i64::try_from(elements.len()).ok() {
            return Err(self.wrong_size(elements.len(), "elements"));
        }
        self.check_count(elements.len())?;
        let files = elements.into_iter();
        Ok(files
            .map(|file| encoded(file, encoding, self.share))
            .collect())
    }

    /// UINT8 `[nbytes]` or `[N, nbytes]`: each row is a file. Shorter files end with
    /// zeros, which decoders ignore.
    fn files(&self) -> Result<Vec<ImageInput>, Failure> {
        let data = self.raw()?;
        let (count, length) = match self.dims()?[..] {
            [length] => (1, length),
            [count, length] => (count, length),
            _ => return Err(self.wrong_shape()),
        };
        self.check_count(count)?;
        let rows = self.split(data, count, length)?;
        Ok(rows
            .map(|file| encoded(file, Encoding::Raw, self.share))
            .collect())
    }

    /// UINT8 `[N, H, W, 3]` or `[N, 3, H, W]`, with or without the N.
    fn pixels(&self) -> Result<Vec<ImageInput>, Failure> {
        let batch = self.batch(Layout::ChannelsLast)?;
        let length = batch.values();
        let data = self.raw()?;
        let Batch {
            count,
            size,
            layout,
        } = batch;
        let images = self.split(data, count, length)?;
        let image = |rgb| PixelImage::new(size, layout, rgb, Arc::clone(self.share));
        Ok(images.map(|rgb| ImageInput::Pixels(image(rgb))).collect())
    }

    /// As [`Reader::pixels`], of floats.
    fn floats(&self, element: Element) -> Result<Vec<ImageInput>, Failure> {
        let batch = self.batch(Layout::ChannelsFirst)?;
        let range = self.input.range;
        let side = self.input.side;
        if range == FloatRange::Normalised && batch.size.map(|n| n as usize) != [side; 2] {
            return Err(self.wrong_shape());
        }
        let length = batch.values().saturating_mul(element.size());
        let Batch {
            count,
            size,
            layout,
        } = batch;
        let format = FloatFormat {
            element,
            layout,
            range,
        };
        let images = self.split(self.raw()?, count, length)?;
        let image = |values| FloatImage::new(size, format, values, Arc::clone(self.share));
        Ok(images
            .map(|values| ImageInput::Floats(image(values)))
            .collect())
    }

    /// The images of a tensor of rank 3 or 4. Where both layouts are possible, it is
    /// `preferred`.
    fn batch(&self, preferred: Layout) -> Result<Batch, Failure> {
        let dims = self.dims()?;
        let (count, [a, b, c]) = match dims[..] {
            [a, b, c] => (1, [a, b, c]),
            [count, a, b, c] => (count, [a, b, c]),
            _ => return Err(self.wrong_shape()),
        };
        self.check_count(count)?;
        let (layout, size) = match (a, c) {
            (3, 3) if preferred == Layout::ChannelsFirst => (preferred, [b, c]),
            (_, 3) => (Layout::ChannelsLast, [a, b]),
            (3, _) => (Layout::ChannelsFirst, [b, c]),
            _ => return Err(self.wrong_shape()),
        };
        let [Ok(height), Ok(width)] = size.map(u32::try_from) else {
            return Err(self.wrong_shape());
        };
        match height * width.min(1) {
            0 => Err(self.wrong_shape()),
            _ => Ok(Batch {
                count,
                size: [height, width],
                layout,
            }),
        }
    }

    fn dims(&self) -> Result<Vec<usize>, Failure> {
        let dims = self.tensor.shape.iter().map(|&dim| usize::try_from(dim));
        dims.collect::<Result<_, _>>()
            .map_err(|_| self.wrong_shape())
    }

    fn raw(&self) -> Result<Bytes, Failure> {
        match &self.tensor.data {
            TensorData::Raw(raw) => Ok(raw.clone()),
            TensorData::Elements(..) => Err(Failure::Invalid(format!(
                "inference input '{}' has strings, but its data-type is '{}'",
                self.tensor.name,
                self.tensor.datatype.name()
            ))),
        }
    }

    /// `count` pieces of `length` bytes.
    fn split(
        &self,
        data: Bytes,
        count: usize,
        length: usize,
    ) -> Result<impl Iterator<Item = Bytes> + use<>, Failure> {
        if count.checked_mul(length) != Some(data.len()) {
            return Err(self.wrong_size(data.len(), "bytes"));
        }
        Ok((0..count).map(move |i| data.slice(i * length..(i + 1) * length)))
    }

    fn check_count(&self, count: usize) -> Result<(), Failure> {
        let ModelInput { model, most, .. } = self.input;
        let rule = match count {
            0 => ">= 1".to_owned(),
            count if count > most => format!("<= {most}"),
            _ => return Ok(()),
        };
        Err(Failure::Invalid(format!(
            "inference request batch-size must be {rule} for '{model}'"
        )))
    }

    fn wrong_shape(&self) -> Failure {
        let ModelInput { model, side, .. } = self.input;
        let side = side as i64;
        let expected = match self.tensor.datatype {
            Datatype::Uint8 => [-1, side, side, 3],
            _ => [-1, 3, side, side],
        };
        Failure::Invalid(format!(
            "unexpected shape for input '{}' for model '{model}'. Expected {}, got {}",
            self.tensor.name,
            shape_text(&expected),
            shape_text(&self.tensor.shape)
        ))
    }

    fn wrong_size(&self, found: usize, what: &str) -> Failure {
        Failure::Invalid(format!(
            "input byte size mismatch for input '{}' for model '{}'. The shape is {} of {}, got \
             {found} {what}",
            self.tensor.name,
            self.input.model,
            shape_text(&self.tensor.shape),
            self.tensor.datatype.name()
        ))
    }
}

impl Batch {
    fn values(&self) -> usize {
        let [height, width] = self.size.map(|n| n as usize);
        height.saturating_mul(width).saturating_mul(3)
    }
}

fn encoded(file: Bytes, encoding: Encoding, share: &Arc<ByteShare>) -> ImageInput {
    ImageInput::Encoded(EncodedImage::new(file, encoding, Arc::clone(share)))
}
