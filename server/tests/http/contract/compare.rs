//! Compares a response with its example.

use serde_json::{Map, Value};

use super::examples::{Example, check, object};
use crate::support::client::Response;

/// Largest difference of a probability between two CPUs.
const TOLERANCE: f64 = 0.001;

/// Checks that a response is as its example.
pub(crate) fn compare(example: &Example, response: &Response) {
    let name = &example.name;
    assert_eq!(
        response.status.as_u16(),
        example.status,
        "{name}: {}",
        response.text
    );
    assert_eq!(
        response.header("content-type"),
        example.content_type,
        "{name}"
    );
    assert!(!response.header("x-request-id").is_empty(), "{name}");
    for header in &example.headers {
        assert!(
            response.headers.contains_key(*header),
            "{name} has no {header}"
        );
    }
    for (name, value) in object(&example.example["x-headers"]) {
        assert_eq!(response.header(name), value.as_str().unwrap(), "{name}");
    }
    if example.content_type.ends_with("json") {
        check(example.contract, example.schema, &response.json, name);
    }
    let Some(expected) = example.example.get("value") else {
        return;
    };
    if let Some(prefix) = example.example["x-lines"].as_str() {
        let lines: Vec<&str> = response
            .text
            .lines()
            .filter(|line| line.starts_with(prefix))
            .collect();
        assert_eq!(
            lines,
            expected.as_str().unwrap().lines().collect::<Vec<_>>(),
            "{name}"
        );
    } else if example.content_type.ends_with("json") {
        check(example.contract, example.schema, expected, name);
        let mut expected = expected.clone();
        let mut found = response.json.clone();
        remove_varying(&mut expected, &mut found, example.example);
        let difference = difference(&expected, &found);
        assert!(
            difference.is_none(),
            "{name}: {}\nresponse: {}",
            difference.unwrap_or_default(),
            serde_json::to_string_pretty(&found).unwrap()
        );
    } else {
        assert_eq!(response.text, expected.as_str().unwrap(), "{name}");
    }
}

/// Removes from both what the example declares as shortened or as different
/// between machines. A name that starts with `/` is a pointer.
fn remove_varying(expected: &mut Value, found: &mut Value, example: &Value) {
    let names = |key: &str| -> Vec<String> {
        let names = example[key].as_array().into_iter().flatten();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    for name in names("x-shortened") {
        let shown = expected[&name].as_array().unwrap().len();
        let items = found[&name].as_array_mut().unwrap();
        assert!(
            items.len() > shown,
            "{name} must be longer than in the example"
        );
        items.truncate(shown);
    }
    for name in names("x-varies") {
        let pointer = match name.starts_with('/') {
            true => name.clone(),
            false => format!("/{name}"),
        };
        let found = found.pointer_mut(&pointer);
        let found = found.unwrap_or_else(|| panic!("{name} is missing"));
        assert!(!found.is_null(), "{name} is missing");
        *found = Value::Null;
        if let Some(expected) = expected.pointer_mut(&pointer) {
            *expected = Value::Null;
        }
    }
}

/// The first place where two responses differ in more than ids and the last
/// digits of probabilities.
fn difference(expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            if !a.keys().eq(b.keys()) {
                let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
                return Some(format!("keys {:?}, expected {:?}", keys(b), keys(a)));
            }
            a.keys().find_map(|key| match key.as_str() {
                "request_id" => None,
                "predictions" if b[key][0]["wnid"].is_string() => {
                    different_prediction(&a[key], &b[key])
                }
                _ => difference(&a[key], &b[key]).map(|rest| format!("{key}: {rest}")),
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|(a, b)| difference(a, b))
        }
        (Value::Number(a), Value::Number(b))
            if a.is_f64() && b.is_f64() && close(expected, found) =>
        {
            None
        }
        _ => (expected != found).then(|| format!("{found}, expected {expected}")),
    }
}

/// Whether two probabilities or other fractions differ only in their last digits.
fn close(expected: &Value, found: &Value) -> bool {
    let (expected, found) = (expected.as_f64(), found.as_f64());
    let pair = expected.zip(found);
    pair.is_some_and(|(expected, found)| (expected - found).abs() <= TOLERANCE)
}

/// The first prediction that differs. Classes whose probabilities are within
/// the tolerance may be in another order, and the last one may be replaced by a
/// class that is not in the example.
fn different_prediction(expected: &Value, found: &Value) -> Option<String> {
    let probability = |item: &Value| item["probability"].as_f64().unwrap();
    let (expected, found) = (expected.as_array().unwrap(), found.as_array().unwrap());
    if expected.len() != found.len() {
        return Some(format!(
            "{} predictions, expected {}",
            found.len(),
            expected.len()
        ));
    }
    assert!(
        found.is_sorted_by(|a, b| probability(a) >= probability(b)),
        "the most probable class is first"
    );
    let different = found.iter().zip(expected).find(|(item, same_place)| {
        let same = expected.iter().find(|same| same["index"] == item["index"]);
        let named =
            same.is_none_or(|same| same["wnid"] == item["wnid"] && same["label"] == item["label"]);
        let expected = probability(same.unwrap_or(same_place));
        let place = (probability(same_place) - probability(item)).abs();
        !named || place > TOLERANCE || (probability(item) - expected).abs() > TOLERANCE
    });
    different.map(|(item, expected)| format!("{item}, expected {expected}"))
}
