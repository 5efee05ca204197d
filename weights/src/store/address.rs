//! The addresses of checkpoints in object stores: `s3://bucket/folder`,
//! `https://host/model.safetensors`.

use crate::folder::is_weights;

/// The schemes of object stores.
const SCHEMES: [&str; 8] = ["s3", "s3a", "gs", "az", "adl", "abfs", "abfss", "https"];

/// A file or a folder in an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Up to the last `/`, which is included.
    folder: String,
    /// The file of weights; without one, it is selected among the files of the folder.
    file: Option<String>,
}

impl Address {
    /// Parses an address. `None` for text that has no scheme of an object store.
    ///
    /// # Errors
    /// The reason why an address cannot be used.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, &'static str>> {
        let (scheme, rest) = text.split_once("://")?;
        SCHEMES.contains(&scheme).then(|| Self::of(scheme, rest))
    }

    fn of(scheme: &str, rest: &str) -> Result<Self, &'static str> {
        if rest.contains(['?', '#']) {
            return Err("it has a query or a fragment; give the address of the file without it");
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err("it has no bucket or host");
        }
        // Azure has the container before the `@`: `abfss://container@account`.
        if host.contains('@') && !scheme.starts_with("abfs") {
            return Err("it has credentials; set them in the environment");
        }
        let path = path.trim_matches('/');
        let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
        let (folder, file) = match is_weights(last) {
            true => (folder, Some(last.to_owned())),
            false => (path, None),
        };
        if file.is_none() && scheme == "https" {
            return Err(
                "a folder cannot be listed over https; give the address of the file of weights",
            );
        }
        let folder = match folder {
            "" => format!("{scheme}://{host}/"),
            folder => format!("{scheme}://{host}/{folder}/"),
        };
        Ok(Self { folder, file })
    }

    /// The folder, with a `/` at its end.
    #[cfg(feature = "stores")]
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// The file of weights, if the address names it.
    #[cfg(feature = "stores")]
    pub(crate) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The path after the scheme, as one of a file or of a folder.
    pub(crate) fn path(&self) -> String {
        let (_, path) = self.folder.split_once("://").unwrap_or_default();
        format!("/{path}{}", self.file.as_deref().unwrap_or_default())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}{}",
            self.folder,
            self.file.as_deref().unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, Option<String>) {
        let address = Address::parse(text).unwrap().unwrap();
        (address.folder, address.file)
    }

    #[test]
    fn an_address_is_one_of_a_folder_or_of_a_file() {
        let folder = |folder: &str| (folder.to_owned(), None);
        let file = |folder: &str, file: &str| (folder.to_owned(), Some(file.to_owned()));
        assert_eq!(parts("s3://bucket"), folder("s3://bucket/"));
        assert_eq!(parts("gs://bucket/a/pets"), folder("gs://bucket/a/pets/"));
        assert_eq!(parts("s3://bucket/pets/"), folder("s3://bucket/pets/"));
        let pets = file("s3://bucket/a/", "pets.safetensors");
        assert_eq!(parts("s3://bucket/a/pets.safetensors"), pets);
        let index = file("https://host:8443/", "model.safetensors.index.json");
        assert_eq!(
            parts("https://host:8443/model.safetensors.index.json"),
            index
        );
        let azure = folder("abfss://container@account.dfs.core.windows.net/pets/");
        let text = "abfss://container@account.dfs.core.windows.net/pets";
        assert_eq!(parts(text), azure);
    }

    #[test]
    fn other_text_is_no_address_and_a_wrong_one_says_why() {
        for text in [
            "timm/resnet50",
            "/a/b",
            "s3:/bucket/a",
            "http://host/a.pth",
            "S3://b",
        ] {
            assert!(Address::parse(text).is_none(), "{text}");
        }
        for (text, reason) in [
            ("s3://bucket/a?versionId=1", "query"),
            ("s3:///a", "no bucket"),
            ("https://user:secret@host/a.pth", "credentials"),
            ("https://host/pets", "cannot be listed"),
        ] {
            let error = Address::parse(text).unwrap().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
