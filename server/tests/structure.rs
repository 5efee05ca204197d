//! The structure of the code, checked: imports run one way, the serving core
//! knows no protocol, and files stay small.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const CRATES: [&str; 4] = ["server", "preprocess", "model", "weights"];

/// The largest number of files that may import each other in a circle.
const MAX_CIRCLE: usize = 2;

const MAX_LINES: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The source files of a folder, with their text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// `src/a/b.rs` -> `a::b`; `src/a/mod.rs` -> `a`; `src/lib.rs` -> nothing.
fn module(path: &Path, src: &Path) -> Vec<String> {
    let relative = path.strip_prefix(src).unwrap().with_extension("");
    let names = relative.iter().map(|name| name.to_str().unwrap());
    let names: Vec<String> = names.map(str::to_owned).collect();
    match names.last().map(String::as_str) {
        Some("mod" | "lib" | "main") => names[..names.len() - 1].to_vec(),
        _ => names,
    }
}

/// Every path that the text imports from its own crate, as absolute modules:
/// `use` items, with their braces expanded, and `crate::` paths in the code.
fn imports(text: &str, module: &[String]) -> Vec<Vec<String>> {
    // Unit tests see what they test; they are no part of the structure.
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut paths = Vec::new();
    // A `use` item starts a line, perhaps after its visibility.
    for item in code.split(';') {
        let start = item.rfind("\nuse ").map(|at| at + 5);
        let start = start.or_else(|| item.strip_prefix("use ").map(|_| 4));
        let public = || {
            item.rfind(" use ")
                .filter(|&at| item[..at].ends_with("pub"))
        };
        let restricted = || item.rfind(") use ").map(|at| at + 1);
        let start = start.or_else(|| public().or_else(restricted).map(|at| at + 5));
        if let Some(start) = start {
            expand(&item[start..], "", &mut paths);
        }
    }
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with("pub(in ") {
            continue; // a visibility, not an import
        }
        let path = &code[at..];
        let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        paths.push(path[..end.unwrap_or(path.len())].to_owned());
    }
    paths.iter().filter_map(|p| absolute(p, module)).collect()
}

/// `a::{b, c::{d}}` -> `a::b`, `a::c::d`.
fn expand(tree: &str, prefix: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap();
        paths.push(format!("{prefix}{path}"));
        return;
    };
    let prefix = format!("{prefix}{}", &tree[..open]);
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&inner[start..at], &prefix, paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

fn absolute(path: &str, module: &[String]) -> Option<Vec<String>> {
    let mut segments = path.split("::").map(str::trim);
    let mut absolute: Vec<String> = match segments.next()? {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    for segment in segments.filter(|segment| !segment.is_empty()) {
        if segment == "super" {
            absolute.pop();
        } else if segment != "self" {
            absolute.push(segment.to_owned());
        }
    }
    Some(absolute)
}

/// The files that each file imports from.
fn edges(src: &Path) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let files = sources(src);
    let modules: BTreeMap<Vec<String>, PathBuf> = files
        .iter()
        .filter(|(path, _)| !path.ends_with("main.rs"))
        .map(|(path, _)| (module(path, src), path.clone()))
        .collect();
    let owner = |path: &[String]| {
        let prefixes = (0..=path.len()).rev().map(|length| &path[..length]);
        prefixes.filter_map(|prefix| modules.get(prefix)).next()
    };
    let mut edges = BTreeMap::new();
    for (path, text) in &files {
        let imported = imports(text, &module(path, src));
        let mut targets: BTreeSet<PathBuf> =
            imported.iter().filter_map(|p| owner(p).cloned()).collect();
        targets.remove(path);
        edges.insert(path.clone(), targets);
    }
    edges
}

/// The files that can be reached from `from`.
fn reachable<'a>(
    from: &'a Path,
    edges: &'a BTreeMap<PathBuf, BTreeSet<PathBuf>>,
) -> BTreeSet<&'a Path> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for target in &edges[file] {
            if found.insert(target.as_path()) {
                open.push(target);
            }
        }
    }
    found
}

#[test]
fn imports_are_parsed() {
    let text = "use crate::a::{b::C, d};\nuse super::x;\nfn f() { crate::e::g() }\n";
    let found = imports(text, &["m".into(), "n".into()]);
    let found: Vec<String> = found.iter().map(|path| path.join("::")).collect();
    for expected in ["a::b::C", "a::d", "m::x", "e::g"] {
        assert!(
            found.iter().any(|path| path == expected),
            "{expected}: {found:?}"
        );
    }
}

#[test]
fn no_more_than_two_files_import_each_other_in_a_circle() {
    for name in CRATES {
        let src = root().join(name).join("src");
        let edges = edges(&src);
        let reach: BTreeMap<&Path, BTreeSet<&Path>> = edges
            .keys()
            .map(|file| (file.as_path(), reachable(file, &edges)))
            .collect();
        for (file, reached) in &reach {
            let circle: Vec<&&Path> = reached
                .iter()
                .filter(|r| reach[**r].contains(file))
                .collect();
            assert!(
                circle.len() <= MAX_CIRCLE,
                "{name}: a circle of {circle:#?}"
            );
        }
    }
}

#[test]
fn the_serving_core_names_no_protocol() {
    for (path, text) in sources(&root().join("server/src/core")) {
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        for word in words {
            assert!(
                !["axum", "http", "tonic", "hyper", "tower"].contains(&word),
                "{} names `{word}`",
                path.display()
            );
        }
    }
}

/// These extractors reject a request with a text of their own, where a problem in the
/// form of the route's API is expected.
#[test]
fn extractors_that_reject_in_plain_text_are_used_in_one_file() {
    let wrapped = Path::new("http/target.rs");
    for (path, text) in sources(&root().join("server/src")) {
        let imports = text.split("\nuse axum::").skip(1);
        let mut imports = imports.map(|item| item.split(';').next().unwrap());
        let found = imports.find(|item| {
            let mut words = item.split(|c: char| !c.is_alphanumeric());
            words.any(|word| ["Path", "Json", "Form", "Multipart"].contains(&word))
        });
        assert!(
            found.is_none() || path.ends_with(wrapped),
            "{} uses {found:?}; use the extractors of {}",
            path.display(),
            wrapped.display()
        );
    }
}

#[test]
fn crates_depend_on_each_other_in_one_direction() {
    for (name, allowed) in [
        ("server", &["model", "preprocess", "weights"][..]),
        ("preprocess", &["weights"]),
        ("model", &["weights"]),
        ("weights", &[]),
    ] {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        for other in CRATES {
            let line = format!("\n{other}.workspace = true");
            let depends = manifest.contains(&line);
            assert_eq!(depends, allowed.contains(&other), "{name} -> {other}");
        }
    }
    for (path, text) in sources(&root().join("server/src")) {
        assert!(!text.contains("candle_"), "{} uses candle", path.display());
    }
}

#[test]
fn files_have_at_most_400_lines() {
    for name in CRATES {
        for (path, text) in sources(&root().join(name).join("src")) {
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        }
    }
}

/// Each row of the threat model in SECURITY.md names the tests that fail without its
/// guard: files and folders, and functions of the file before them.
#[test]
fn the_tests_of_the_threat_model_exist() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let table = text
        .split("| threat | guard | tested by |\n")
        .nth(1)
        .unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let mut tests = 0;
    for row in rows {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let mut file = PathBuf::new();
        for name in cell.split('`').skip(1).step_by(2) {
            if name.contains('/') {
                file = root().join(name);
                assert!(file.exists(), "{name} of the row {row}");
                tests += usize::from(file.is_dir());
            } else {
                let source = std::fs::read_to_string(&file).unwrap();
                let is_there = source.contains(&format!("fn {name}()"));
                assert!(is_there, "{name} is not in {}", file.display());
                tests += 1;
            }
        }
        assert!(!file.as_os_str().is_empty(), "no test in the row {row}");
    }
    assert!(tests > 20, "{tests} tests");
}
