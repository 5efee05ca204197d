//! The name of a model, derived from where its weights are stored.

use std::path::Path;

/// The name of the model in a weights file: the file's stem, or the name of its
/// folder if the file has one of the generic names `model*` and
/// `pytorch_model*`.
pub(crate) fn of_file(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let generic = stem.starts_with("model") || stem.starts_with("pytorch_model");
    let folder = path.parent().and_then(Path::file_name);
    match folder {
        Some(folder) if generic => folder.to_string_lossy().into_owned(),
        _ => stem.into_owned(),
    }
}

/// The name of the model in a folder: the folder's name. A symbolic link keeps
/// its own name, because its target changes when a new version is deployed.
pub(crate) fn of_folder(path: &Path) -> String {
    let absolute;
    let name = match path.file_name() {
        Some(name) => Some(name),
        // `.`, `..` and the like
        None => {
            absolute = path.canonicalize().unwrap_or_default();
            absolute.file_name()
        }
    };
    name.map_or_else(
        || "model".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_stem_or_its_folder() {
        let name = |path| of_file(Path::new(path));
        assert_eq!(name("a/pets.safetensors"), "pets");
        assert_eq!(name("a/pets/model.safetensors"), "pets");
        assert_eq!(name("a/v1.2/model.safetensors.index.json"), "v1.2");
        assert_eq!(name("pets/pytorch_model.bin"), "pets");
        assert_eq!(name("model.pth"), "model");
    }

    #[test]
    fn a_folder_is_named_by_its_last_part() {
        let name = |path| of_folder(Path::new(path));
        assert_eq!(name("/models/pets"), "pets");
        assert_eq!(name("/models/resnet50.a1_in1k/"), "resnet50.a1_in1k");
        assert_eq!(name("/"), "model");
        let current = std::env::current_dir().unwrap();
        let current = current.file_name().unwrap().to_str().unwrap();
        assert_eq!(name("."), current);
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_keeps_its_name() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("pets");
        std::fs::create_dir(root.path().join("..2026_11_25")).unwrap();
        std::os::unix::fs::symlink("..2026_11_25", &link).unwrap();
        assert_eq!(of_folder(&link), "pets");
    }
}
