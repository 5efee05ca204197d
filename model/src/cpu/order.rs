//! In which order the numbers of a window are multiplied: as runs of words that
//! lie one behind the other in the map, and where a weight lies among them.

use super::amx::ROW;
use super::micro::Run;
use super::pack::ConvSpec;

/// Where the weight of a row, a column and a channel lies in its panel.
pub(crate) struct Order {
    /// Numbers from a row of the kernel to the next, and from a column.
    row: usize,
    column: usize,
    /// Channels of a slice, and numbers from a slice to the next.
    slice: usize,
    next: usize,
}

impl Order {
    /// The number of a weight, counted along its panel's words.
    pub(crate) fn number(&self, row: usize, column: usize, channel: usize) -> usize {
        let (slice, within) = (channel / self.slice, channel % self.slice);
        slice * self.next + row * self.row + column * self.column + within
    }

    /// As they lie in memory. Ungrouped, a row of the kernel is one run: its
    /// pixels are neighbours. Where they do not fill its last word, the next
    /// pixel's channels do, against weights of zero.
    pub(crate) fn of_vectors(spec: &ConvSpec, groups: usize, per_word: usize) -> (Vec<Run>, Self) {
        let (kh, kw) = spec.kernel;
        let cin = spec.cin / groups;
        let (columns, numbers) = if groups == 1 {
            (1, kw * cin)
        } else {
            (kw, cin)
        };
        let len = numbers.div_ceil(per_word);
        let run = |row, column| Run {
            row,
            start: column * spec.cin / per_word,
            len,
        };
        let rows = 0..kh;
        let runs = rows
            .flat_map(|row| (0..columns).map(move |column| run(row, column)))
            .collect();
        let order = Self {
            row: columns * len * per_word,
            column: cin,
            slice: cin,
            next: 0,
        };
        (runs, order)
    }

    /// In whole steps of 64 bytes, filled up with what lies behind the run,
    /// against weights of zero.
    ///
    /// Channels that fill steps are sliced: 64 bytes of all the window's pixels
    /// come before the next 64. Neighbouring windows share pixels, so a block
    /// of 32 pixels reads the slice's lines (34 x 3 of a 3x3 kernel, 6.5 KiB)
    /// three times within 9 steps, twice of them from L1; a kernel's row read
    /// whole would come back to a line only after `cin` of 34 pixels, which is
    /// 34 KiB for 512 bf16. Where channels do not fill steps, a kernel's row as
    /// one run wastes less: the 3 channels of 7 pixels fill a third of a step
    /// of bytes, those of one pixel a twentieth.
    pub(crate) fn of_tiles(spec: &ConvSpec, groups: usize, per_word: usize) -> (Vec<Run>, Self) {
        let (kh, kw) = spec.kernel;
        let cin = spec.cin / groups;
        let words = ROW / 4;
        let step = words * per_word;
        if groups == 1 && (kw == 1 || !cin.is_multiple_of(step)) {
            let numbers = (kw * cin).next_multiple_of(step);
            let len = numbers / per_word;
            let runs = (0..kh).map(|row| Run { row, start: 0, len }).collect();
            let order = Self {
                row: numbers,
                column: cin,
                slice: cin,
                next: 0,
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
            next: kh * kw * step,
        };
        (runs, order)
    }
}
