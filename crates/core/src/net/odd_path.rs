//! The serialised form of a path. A container chooses the names of its files, and they need not be valid
//! UTF-8. A path that is not valid UTF-8 is written as a list of bytes.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(PathBuf),
    Bytes(Vec<u8>),
}

impl From<Written> for PathBuf {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(path) => path,
            Written::Bytes(bytes) => std::ffi::OsString::from_vec(bytes).into(),
        }
    }
}

pub(crate) fn serialize<P: AsRef<Path>, S: Serializer>(path: &P, serializer: S) -> Result<S::Ok, S::Error> {
    let path = path.as_ref();
    match path.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => serializer.collect_seq(path.as_os_str().as_bytes()),
    }
}

pub(crate) fn deserialize<'de, P: From<PathBuf>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<P, D::Error> {
    Ok(PathBuf::from(Written::deserialize(deserializer)?).into())
}

/// The same for an optional path.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, Path, PathBuf, Serializer, Written};

    #[allow(clippy::ref_option)] // serde passes it like this.
    pub(crate) fn serialize<P: AsRef<Path>, S: Serializer>(
        path: &Option<P>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => super::serialize(path, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, P: From<PathBuf>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<P>, D::Error> {
        Ok(Option::<Written>::deserialize(deserializer)?.map(|written| PathBuf::from(written).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::link::Netns;

    #[test]
    fn any_path_is_read_as_it_was_written_and_text_is_text() {
        for bytes in [&b"/run/netns/web"[..], b"/proc/7/root/mnt/\xff\xffm", b"/a\x1b[2J"] {
            let path = PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()));
            let netns = Netns::new(path.clone(), 4, 7).found_by(path.join("x"));
            let json = serde_json::to_string(&netns).unwrap();
            let read: Netns = serde_json::from_str(&json).unwrap();
            assert_eq!((&read.path, read.attached_by.as_deref()), (&netns.path, Some(&*path)), "{json}");
            assert_eq!(json.contains(r#""attached_by":"/"#), path.to_str().is_some(), "{json}");
        }
        let old: Netns = serde_json::from_str(r#"{"path":"/run/netns/web","dev":4,"ino":7}"#).unwrap();
        assert_eq!((old.path, old.attached_by), ("/run/netns/web".into(), None));
    }
}
