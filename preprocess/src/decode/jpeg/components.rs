//! The colour components of a baseline JPEG with one scan: their tables and their
//! blocks in an MCU.

use crate::decode::jpeg::header::{FrameComponent, Header};
use crate::decode::jpeg::huffman::{HuffmanTable, ZIGZAG};

/// The coding parameters of a colour component.
pub(crate) struct ComponentCoding<'a> {
    /// Huffman tables for DC and AC.
    pub tables: [HuffmanTable<'a>; 2],
    /// The quantisation table in row order.
    pub quantization: [i32; 64],
    /// Blocks per MCU, horizontally and vertically.
    pub blocks: [usize; 2],
    /// Image pixels per sample, horizontally and vertically.
    pub ratio: [usize; 2],
}

/// The components of a grey or Y'CbCr image. `None` if the baseline decoder does
/// not support the file: progressive coding, several scans, other colour spaces,
/// unusual sampling factors, or damaged tables.
pub(crate) fn components<'a>(header: &'a Header<'a>) -> Option<Vec<ComponentCoding<'a>>> {
    let components = &header.components;
    let ycbcr = components.len() == 3
        && header.adobe_transform != Some(0)
        && components.iter().map(|c| c.id).ne(*b"RGB");
    let supported = header.sequential && (ycbcr || components.len() == 1);
    if !supported || header.scan.len() != components.len() {
        return None;
    }
    // In a scan of one component, an MCU is one block, whatever the sampling
    // factors are (A.2.2).
    let blocks = |c: &FrameComponent| if ycbcr { c.sampling } else { [1, 1] };
    let horizontal = components.iter().map(|c| blocks(c)[0]).max()?;
    let vertical = components.iter().map(|c| blocks(c)[1]).max()?;
    let coding = |(component, &(id, dc, ac)): (&FrameComponent, &(u8, usize, usize))| {
        let blocks = blocks(component);
        let ratio = [horizontal / blocks[0], vertical / blocks[1]];
        let divisible = [horizontal, vertical] == [ratio[0] * blocks[0], ratio[1] * blocks[1]];
        if id != component.id || !divisible || ratio.contains(&3) {
            return None;
        }
        let table = |class: usize, id: usize| {
            let definition = *header.huffman[class].get(id)?;
            HuffmanTable::new(definition?, class == 1)
        };
        let mut quantization = [0; 64];
        let zigzag = header.quantization[component.quantization]?;
        for (at, value) in ZIGZAG.into_iter().zip(zigzag) {
            quantization[usize::from(at)] = value.into();
        }
        Some(ComponentCoding {
            tables: [table(0, dc)?, table(1, ac)?],
            quantization,
            blocks,
            ratio,
        })
    };
    components.iter().zip(&header.scan).map(coding).collect()
}
