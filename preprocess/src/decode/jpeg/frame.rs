//! Decodes all scans of a JPEG into component planes. The work is bounded, however
//! many scans the file has.

use crate::decode::jpeg::bands::Band;
use crate::decode::jpeg::bits::EntropySegments;
use crate::decode::jpeg::coefficients::CoefficientPlane;
use crate::decode::jpeg::header::{JpegReader, ScanComponent, ScanHeader, broken};
use crate::decode::jpeg::huffman::{Coding, HuffmanTable};
use crate::decode::jpeg::layout::{Layout, ScanLayout};
use crate::decode::jpeg::planes::ComponentPlane;
use crate::decode::jpeg::progressive::{
    AcScan, DcComponent, DcScan, decode_rows, transform_blocks,
};
use crate::decode::jpeg::sequential::{ComponentDecoder, McuRange, decode_scan};
use crate::decode::jpeg::tables::Tables;
use crate::decode::jpeg::transform::BlockTransform;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;
use crate::support::simd::Simd;

/// The most scans of an image. Encoders write about ten.
const MAX_SCANS: u32 = 500;

/// How often each block may be decoded on average. Encoders need about eight scans
/// per component.
const MAX_VISITS: usize = 32;

/// Further visits of blocks, so that small images may have any scans.
const FREE_VISITS: usize = 1 << 20;

/// The work of decoding a block in a scan, in bytes of the budget. One visit of
/// each block produces an eighth of its samples.
const BYTES_PER_VISIT: u64 = 8;

/// Coefficients that no scan has coded yet.
const NOT_CODED: u8 = u8::MAX;

/// The state of a frame between its scans.
struct FrameDecoder<'a> {
    simd: Simd,
    layout: &'a Layout,
    /// Whether the scans end with an end marker. If so, the rows below the crop are
    /// not read.
    has_end_marker: bool,
    components: Vec<ComponentState>,
    scans_left: u32,
    visits_left: usize,
}

/// The state of a component between the scans.
struct ComponentState {
    /// The quantisation table that was valid at its first scan.
    quantization: Option<[i32; 64]>,
    /// The samples of a sequential image, after its scan.
    plane: Option<ComponentPlane>,
    /// The coefficients of a progressive image.
    coefficients: Option<CoefficientPlane>,
    /// The lowest bit that was decoded of each coefficient in zigzag order.
    progress: [u8; 64],
}

/// Decodes all scans, of which `first` is the first.
///
/// # Errors
/// `Broken` for damage, or for more scans than any encoder writes; `Cancelled`.
pub(crate) fn decode_frame(
    simd: Simd,
    reader: &mut JpegReader,
    layout: &Layout,
    first: ScanHeader,
    budget: &Budget<'_>,
) -> Result<Vec<ComponentPlane>, ImageError> {
    let progressive = layout.is_progressive;
    let mut frame = FrameDecoder::new(simd, layout, reader.end_marker_follows());
    if !progressive {
        reader.tables.define_missing_huffman();
    }
    let mut segments = EntropySegments::new(reader.rest.len(), budget);
    let mut next = Some(first);
    while let Some(scan) = next {
        let scan_layout = layout.scan(&scan)?;
        budget.spend(Format::Jpeg, frame.charge(&scan_layout)?)?;
        frame.latch_quantization(&scan, reader)?;
        segments.start(reader.rest, reader.tables.restart_interval);
        if progressive {
            frame.decode_progressive(&scan, &scan_layout, &reader.tables, &mut segments)?;
        } else {
            frame.decode_sequential(&scan, scan_layout, &reader.tables, &mut segments)?;
        }
        reader.rest = segments.rest();
        next = match frame.is_complete() {
            true if !progressive => None,
            // What follows a complete image cannot damage it.
            true => reader.next_scan().unwrap_or(None),
            false => reader.next_scan()?,
        };
    }
    frame.finish(reader.has_ended)
}

impl<'a> FrameDecoder<'a> {
    fn new(simd: Simd, layout: &'a Layout, has_end_marker: bool) -> Self {
        let all = 0..layout.components.len();
        let blocks = |i: usize| {
            let [width, height] = layout.components[i].sampling;
            width * height * layout.mcus[0] * layout.mcus[1]
        };
        Self {
            simd,
            layout,
            has_end_marker,
            scans_left: MAX_SCANS,
            visits_left: FREE_VISITS + MAX_VISITS * all.clone().map(blocks).sum::<usize>(),
            components: all
                .map(|i| ComponentState {
                    quantization: None,
                    plane: None,
                    coefficients: layout
                        .is_progressive
                        .then(|| CoefficientPlane::new(layout, i)),
                    progress: [NOT_CODED; 64],
                })
                .collect(),
        }
    }

    /// Counts the work of a scan, and returns it in bytes of the budget.
    fn charge(&mut self, scan: &ScanLayout) -> Result<u64, ImageError> {
        let blocks: usize = scan.blocks.iter().map(|[x, y]| x * y).sum();
        let visits = scan.mcus[0] * scan.mcus[1] * blocks;
        match (
            self.scans_left.checked_sub(1),
            self.visits_left.checked_sub(visits),
        ) {
            (Some(scans), Some(left)) => {
                (self.scans_left, self.visits_left) = (scans, left);
                Ok(visits as u64 * BYTES_PER_VISIT)
            }
            _ => Err(broken("it has more scans than an encoder writes")),
        }
    }

    /// Keeps the quantisation tables of components whose first scan this is.
    fn latch_quantization(
        &mut self,
        scan: &ScanHeader,
        reader: &JpegReader,
    ) -> Result<(), ImageError> {
        for component in &scan.components {
            let table = self.layout.components[component.index].quantization;
            let state = &mut self.components[component.index].quantization;
            if state.is_none() {
                let table = reader.tables.quantization[table];
                *state = Some(table.ok_or_else(|| broken("it has no quantisation table"))?);
            }
        }
        Ok(())
    }

    /// The transform of a component, whose quantisation table is known after its
    /// first scan.
    fn transform(&self, component: usize) -> BlockTransform {
        let quantization = self.components[component].quantization.unwrap_or([0; 64]);
        let points = self.layout.components[component].points;
        BlockTransform::new(quantization, points, self.layout.is_reduced)
    }

    /// The rows of MCUs that are read.
    fn rows(&self, scan: &ScanLayout) -> usize {
        if self.has_end_marker {
            scan.needed[1].end
        } else {
            scan.mcus[1]
        }
    }

    fn decode_sequential(
        &mut self,
        scan: &ScanHeader,
        layout: ScanLayout,
        tables: &Tables,
        segments: &mut EntropySegments,
    ) -> Result<(), ImageError> {
        let mut decoders = Vec::new();
        for (&component, &blocks) in scan.components.iter().zip(&layout.blocks) {
            let [dc, ac] = component.tables;
            let tables = [
                huffman_table(tables, 0, dc, Coding::Dc)?,
                huffman_table(tables, 1, ac, Coding::Ac)?,
            ];
            let transform = self.transform(component.index);
            let plane = self.layout.plane(component.index);
            decoders.push(ComponentDecoder::new(tables, blocks, transform, plane));
        }
        let range = McuRange {
            columns: layout.mcus[0],
            rows: self.rows(&layout),
            inside: layout.needed,
        };
        decode_scan(self.simd, segments, &range, &mut decoders)?;
        for (component, decoder) in scan.components.iter().zip(decoders) {
            let state = &mut self.components[component.index];
            state.plane = Some(decoder.plane);
            state.progress = [0; 64];
        }
        Ok(())
    }

    fn decode_progressive(
        &mut self,
        scan: &ScanHeader,
        layout: &ScanLayout,
        tables: &Tables,
        segments: &mut EntropySegments,
    ) -> Result<(), ImageError> {
        let ([start, end], [high, low]) = (scan.band, scan.bits);
        let valid = if start == 0 {
            end == 0
        } else {
            start <= end && end < 64 && scan.components.len() == 1
        };
        if !valid || low > 13 || (high != 0 && low + 1 != high) {
            return Err(broken("the parameters of a progressive scan are invalid"));
        }
        let mcus = [layout.mcus[0], self.rows(layout)];
        if start == 0 {
            let simd = self.simd;
            let mut scan = DcScan {
                simd,
                components: self.dc_components(scan, layout, tables)?,
                shift: low,
            };
            decode_rows(segments, mcus, &mut scan)?;
        } else {
            let ScanComponent {
                index,
                tables: [_, table],
            } = scan.components[0];
            let coding = if high == 0 {
                Coding::AcFirst
            } else {
                Coding::AcRefinement
            };
            let table = huffman_table(tables, 1, table, coding)?;
            if let Some(plane) = &mut self.components[index].coefficients {
                let mut scan = AcScan {
                    simd: self.simd,
                    table,
                    plane,
                    band: Band {
                        start: start.into(),
                        end: end.into(),
                        shift: low,
                    },
                    refines: high > 0,
                    ended: 0,
                };
                decode_rows(segments, mcus, &mut scan)?;
            }
        }
        for component in &scan.components {
            let progress = &mut self.components[component.index].progress;
            progress[usize::from(start)..=usize::from(end)].fill(low);
        }
        Ok(())
    }

    fn dc_components<'s>(
        &'s mut self,
        scan: &ScanHeader,
        layout: &ScanLayout,
        tables: &Tables<'s>,
    ) -> Result<Vec<DcComponent<'s>>, ImageError> {
        let mut planes: Vec<_> = self
            .components
            .iter_mut()
            .map(|state| state.coefficients.as_mut())
            .collect();
        let mut components = Vec::new();
        for (component, &blocks) in scan.components.iter().zip(&layout.blocks) {
            let table = match scan.bits {
                [0, _] => Some(huffman_table(tables, 0, component.tables[0], Coding::Dc)?),
                _ => None,
            };
            if let Some(plane) = planes[component.index].take() {
                components.push(DcComponent {
                    table,
                    plane,
                    blocks,
                    prediction: 0,
                });
            }
        }
        Ok(components)
    }

    /// Whether all bits of all coefficients were decoded.
    fn is_complete(&self) -> bool {
        let is_complete = |state: &ComponentState| state.progress.iter().all(|&bit| bit == 0);
        self.components.iter().all(is_complete)
    }

    /// The samples of all components. An image may end with fewer bits or
    /// coefficients than it could have, but not without an end marker.
    fn finish(mut self, has_ended: bool) -> Result<Vec<ComponentPlane>, ImageError> {
        let has_dc = |state: &ComponentState| state.progress[0] != NOT_CODED;
        if !self.components.iter().all(has_dc) || !(has_ended || self.is_complete()) {
            return Err(ImageError::truncated(Format::Jpeg));
        }
        let mut planes = Vec::new();
        for i in 0..self.components.len() {
            let transform = self.transform(i);
            let state = &mut self.components[i];
            if let Some(plane) = state.plane.take() {
                planes.push(plane);
            } else if let Some(coefficients) = state.coefficients.take() {
                let mut plane = self.layout.plane(i);
                transform_blocks(self.simd, &coefficients, &transform, &mut plane);
                planes.push(plane);
            }
        }
        Ok(planes)
    }
}

/// A Huffman table of the file.
fn huffman_table<'a>(
    tables: &Tables<'a>,
    class: usize,
    id: usize,
    coding: Coding,
) -> Result<HuffmanTable<'a>, ImageError> {
    let definition = tables.huffman[class].get(id).copied().flatten();
    let definition = definition.ok_or_else(|| broken("it has no Huffman table for a scan"))?;
    HuffmanTable::new(definition, coding).ok_or_else(|| broken("a Huffman table is damaged"))
}
