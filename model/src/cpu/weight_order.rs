//! The order of the reduction dimension K of a convolution: which runs of
//! consecutive input words a micro-kernel reads, and where each weight goes in
//! its packed panel to match.

use super::amx::ROW_BYTES;
use super::conv_spec::ConvSpec;
use super::run::Run;

/// Maps a weight's kernel row, kernel column and input channel to its position
/// along K.
pub(crate) struct WeightOrder {
    /// Elements from one kernel row to the next.
    row: usize,
    /// Elements from one kernel column to the next.
    column: usize,
    /// Input channels of a slice.
    slice: usize,
    /// Elements from one channel slice to the next.
    next_slice: usize,
}

impl WeightOrder {
    /// The position of a weight along K, in elements.
    pub(crate) fn index(&self, row: usize, column: usize, channel: usize) -> usize {
        let (slice, within) = (channel / self.slice, channel % self.slice);
        slice * self.next_slice + row * self.row + column * self.column + within
    }

    /// The order for vector kernels: memory order.
    ///
    /// Without groups, a whole kernel row is one run, because its pixels are
    /// adjacent in NHWC. If the run does not fill its last word, that word also
    /// contains channels of the next pixel; their weights are zero.
    ///
    /// The weights of a run are a whole number of groups of `rows_in_group` rows.
    pub(crate) fn of_vectors(
        spec: &ConvSpec,
        groups: usize,
        per_word: usize,
        rows_in_group: usize,
    ) -> (Vec<Run>, Self) {
        let (kh, kw) = spec.kernel;
        let cin = spec.cin / groups;
        let (columns, elements) = if groups == 1 {
            (1, kw * cin)
        } else {
            (kw, cin)
        };
        let len = elements.div_ceil(per_word);
        let run = |row, column| Run {
            row,
            start: column * spec.cin / per_word,
            len,
        };
        let rows = 0..kh;
        let runs = rows
            .flat_map(|row| (0..columns).map(move |column| run(row, column)))
            .collect();
        let elements = len.next_multiple_of(rows_in_group) * per_word;
        let order = Self {
            row: columns * elements,
            column: if groups == 1 { cin } else { elements },
            slice: cin,
            next_slice: 0,
        };
        (runs, order)
    }

    /// The order for AMX: every run is a whole number of 64-byte steps. A run may
    /// extend over the elements after it in memory; their weights are zero.
    ///
    /// If the channels fill whole steps, K is ordered by channel slice: 64 bytes
    /// of every pixel of the window come before the next 64 bytes. Adjacent
    /// windows share pixels, so a block of 32 output pixels reads the cache lines
    /// of a slice (34 x 3 for a 3x3 kernel, 6.5 KiB) three times within 9 steps,
    /// two of them from L1. Kernel-row order would return to a cache line only
    /// after all `cin` channels of 34 pixels, which is 34 KiB for 512 bf16
    /// channels.
    ///
    /// If the channels do not fill a step, one run per kernel row leaves less of the
    /// step empty: in int8, 7 pixels of 3 channels fill a third of a step, one pixel
    /// fills a twentieth.
    pub(crate) fn of_tiles(spec: &ConvSpec, groups: usize, per_word: usize) -> (Vec<Run>, Self) {
        let (kh, kw) = spec.kernel;
        let cin = spec.cin / groups;
        let words = ROW_BYTES / 4;
        let step = words * per_word;
        if groups == 1 && (kw == 1 || !cin.is_multiple_of(step)) {
            let elements = (kw * cin).next_multiple_of(step);
            let len = elements / per_word;
            let runs = (0..kh).map(|row| Run { row, start: 0, len }).collect();
            let order = Self {
                row: elements,
                column: cin,
                slice: cin,
                next_slice: 0,
            };
            return (runs, order);
        }
        let mut runs = Vec::new();
        for slice in 0..cin.div_ceil(step) {
            for row in 0..kh {
                for column in 0..kw {
                    runs.push(Run {
                        row,
                        start: (column * spec.cin + slice * step) / per_word,
                        len: words,
                    });
                }
            }
        }
        let order = Self {
            row: kw * step,
            column: step,
            slice: step,
            next_slice: kh * kw * step,
        };
        (runs, order)
    }
}
