//! The coefficients of a progressive JPEG, which are complete only after its last
//! scan. Of blocks inside the crop, the coefficients that the transform uses are
//! stored; of all blocks, which coefficients are nonzero, as this decides how many
//! bits a refinement scan has.

use std::ops::Range;

use crate::decode::jpeg::layout::{ComponentLayout, Layout};
use crate::decode::jpeg::zigzag::ZIGZAG;

/// The coefficients of a component.
pub(crate) struct CoefficientPlane {
    /// Blocks per row of `nonzero`.
    columns: usize,
    /// The blocks whose coefficients are stored (columns, rows).
    stored: [Range<usize>; 2],
    /// Where the coefficients are stored, by their position in zigzag order.
    slots: Slots,
    /// Stored coefficients per block, and per row of a block.
    length: usize,
    width: usize,
    /// `[blocks]`: bit `63 - k` says whether the k-th AC coefficient in zigzag order
    /// is nonzero.
    nonzero: Vec<u64>,
    /// `[stored rows, stored columns, length]`.
    values: Vec<i16>,
}

/// The positions of stored coefficients in a block.
pub(crate) struct Slots {
    positions: [u8; 64],
    /// The stored coefficients, as bits like those of `nonzero`.
    pub kept: u64,
}

impl Slots {
    /// The position of the k-th coefficient in zigzag order. It is outside of the
    /// block if the coefficient is not stored.
    #[inline(always)]
    pub(crate) fn position(&self, k: usize) -> usize {
        self.positions[k % 64].into()
    }
}

/// A run of blocks in a row.
pub(crate) struct BlockRun<'a> {
    /// The nonzero coefficients of each block.
    pub nonzero: &'a mut [u64],
    /// The position of the coefficients in a block.
    pub slots: &'a Slots,
    /// The column of the first block.
    first: usize,
    stored: Range<usize>,
    length: usize,
    /// The stored blocks of this row; empty outside the crop.
    values: &'a mut [i16],
}

impl BlockRun<'_> {
    /// The stored coefficients of a block; empty outside the crop.
    #[inline(always)]
    pub(crate) fn block(&mut self, i: usize) -> &mut [i16] {
        let column = self.first + i;
        if self.values.is_empty() || !self.stored.contains(&column) {
            return &mut [];
        }
        &mut self.values[(column - self.stored.start) * self.length..][..self.length]
    }
}

impl CoefficientPlane {
    /// Coefficients that are all zero.
    pub(crate) fn new(layout: &Layout, component: usize) -> Self {
        let ComponentLayout { blocks, points, .. } = layout.components[component];
        let stored = layout.needed_blocks(component);
        let [width, height] = points;
        let mut slots = Slots {
            positions: [u8::MAX; 64],
            kept: 0,
        };
        for k in 0..64 {
            let (u, v) = (ZIGZAG[k] % 8, ZIGZAG[k] / 8);
            if usize::from(u) < width && usize::from(v) < height {
                slots.positions[k] = v * width as u8 + u;
                slots.kept |= 1 << (63 - k);
            }
        }
        let length = width * height;
        Self {
            columns: blocks[0],
            slots,
            length,
            width,
            nonzero: vec![0; blocks[0] * blocks[1]],
            values: vec![0; stored[0].len() * stored[1].len() * length],
            stored,
        }
    }

    /// The blocks `columns` of a row.
    pub(crate) fn run(&mut self, row: usize, columns: Range<usize>) -> BlockRun<'_> {
        let width = self.stored[0].len() * self.length;
        let values = if self.stored[1].contains(&row) {
            &mut self.values[(row - self.stored[1].start) * width..][..width]
        } else {
            &mut []
        };
        BlockRun {
            first: columns.start,
            nonzero: &mut self.nonzero[row * self.columns..][columns],
            slots: &self.slots,
            stored: self.stored[0].clone(),
            length: self.length,
            values,
        }
    }

    /// The DC coefficient of a block if it is stored.
    #[inline(always)]
    pub(crate) fn dc(&mut self, [column, row]: [usize; 2]) -> Option<&mut i16> {
        let [columns, rows] = &self.stored;
        if !columns.contains(&column) || !rows.contains(&row) {
            return None;
        }
        let block = (row - rows.start) * columns.len() + column - columns.start;
        self.values.get_mut(block * self.length)
    }

    /// The blocks with pixels of the image whose coefficients are stored.
    pub(crate) fn stored_blocks(&self) -> [Range<usize>; 2] {
        let [columns, rows] = self.stored.clone();
        let height = self.nonzero.len() / self.columns;
        [
            columns.start..columns.end.min(self.columns),
            rows.start..rows.end.min(height),
        ]
    }

    /// Copies the coefficients of a stored block to `to` in row order. Returns
    /// whether all but the first are zero; the others are then not copied.
    #[inline(always)]
    pub(crate) fn read(&self, [column, row]: [usize; 2], to: &mut [i16; 64]) -> bool {
        let [columns, rows] = &self.stored;
        let block = (row - rows.start) * columns.len() + column - columns.start;
        let values = &self.values[block * self.length..][..self.length];
        to[0] = values[0];
        if self.nonzero[row * self.columns + column] & self.slots.kept == 0 {
            return true;
        }
        for (to, values) in to.chunks_exact_mut(8).zip(values.chunks_exact(self.width)) {
            to[..self.width].copy_from_slice(values);
        }
        false
    }
}
