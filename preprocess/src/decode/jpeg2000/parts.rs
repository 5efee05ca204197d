//! Counts the tiles, precincts and code blocks of an image (ISO/IEC 15444-1, annex
//! B), for each of which the decoder takes memory.

use std::ops::Range;

use crate::decode::jpeg2000::faults::damaged;
use crate::decode::jpeg2000::grid::{MAX_TILES, cells, divide, reduced};
use crate::error::ImageError;
use crate::limits::Budget;

/// The decoder takes about 28 bytes per pixel, so its images are limited to a third
/// of the pixels.
pub(super) const SHARE: u64 = 3;

/// Bytes that the decoder takes for a pixel.
pub(super) const PER_PIXEL: u64 = 28;

/// Bytes for each pixel that the code blocks and precincts of any image may take.
const PARTS_PER_PIXEL: u64 = 8;

/// The most components that are decoded.
const MAX_COMPONENTS: usize = 5;

/// Half of the bytes below are never written: lists grow by doubling.
const SPARE: u64 = 2;

/// Bytes that the decoder takes for a component of a tile, for a precinct, for a code
/// block, for a layer of a code block, and for a part of its data.
const PER_COMPONENT: u64 = 1000;
const PER_PRECINCT: u64 = 430;
const PER_BLOCK: u64 = 470;
const PER_LAYER: u64 = 48;
const PER_PASS: u64 = 80;

/// The most coding passes of a code block that the decoder accepts.
const MAX_PASSES: u64 = 94;

/// The most layers that the decoder accepts.
const MAX_LAYERS: u16 = 32;

/// How a component is divided: the content of COD and COC.
#[derive(Clone)]
struct Style {
    layers: u64,
    /// The parts of its data that a code block may have.
    passes: u64,
    /// The size of code blocks as powers of two.
    block: [u8; 2],
    /// The size of the precincts of each resolution as powers of two.
    precincts: Vec<[u8; 2]>,
}

/// How each component is divided.
#[derive(Clone, Default)]
pub(super) struct Styles {
    all: Option<Style>,
    each: [Option<Style>; MAX_COMPONENTS],
}

impl Styles {
    /// Reads a marker segment if it is COD or COC.
    ///
    /// # Errors
    /// `Broken`, `Unsupported` for rare codings.
    pub(super) fn read(&mut self, code: u8, content: &[u8]) -> Result<(), ImageError> {
        match (code, content) {
            (0x52, [flags, _, l0, l1, _, rest @ ..]) => {
                let layers = u16::from_be_bytes([*l0, *l1]);
                if layers > MAX_LAYERS {
                    return Err(ImageError::unsupported(format!(
                        "a JPEG 2000 image with {layers} quality layers"
                    )));
                }
                self.all = Some(Style::read(*flags, rest, layers)?);
            }
            (0x53, [component, flags, rest @ ..]) => {
                let layers = self.all.as_ref().map_or(MAX_LAYERS.into(), |s| s.layers);
                let each = self.each.get_mut(usize::from(*component));
                let style = Style::read(*flags, rest, layers as u16)?;
                *each.ok_or_else(damaged)? = Some(style);
            }
            (0x52 | 0x53, _) => return Err(damaged()),
            _ => {}
        }
        Ok(())
    }

    /// The styles that a component may have.
    fn of(&self, component: usize) -> impl Iterator<Item = &Style> {
        self.all.iter().chain(&self.each[component])
    }
}

impl Style {
    fn read(flags: u8, parameters: &[u8], layers: u16) -> Result<Self, ImageError> {
        let &[
            levels @ 0..=32,
            x @ 0..=8,
            y @ 0..=8,
            coding,
            _,
            ref sizes @ ..,
        ] = parameters
        else {
            return Err(damaged());
        };
        if coding & 0x40 != 0 {
            let found = "a JPEG 2000 image with the coding of part 15 (HTJ2K)";
            return Err(ImageError::unsupported(found));
        }
        let resolutions = usize::from(levels) + 1;
        let precincts = match flags & 1 {
            0 => vec![[15, 15]; resolutions],
            _ => {
                let sizes = sizes.get(..resolutions).ok_or_else(damaged)?;
                sizes.iter().map(|size| [size & 15, size >> 4]).collect()
            }
        };
        let layers = u64::from(layers);
        Ok(Self {
            layers,
            passes: match coding & 5 {
                0 => layers,
                _ => MAX_PASSES,
            },
            block: [x + 2, y + 2],
            precincts,
        })
    }
}

/// The size of an image, and the bytes that its parts take in the decoder.
pub(super) struct Parts {
    /// Width and height of the image.
    pub(super) size: [u32; 2],
    /// The tiles of a row and of a column, each from its start to its end.
    tiles: [Vec<Range<u64>>; 2],
    /// The distances of the samples of each component.
    steps: Vec<[u64; 2]>,
    /// Bytes for the tile that takes the most.
    largest: u64,
}

impl Parts {
    /// Reads the content of SIZ.
    ///
    /// # Errors
    /// `Broken`, `Unsupported` for more than five components.
    pub(super) fn new(content: &[u8]) -> Result<Self, ImageError> {
        let (numbers, components) = content.split_at_checked(36).ok_or_else(damaged)?;
        let numbers = numbers[2..34].as_chunks::<4>().0;
        let numbers = |at: usize| u64::from(u32::from_be_bytes(numbers[at]));
        let components = components.as_chunks::<3>().0;
        if components.len() > MAX_COMPONENTS {
            let found = "a JPEG 2000 image with more than five components";
            return Err(ImageError::unsupported(found));
        }
        let step = |&[_, x, y]: &[u8; 3]| [x, y].map(|step| u64::from(step.max(1)));
        let steps: Vec<_> = components.iter().map(step).collect();
        let mut tiles = [Vec::new(), Vec::new()];
        let mut size = [0; 2];
        for axis in 0..2 {
            let image = numbers(2 + axis)..numbers(axis);
            tiles[axis] = divide(&image, numbers(6 + axis), numbers(4 + axis))?;
            let least = steps.iter().map(|step| step[axis]).min();
            let length = image.end - image.start;
            size[axis] = length.div_ceil(least.unwrap_or(1)) as u32;
        }
        let parts = Self {
            size,
            tiles,
            steps,
            largest: 0,
        };
        match parts.tiles() {
            0..=MAX_TILES => Ok(parts),
            _ => Err(damaged()),
        }
    }

    /// The number of tiles.
    pub(super) fn tiles(&self) -> u64 {
        let [columns, rows] = &self.tiles;
        columns.len() as u64 * rows.len() as u64
    }

    /// Checks the memory of tiles, precincts and code blocks. An image may use for them
    /// what a larger one would take for its pixels.
    ///
    /// # Errors
    /// `Unsupported` if they take more.
    pub(super) fn check(&self, budget: &Budget<'_>) -> Result<(), ImageError> {
        let [width, height] = self.size;
        let pixels = u64::from(width) * u64::from(height);
        let left = (budget.limits().max_pixels / SHARE).saturating_sub(pixels);
        match self.memory() > PER_PIXEL * left + PARTS_PER_PIXEL * pixels {
            true => Err(ImageError::unsupported(
                "a JPEG 2000 image with very small tiles, precincts or code blocks",
            )),
            false => Ok(()),
        }
    }

    /// The bytes that are taken at once.
    fn memory(&self) -> u64 {
        let tiles = self.tiles() * self.steps.len() as u64 * PER_COMPONENT;
        tiles.saturating_add(self.largest)
    }

    /// Adds all tiles, and returns the work for them.
    pub(super) fn add_image(&mut self, styles: &Styles) -> u64 {
        let [columns, rows] = &self.tiles;
        let [all, largest] = self.bytes([columns, rows], styles);
        self.largest = self.largest.max(largest);
        all / SPARE
    }

    /// Adds a tile that has its own styles, and returns the work for it.
    pub(super) fn add_tile(&mut self, index: u16, styles: &Styles) -> u64 {
        let [columns, rows] = &self.tiles;
        let (row, column) = (
            usize::from(index) / columns.len(),
            usize::from(index) % columns.len(),
        );
        let Some(row) = rows.get(row) else { return 0 };
        let tile = [&columns[column..=column], std::slice::from_ref(row)];
        let [all, largest] = self.bytes(tile, styles);
        self.largest = self.largest.max(largest);
        all / SPARE
    }

    /// The bytes for all tiles in these columns and rows, and for the largest.
    fn bytes(&self, tiles: [&[Range<u64>]; 2], styles: &Styles) -> [u64; 2] {
        let mut bytes = [0_u64; 2];
        for (component, steps) in self.steps.iter().enumerate() {
            for style in styles.of(component) {
                let block = PER_BLOCK + PER_LAYER * style.layers + PER_PASS * style.passes;
                for resolution in 0..style.precincts.len() {
                    let counts = [0, 1].map(|axis| {
                        let tiles = tiles[axis].iter();
                        tiles.fold(Counts::default(), |counts, tile| {
                            counts.add(style, resolution, axis, tile, steps[axis])
                        })
                    });
                    let bands = if resolution == 0 { 1 } else { 3 };
                    let [x, y] = counts;
                    for i in 0..2 {
                        let precincts = x.precincts[i].saturating_mul(y.precincts[i]);
                        let blocks = x.blocks[i].saturating_mul(y.blocks[i]);
                        bytes[i] = bytes[i]
                            .saturating_add(precincts.saturating_mul(bands * PER_PRECINCT))
                            .saturating_add(blocks.saturating_mul(bands * block));
                    }
                }
            }
        }
        bytes
    }
}

/// The precincts and code blocks along one axis, of all tiles and of the tile with
/// the most.
#[derive(Clone, Copy, Default)]
struct Counts {
    precincts: [u64; 2],
    blocks: [u64; 2],
}

impl Counts {
    /// Adds those of a tile in one resolution of a component.
    fn add(
        self,
        style: &Style,
        resolution: usize,
        axis: usize,
        tile: &Range<u64>,
        step: u64,
    ) -> Self {
        let level = style.precincts.len() - 1 - resolution;
        let precinct = style.precincts[resolution][axis];
        let block = style.block[axis];
        let samples = tile.start.div_ceil(step)..tile.end.div_ceil(step);
        let precincts = cells(reduced(&samples, level, 0), precinct);
        let blocks = match resolution {
            0 => cells(reduced(&samples, level, 0), block.min(precinct)),
            _ => {
                let block = block.min(precinct.saturating_sub(1));
                // The low and the high frequencies.
                let bands = [0, 1 << level].map(|offset| reduced(&samples, level + 1, offset));
                let [low, high] = bands.map(|band| cells(band, block));
                low.max(high)
            }
        };
        let add = |[all, most]: [u64; 2], count: u64| [all + count, most.max(count)];
        Self {
            precincts: add(self.precincts, precincts),
            blocks: add(self.blocks, blocks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of SIZ for one component of 1000 x 500 samples.
    fn size(tile: u32) -> Vec<u8> {
        let mut content = vec![0; 2];
        for number in [1000, 500, 0, 0, tile, tile, 0, 0_u32] {
            content.extend(number.to_be_bytes());
        }
        content.extend([0, 1, 7, 1, 1]);
        content
    }

    /// Styles with one resolution, one layer, and sizes as powers of two.
    fn styles(block: u8, precinct: u8) -> Styles {
        let mut styles = Styles::default();
        let content = [1, 0, 0, 1, 0, 0, block - 2, block - 2, 0, 1, precinct * 17];
        styles.read(0x52, &content).unwrap();
        styles
    }

    #[test]
    fn precincts_and_code_blocks_are_counted() {
        let per_block = PER_BLOCK + PER_LAYER + PER_PASS;
        for (tile, block, precinct, precincts, blocks, blocks_of_tile) in [
            (1000, 6, 15, 1, 16 * 8, 16 * 8),
            (1000, 6, 7, 8 * 4, 16 * 8, 16 * 8),
            (1000, 6, 4, 63 * 32, 63 * 32, 63 * 32),
            (256, 2, 15, 8, 250 * 125, 64 * 64),
        ] {
            let mut parts = Parts::new(&size(tile)).unwrap();
            let expected = precincts * PER_PRECINCT + blocks * per_block;
            assert_eq!(parts.add_image(&styles(block, precinct)), expected / SPARE);
            let tiles = parts.tiles();
            let largest = precincts.div_ceil(tiles) * PER_PRECINCT + blocks_of_tile * per_block;
            assert_eq!(parts.memory(), tiles * PER_COMPONENT + largest);
        }
        // A tile with its own styles takes what it alone needs.
        let mut parts = Parts::new(&size(256)).unwrap();
        let last = parts.add_tile(7, &styles(6, 15));
        assert_eq!(last, (PER_PRECINCT + 4 * 4 * per_block) / SPARE);
    }

    #[test]
    fn high_resolutions_have_three_bands() {
        let mut styles = Styles::default();
        styles.read(0x52, &[0, 0, 0, 1, 0, 1, 4, 4, 0, 1]).unwrap();
        let mut parts = Parts::new(&size(1000)).unwrap();
        let per_block = PER_BLOCK + PER_LAYER + PER_PASS;
        let expected = 4 * PER_PRECINCT + 4 * 8 * 4 * per_block;
        assert_eq!(parts.add_image(&styles), expected / SPARE);
    }

    #[test]
    fn rare_and_hostile_codings_are_refused() {
        assert!(Parts::new(&size(0)).is_err());
        assert!(Parts::new(&size(1)).is_err());
        let mut many = size(1000);
        many.extend([7, 1, 1].repeat(5));
        let many = Parts::new(&many).err().unwrap().to_string();
        assert!(many.contains("more than five components"), "{many}");
        for (content, text) in [
            ([0, 0, 0, 33, 0, 1, 4, 4, 0, 1], "33 quality layers"),
            ([0, 0, 0, 1, 0, 1, 4, 4, 0x40, 1], "HTJ2K"),
            ([0, 0, 0, 1, 0, 33, 4, 4, 0, 1], "damaged"),
        ] {
            let error = Styles::default().read(0x52, &content).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
