//! What our JPEG decoder needs of a baseline file with one interleaved scan:
//! each colour component's tables and its share of an MCU.

use super::header::{Component, Header};
use super::huffman::{Table, ZIGZAG};

/// A colour component as it is coded.
pub(super) struct Coded<'a> {
    /// Huffman tables, DC and AC.
    pub tables: [Table<'a>; 2],
    /// Row by row.
    pub quantization: [i32; 64],
    /// Blocks of an MCU, across and down.
    pub blocks: [usize; 2],
    /// Pixels of full resolution to one of this component, across and down.
    pub ratio: [usize; 2],
}

/// The components of a grey or Y'CbCr photo. `None` where our decoder does not
/// apply: progressive, several scans, rare colours, or damage in the tables.
pub(super) fn components<'a>(header: &'a Header<'a>) -> Option<Vec<Coded<'a>>> {
    let components = &header.components;
    let ycbcr = components.len() == 3
        && header.adobe_transform != Some(0)
        && components.iter().map(|c| c.id).ne(*b"RGB");
    let usual = header.sequential && (ycbcr || components.len() == 1);
    if !usual || header.scan.len() != components.len() {
        return None;
    }
    // the blocks of a lone component come one by one, whatever it declares
    let blocks = |c: &Component| if ycbcr { [c.across, c.down] } else { [1, 1] };
    let across = components.iter().map(|c| blocks(c)[0]).max()?;
    let down = components.iter().map(|c| blocks(c)[1]).max()?;
    let coded = |(component, &(id, dc, ac)): (&Component, &(u8, usize, usize))| {
        let blocks = blocks(component);
        let ratio = [across / blocks[0], down / blocks[1]];
        let whole = [across, down] == [ratio[0] * blocks[0], ratio[1] * blocks[1]];
        if id != component.id || !whole || ratio.contains(&3) {
            return None;
        }
        let table = |class: usize, id: usize| {
            let codes = *header.huffman[class].get(id)?;
            Table::new(codes?, class == 1)
        };
        let mut quantization = [0; 64];
        let coded = header.quantization[component.quantization]?;
        for (at, value) in ZIGZAG.into_iter().zip(coded) {
            quantization[usize::from(at)] = value.into();
        }
        Some(Coded {
            tables: [table(0, dc)?, table(1, ac)?],
            quantization,
            blocks,
            ratio,
        })
    };
    components.iter().zip(&header.scan).map(coded).collect()
}
