//! The blocks of a JPEG: how many there are, which of them are decoded, and with
//! how many points. Pairs are (horizontal, vertical).

use std::array::from_fn;
use std::ops::Range;

use crate::decode::jpeg::header::{Frame, ScanHeader, broken};
use crate::decode::jpeg::planes::ComponentPlane;
use crate::error::ImageError;

/// The most blocks in an MCU of several components (ITU-T T.81, B.2.3).
const MAX_BLOCKS_IN_MCU: usize = 10;

/// The blocks of an image.
pub(crate) struct Layout {
    /// Width and height of the decoded image.
    pub size: [usize; 2],
    /// Whether the coding is progressive.
    pub is_progressive: bool,
    /// Whether the decoded image is smaller than that of the file.
    pub is_reduced: bool,
    /// MCUs of a scan of all components.
    pub mcus: [usize; 2],
    /// The MCUs that the crop depends on.
    needed: [Range<usize>; 2],
    /// Pixels of the decoded image per MCU.
    mcu_size: [usize; 2],
    /// The components in the order of the frame header.
    pub components: Vec<ComponentLayout>,
}

/// The blocks of a component.
pub(crate) struct ComponentLayout {
    /// The index of the quantisation table.
    pub quantization: usize,
    /// Blocks in an MCU of all components.
    pub sampling: [usize; 2],
    /// Blocks with pixels of the image.
    pub blocks: [usize; 2],
    /// Samples that are computed per block.
    pub points: [usize; 2],
    /// Pixels of the decoded image per sample.
    ratio: [usize; 2],
}

/// The MCUs of a scan.
pub(crate) struct ScanLayout {
    /// Columns and rows of MCUs.
    pub mcus: [usize; 2],
    /// The MCUs that the crop depends on.
    pub needed: [Range<usize>; 2],
    /// Blocks in an MCU of each component of the scan.
    pub blocks: Vec<[usize; 2]>,
}

impl Layout {
    /// All blocks of an image, with `points` x `points` pixels of the decoded image
    /// per 8 x 8 pixels of the file: 1, 2, 4 or 8.
    ///
    /// # Errors
    /// `Unsupported` if a component has no whole number of pixels per sample, as in
    /// libjpeg.
    pub(crate) fn new(frame: &Frame, points: usize) -> Result<Self, ImageError> {
        let components = &frame.components;
        // In a scan of one component, an MCU is one block, whatever the sampling
        // factors are (A.2.2).
        let sampling = |i: usize| match components.len() {
            1 => [1, 1],
            _ => components[i].sampling,
        };
        let all = 0..components.len();
        let largest = from_fn(|axis| all.clone().map(|i| sampling(i)[axis]).max().unwrap_or(1));
        let size = frame
            .size
            .map(|length| (length as usize * points).div_ceil(8));
        let mcu_size = largest.map(|blocks| blocks * points);
        let mcus: [usize; 2] = from_fn(|axis| size[axis].div_ceil(mcu_size[axis]));
        let component = |i: usize| {
            let sampling = sampling(i);
            if (0..2).any(|axis| !largest[axis].is_multiple_of(sampling[axis])) {
                let found = "a JPEG with fractional chroma sampling";
                return Err(ImageError::unsupported(found));
            }
            let full: [usize; 2] = from_fn(|axis| largest[axis] / sampling[axis]);
            // In a reduced image, a block of a component at half resolution is
            // computed with twice the points, so that no upsampling is needed.
            let factor = full.map(|ratio| match ratio {
                2 | 4 => ratio.min(8 / points),
                _ => 1,
            });
            let blocks = from_fn(|axis| {
                let samples = (frame.size[axis] as usize).div_ceil(full[axis]);
                samples.div_ceil(8)
            });
            Ok(ComponentLayout {
                quantization: components[i].quantization,
                sampling,
                blocks,
                points: factor.map(|factor| points * factor),
                ratio: from_fn(|axis| full[axis] / factor[axis]),
            })
        };
        let components = all.map(component).collect::<Result<_, _>>()?;
        Ok(Self {
            size,
            is_progressive: frame.progressive,
            is_reduced: points < 8,
            mcus,
            needed: mcus.map(|count| 0..count),
            mcu_size,
            components,
        })
    }

    /// Limits the decoded part to the MCUs of these pixels of the decoded image.
    pub(crate) fn crop(&mut self, pixels: [Range<usize>; 2]) {
        self.needed = from_fn(|axis| {
            let size = self.mcu_size[axis];
            // Chroma upsampling reads one sample, of up to four pixels, on each side.
            let first = pixels[axis].start.saturating_sub(4) / size;
            let last = (pixels[axis].end + 3) / size;
            first..(last + 1).min(self.mcus[axis])
        });
    }

    /// The blocks of a component that are decoded.
    pub(crate) fn needed_blocks(&self, component: usize) -> [Range<usize>; 2] {
        let sampling = self.components[component].sampling;
        from_fn(|axis| {
            let needed = &self.needed[axis];
            needed.start * sampling[axis]..needed.end * sampling[axis]
        })
    }

    /// Space for the decoded samples of a component.
    pub(crate) fn plane(&self, component: usize) -> ComponentPlane {
        let needed = self.needed_blocks(component);
        let first = from_fn(|axis| needed[axis].start);
        let count = from_fn(|axis| needed[axis].len());
        let ComponentLayout { ratio, points, .. } = self.components[component];
        ComponentPlane::new(self.size, ratio, points, first, count)
    }

    /// The MCUs of a scan (A.2).
    ///
    /// # Errors
    /// `Broken` if an MCU has too many blocks.
    pub(crate) fn scan(&self, scan: &ScanHeader) -> Result<ScanLayout, ImageError> {
        if let [component] = scan.components[..] {
            let mcus = self.components[component.index].blocks;
            let needed = self.needed_blocks(component.index);
            return Ok(ScanLayout {
                mcus,
                needed: from_fn(|axis| needed[axis].start..needed[axis].end.min(mcus[axis])),
                blocks: vec![[1, 1]],
            });
        }
        let components = scan.components.iter();
        let blocks: Vec<_> = components
            .map(|component| self.components[component.index].sampling)
            .collect();
        if blocks.iter().map(|[x, y]| x * y).sum::<usize>() > MAX_BLOCKS_IN_MCU {
            return Err(broken("its scans have more than 10 blocks per MCU"));
        }
        Ok(ScanLayout {
            mcus: self.mcus,
            needed: self.needed.clone(),
            blocks,
        })
    }
}
