//! Class activation maps of an image: which parts of it contribute to the logit
//! of a class (`model::ClassWeights`).

use model::Outputs;
use weights::Labels;

use super::batch::ImageOutput;
use super::error::Error;
use super::network::Network;
use super::top_k::top_k;

/// What a forward pass has to return for [`explain`].
pub const OUTPUTS: Outputs = Outputs {
    embedding: false,
    feature_map: true,
};

/// The classes that maps are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Classes {
    /// This many of the most probable classes of each image.
    MostProbable(usize),
    /// These, by their index.
    These(Vec<usize>),
}

/// The class activation map of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMap {
    /// Index of the class.
    pub class: usize,
    /// Its logit.
    pub logit: f32,
    /// The map.
    pub grid: Grid,
}

/// Values on a grid that covers the crop of an image evenly.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Values in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width]`.
    pub values: Vec<f32>,
}

/// The maps of `classes` for one image, whose forward pass returned [`OUTPUTS`].
///
/// # Errors
/// [`Error::ClassMaps`] for a network without class activation maps; an error of
/// the device.
pub fn explain(
    network: &dyn Network,
    output: &ImageOutput,
    classes: &Classes,
) -> Result<Vec<ClassMap>, Error> {
    let classes = match classes {
        Classes::These(classes) => classes.clone(),
        Classes::MostProbable(k) => top_k(&output.logits, 0..output.logits.len(), *k),
    };
    let [height, width, _] = network.info().feature_map;
    let feature_map = output.feature_map.as_deref().unwrap_or_default();
    let map = |class: usize| {
        let values = network.class_weights(class)?.map(feature_map);
        if values.len() != width * height {
            return Err(Error::FeatureMap {
                found: feature_map.len(),
            });
        }
        Ok(ClassMap {
            class,
            logit: output.logits.get(class).copied().unwrap_or_default(),
            grid: Grid {
                width,
                height,
                values,
            },
        })
    };
    classes.into_iter().map(map).collect()
}

/// The indices of the classes in a list separated by commas: indices, `WordNet`
/// ids or exact names, each once. A name that contains commas has to be alone.
///
/// # Errors
/// The first part of the list that is no class.
pub fn find_classes(labels: &Labels, list: &str) -> Result<Vec<usize>, String> {
    if let Some(class) = find_class(labels, list) {
        return Ok(vec![class]);
    }
    let mut classes = Vec::new();
    for part in list.split(',').map(str::trim) {
        let class = find_class(labels, part).ok_or_else(|| part.to_owned())?;
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    Ok(classes)
}

fn find_class(labels: &Labels, name: &str) -> Option<usize> {
    if let Ok(index) = name.parse() {
        return (index < labels.len()).then_some(index);
    }
    let mut by_wnid = labels.iter();
    let wnid = by_wnid.position(|label| label.wnid.as_deref() == Some(name));
    wnid.or_else(|| labels.iter().position(|label| label.name == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_by_index_wnid_and_exact_name() {
        let labels = Labels::imagenet1k();
        let found = |list| find_classes(&labels, list);
        assert_eq!(found("281"), Ok(vec![281]));
        assert_eq!(found("n02123045, tabby,3"), Ok(vec![281, 3]));
        assert_eq!(found("great white shark"), Ok(vec![2]));
        assert_eq!(found("tabby,Tabby"), Err("Tabby".into()));
        assert_eq!(found("1000"), Err("1000".into()));
        assert_eq!(found(""), Err(String::new()));
        let labels = Labels::from_names(["cat, sleeping", "cat"].map(str::to_owned));
        assert_eq!(find_classes(&labels, "cat, sleeping"), Ok(vec![0]));
    }
}
