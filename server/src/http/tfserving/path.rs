//! The paths of TensorFlow Serving and of KServe v1 below `/v1/models`:
//! `NAME[/versions/V|/labels/L][:VERB|/metadata]`.

use crate::tfserving::version::Version;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) model: String,
    pub(super) version: Version,
    pub(super) verb: Verb,
}

/// What to do with the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Status,
    Metadata,
    Predict,
    Classify,
    Regress,
    /// KServe's.
    Explain,
}

impl Verb {
    /// Whether the request is a `POST`; the others are `GET`.
    pub(super) fn is_post(self) -> bool {
        !matches!(self, Self::Status | Self::Metadata)
    }
}

/// The request in the `path` below `/v1/models/`, decoded; `None` if it has
/// another form. Fixed words are matched in any case.
pub(super) fn parse(path: &str) -> Option<Request> {
    let (path, verb) = match path.rsplit_once(':') {
        Some((path, verb)) => (path, post(verb)?),
        None => (path, Verb::Status),
    };
    let mut segments = path.split('/');
    let model = segments.next().filter(|name| !name.is_empty())?;
    let mut version = Version::Any;
    let mut next = segments.next();
    if let Some(kind) = next.filter(|word| !word.eq_ignore_ascii_case("metadata")) {
        let value = segments.next().filter(|value| !value.is_empty())?;
        version = if kind.eq_ignore_ascii_case("labels") {
            Version::Label(value.to_owned())
        } else if kind.eq_ignore_ascii_case("versions")
            && value.bytes().all(|byte| byte.is_ascii_digit())
        {
            Version::Number(value.to_owned())
        } else {
            return None;
        };
        next = segments.next();
    }
    let verb = match (next, verb) {
        (None, verb) => verb,
        (Some(word), Verb::Status) if word.eq_ignore_ascii_case("metadata") => Verb::Metadata,
        _ => return None,
    };
    segments.next().is_none().then(|| Request {
        model: model.to_owned(),
        version,
        verb,
    })
}

fn post(verb: &str) -> Option<Verb> {
    const VERBS: [(&str, Verb); 4] = [
        ("predict", Verb::Predict),
        ("classify", Verb::Classify),
        ("regress", Verb::Regress),
        ("explain", Verb::Explain),
    ];
    let mut verbs = VERBS.into_iter();
    let found = verbs.find(|(name, _)| verb.eq_ignore_ascii_case(name));
    found.map(|(_, verb)| verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_a_model_a_version_and_a_verb() {
        let version = |text: &str| Version::Number(text.into());
        let label = |text: &str| Version::Label(text.into());
        for (path, model, found, verb) in [
            ("cat", "cat", Version::Any, Verb::Status),
            ("cat/metadata", "cat", Version::Any, Verb::Metadata),
            ("cat/versions/2", "cat", version("2"), Verb::Status),
            (
                "cat/Versions/2/METADATA",
                "cat",
                version("2"),
                Verb::Metadata,
            ),
            ("cat:predict", "cat", Version::Any, Verb::Predict),
            ("cat/versions/2:Predict", "cat", version("2"), Verb::Predict),
            (
                "cat/labels/stable:classify",
                "cat",
                label("stable"),
                Verb::Classify,
            ),
            ("cat:explain", "cat", Version::Any, Verb::Explain),
        ] {
            let expected = Request {
                model: model.into(),
                version: found,
                verb,
            };
            assert_eq!(parse(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn other_paths_are_malformed() {
        for path in [
            "",
            "/versions/2",
            "cat/",
            "cat/2",
            "cat/version/2:predict",
            "cat/versions/two",
            "cat/versions/",
            "cat/versions/2/labels/stable",
            "cat/metadata:predict",
            "cat/metadata/x",
            "cat:delete",
            "cat:",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
