//! Compares an answer with what its example promises.

use serde_json::{Map, Value};

use super::examples::Example;
use crate::support::Answer;

/// Largest difference of a probability from one processor to another.
const TOLERANCE: f64 = 0.01;

/// Compares what came with what the example promises.
pub(crate) fn compare(example: &Example<'_>, answer: &Answer) {
    let name = &example.name;
    assert_eq!(
        answer.status.as_u16(),
        example.status,
        "{name}: {}",
        answer.text
    );
    assert_eq!(
        answer.header("content-type"),
        example.content_type,
        "{name}"
    );
    assert!(!answer.header("x-request-id").is_empty(), "{name}");
    for header in &example.headers {
        assert!(
            answer.headers.contains_key(*header),
            "{name} has no {header}"
        );
    }
    let Some(promised) = example.example.get("value") else {
        return;
    };
    if let Some(prefix) = example.example["x-lines"].as_str() {
        let lines: Vec<&str> = answer
            .text
            .lines()
            .filter(|line| line.starts_with(prefix))
            .collect();
        assert_eq!(
            lines,
            promised.as_str().unwrap().lines().collect::<Vec<_>>(),
            "{name}"
        );
    } else if example.content_type.ends_with("json") {
        let mut promised = promised.clone();
        let mut found = answer.json.clone();
        level(&mut promised, &mut found, example.example);
        let difference = difference(&promised, &found);
        assert!(
            difference.is_none(),
            "{name}: {}\nanswered: {}",
            difference.unwrap_or_default(),
            serde_json::to_string_pretty(&found).unwrap()
        );
    } else {
        assert_eq!(answer.text, promised.as_str().unwrap(), "{name}");
    }
}

/// Takes out of both what an example says is shortened or differs from one
/// machine to another.
fn level(promised: &mut Value, found: &mut Value, example: &Value) {
    let names = |key: &str| -> Vec<String> {
        let names = example[key].as_array().into_iter().flatten();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    for name in names("x-shortened") {
        let shown = promised[&name].as_array().unwrap().len();
        let items = found[&name].as_array_mut().unwrap();
        assert!(items.len() > shown, "{name} is not longer than the example");
        items.truncate(shown);
    }
    for name in names("x-varies") {
        assert!(found[&name].is_string(), "{name}");
        promised[&name] = Value::Null;
        found[&name] = Value::Null;
    }
}

/// The first place where two answers differ in more than ids and the last
/// digits of probabilities.
fn difference(promised: &Value, found: &Value) -> Option<String> {
    match (promised, found) {
        (Value::Object(a), Value::Object(b)) => {
            if !a.keys().eq(b.keys()) {
                let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
                return Some(format!("keys {:?}, not {:?}", keys(b), keys(a)));
            }
            a.keys().find_map(|key| match key.as_str() {
                "request_id" => None,
                "predictions" => unlike(&a[key], &b[key]),
                _ => difference(&a[key], &b[key]).map(|rest| format!("{key}: {rest}")),
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|(a, b)| difference(a, b))
        }
        _ => (promised != found).then(|| format!("{found}, not {promised}")),
    }
}

/// The first prediction that was not promised. Classes whose probabilities
/// are within the tolerance may change places, also with the first one that
/// is no longer told.
fn unlike(promised: &Value, found: &Value) -> Option<String> {
    let probability = |item: &Value| item["probability"].as_f64().unwrap();
    let (promised, found) = (promised.as_array().unwrap(), found.as_array().unwrap());
    if promised.len() != found.len() {
        return Some(format!(
            "{} predictions, not {}",
            found.len(),
            promised.len()
        ));
    }
    assert!(
        found.is_sorted_by(|a, b| probability(a) >= probability(b)),
        "best first"
    );
    let fault = found.iter().zip(promised).find(|(item, same_place)| {
        let same = promised.iter().find(|same| same["index"] == item["index"]);
        let named =
            same.is_none_or(|same| same["wnid"] == item["wnid"] && same["label"] == item["label"]);
        let expected = probability(same.unwrap_or(same_place));
        let place = (probability(same_place) - probability(item)).abs();
        !named || place > TOLERANCE || (probability(item) - expected).abs() > TOLERANCE
    });
    fault.map(|(item, promised)| format!("{item}, not {promised}"))
}
