//! Convolutions whose groups are narrower than a vector, as in ResNeXt: several groups
//! share a vector of sums. The input words of all these groups are loaded at once, and a
//! permutation gives each lane the words of its own group. Without it, each lane would
//! be multiplied by the words of all groups, and most of the weights would be zeros.

use super::conv_spec::ConvSpec;
use super::element::Element;
use super::isa::SupportedIsa;
use super::memory::AlignedBuffer;
use super::run::Run;
use super::simd::Simd;

/// How the words of several groups get to the lanes of their output channels.
pub(crate) struct NarrowGroups {
    /// `[words of a group][lanes]`: which of the loaded words a lane multiplies, as the
    /// bits of an i32.
    lane_words: AlignedBuffer,
    /// Words of all groups together.
    loaded: usize,
}

impl NarrowGroups {
    /// `None` where the groups are not narrow, or multiplying by zeros is as fast.
    pub(super) fn new(
        spec: &ConvSpec,
        merged: usize,
        isa: SupportedIsa,
        per_word: usize,
    ) -> Option<Self> {
        let (cin, cout) = (spec.cin / spec.groups, spec.cout / spec.groups);
        let (lanes, words) = (isa.lanes(), cin / per_word);
        let loaded = merged * words;
        let fits = cin.is_multiple_of(per_word) && loaded <= lanes && merged * cout <= lanes;
        // A permutation takes about as long as a product.
        if !isa.has_permutation() || !fits || 2 * words > loaded {
            return None;
        }
        let mut lane_words = AlignedBuffer::zeros(words * lanes);
        for (word, row) in lane_words.chunks_exact_mut(lanes).enumerate() {
            for (lane, index) in row.iter_mut().take(merged * cout).enumerate() {
                *index = f32::from_bits((lane / cout * words + word) as u32);
            }
        }
        Some(Self { lane_words, loaded })
    }
}

/// As [`super::micro::multiply`], for one vector of output channels. A run has the words of
/// one group, and begins with those of the first.
///
/// # Safety
/// As there; at the start of a run, all words of the merged groups must be readable. The
/// runs have as many words as `groups` was created for.
#[inline(always)]
pub(super) unsafe fn multiply<E: Element, S: Simd, const P: usize, const V: usize>(
    corners: &[*const f32; P],
    (runs, row): (&[Run], usize),
    groups: &NarrowGroups,
    mut weights: *const f32,
    sums: &mut [[S; V]; P],
) {
    // SAFETY: the caller guarantees that every address is valid.
    unsafe {
        for run in runs {
            let mut x = [S::splat(0.0); P];
            for (x, corner) in x.iter_mut().zip(corners) {
                let from = corner.byte_add(run.row * row).add(run.start);
                *x = S::load_first(from, groups.loaded);
            }
            let mut order = groups.lane_words.as_ptr();
            for _ in 0..run.len {
                let (lane_words, w) = (S::load(order), S::load(weights));
                for (sums, x) in sums.iter_mut().zip(x) {
                    sums[0] = E::dot(x.permute(lane_words), w, sums[0]);
                }
                order = order.add(S::LANES);
                weights = weights.add(S::LANES);
            }
        }
    }
}
