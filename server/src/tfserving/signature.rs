//! The signatures of a model: what a request may name, and the tensors that are
//! described.

/// The signatures that a request may name. The first one is the default.
pub const SIGNATURES: [&str; 3] = ["serving_default", "predict", "classify"];

/// The name of the only output of `Predict`.
pub const OUTPUT: &str = "probabilities";

/// Whether a request may name this signature; an empty name is the default one.
#[must_use]
pub fn is_signature(name: &str) -> bool {
    name.is_empty() || SIGNATURES.contains(&name)
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// `DT_FLOAT`
    Float,
    /// `DT_STRING`
    Text,
}

/// A tensor of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in requests and responses.
    pub key: &'static str,
    /// Its name in the graph, without the number of the output.
    pub name: &'static str,
    /// The type of its elements.
    pub element: ElementType,
    /// Its dimensions; -1 is any size.
    pub shape: Vec<i64>,
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// Its only input.
    pub input: Tensor,
    /// Its outputs.
    pub outputs: Vec<Tensor>,
    /// The name of its method.
    pub method: &'static str,
}

/// The signatures of a network with this many classes.
#[must_use]
pub fn signatures(classes: usize) -> [Signature; 3] {
    use ElementType::{Float, Text};
    let classes = i64::try_from(classes).unwrap_or(-1);
    let tensor = |key, name, element, shape: &[i64]| Tensor {
        key,
        name,
        element,
        shape: shape.to_vec(),
    };
    let predict = |name| Signature {
        name,
        input: tensor("image", "image", Text, &[-1]),
        outputs: vec![tensor(OUTPUT, OUTPUT, Float, &[-1, classes])],
        method: "tensorflow/serving/predict",
    };
    let [default, named, examples] = SIGNATURES;
    let classify = Signature {
        name: examples,
        input: tensor("inputs", "examples", Text, &[-1]),
        outputs: vec![
            tensor("classes", "classes", Text, &[-1, -1]),
            tensor("scores", "scores", Float, &[-1, -1]),
        ],
        method: "tensorflow/serving/classify",
    };
    [predict(default), predict(named), classify]
}
