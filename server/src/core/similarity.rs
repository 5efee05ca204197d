//! Similar images: the cosines between their embeddings, computed exactly.

use super::embedding::normalize_l2;
use super::npy::Matrix;

/// Embeddings of length 1, so that a dot product is a cosine.
pub struct Vectors {
    unit: Matrix,
}

/// A similar image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Its row.
    pub row: usize,
    /// Cosine with the image that was searched for, -1 to 1.
    pub cosine: f32,
}

impl Vectors {
    /// Normalises each row of `[N, C]`.
    #[must_use]
    pub fn new(mut embeddings: Matrix) -> Self {
        let columns = embeddings.columns.max(1);
        embeddings
            .values
            .chunks_exact_mut(columns)
            .for_each(normalize_l2);
        Self { unit: embeddings }
    }

    fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.unit.values.chunks_exact(self.unit.columns.max(1))
    }

    /// The `k` rows most similar to an embedding `[C]`, best first; equal ones keep
    /// their order.
    #[must_use]
    pub fn nearest(&self, embedding: &[f32], k: usize) -> Vec<Match> {
        let mut query = embedding.to_vec();
        normalize_l2(&mut query);
        let rows = self.rows().enumerate();
        let mut matches: Vec<Match> = rows
            .map(|(row, vector)| Match {
                row,
                cosine: dot(vector, &query),
            })
            .collect();
        matches.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        matches.truncate(k);
        matches
    }

    /// Groups of rows that are connected by cosines of at least `least`. Each row
    /// has its largest cosine with another row of its group. Groups and rows are in
    /// the order of the rows.
    #[must_use]
    pub fn groups(&self, least: f32) -> Vec<Vec<Match>> {
        let rows: Vec<&[f32]> = self.rows().collect();
        let mut best = vec![f32::NEG_INFINITY; rows.len()];
        // each row points to an earlier row of its group, the first to itself
        let mut parent: Vec<usize> = (0..rows.len()).collect();
        for (b, row) in rows.iter().enumerate() {
            for a in 0..b {
                let cosine = dot(rows[a], row);
                if cosine < least {
                    continue;
                }
                best[a] = best[a].max(cosine);
                best[b] = best[b].max(cosine);
                let (a, b) = (first(&mut parent, a), first(&mut parent, b));
                parent[a.max(b)] = a.min(b);
            }
        }
        let mut groups: Vec<Vec<Match>> = vec![Vec::new(); rows.len()];
        for (row, &cosine) in best.iter().enumerate() {
            groups[first(&mut parent, row)].push(Match { row, cosine });
        }
        groups.retain(|group| group.len() > 1);
        groups
    }
}

/// The first row of the group of `row`. Shortens the path to it.
fn first(parent: &mut [usize], mut row: usize) -> usize {
    while parent[row] != row {
        parent[row] = parent[parent[row]];
        row = parent[row];
    }
    row
}

/// Sums in eight parts, which the compiler puts into one vector.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, rest_of_a) = a.as_chunks::<8>();
    let (b, rest_of_b) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest = rest_of_a.iter().zip(rest_of_b).map(|(a, b)| a * b);
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(rows: &[[f32; 9]]) -> Vectors {
        Vectors::new(Matrix {
            rows: rows.len(),
            columns: 9,
            values: rows.concat(),
        })
    }

    /// A vector at this angle, with values in the first and in the last column.
    fn at(degrees: f32, length: f32) -> [f32; 9] {
        let (sin, cos) = degrees.to_radians().sin_cos();
        [cos * length, 0., 0., 0., 0., 0., 0., 0., sin * length]
    }

    #[test]
    fn the_nearest_rows_have_the_largest_cosines() {
        let vectors = vectors(&[at(90.0, 1.0), at(10.0, 5.0), at(180.0, 2.0), at(30.0, 0.1)]);
        let found = vectors.nearest(&at(0.0, 3.0), 3);
        let rows: Vec<usize> = found.iter().map(|found| found.row).collect();
        assert_eq!(rows, [1, 3, 0]);
        for (found, degrees) in found.iter().zip([10.0_f32, 30.0, 90.0]) {
            assert!((found.cosine - degrees.to_radians().cos()).abs() < 1e-6);
        }
    }

    #[test]
    fn groups_are_connected_rows() {
        // 0 - 1 - 2 are 10 degrees apart, 3 is far from all, 4 and 5 are equal
        let vectors = vectors(&[
            at(0.0, 1.0),
            at(20.0, 1.0),
            at(10.0, 1.0),
            at(90.0, 1.0),
            at(200.0, 1.0),
            at(200.0, 7.0),
        ]);
        let groups = vectors.groups(11_f32.to_radians().cos());
        let rows: Vec<Vec<usize>> = groups
            .iter()
            .map(|group| group.iter().map(|found| found.row).collect())
            .collect();
        assert_eq!(rows, [vec![0, 1, 2], vec![4, 5]]);
        assert!((groups[0][0].cosine - 10_f32.to_radians().cos()).abs() < 1e-6);
        assert!((groups[1][1].cosine - 1.0).abs() < 1e-6);
        assert!(vectors.groups(1.5).is_empty());
    }
}
