//! Which of a container's labels its user chose. The engine lists them together with those of the image, which
//! whoever made the image chose: these must not say what the LAN is told of the container.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use ashore_core::api::engine_call::Labels;
use ashore_core::net::option::{CLIENT_ID, LABEL, NetworkOption, OWN_HOSTNAME};
use serde::{Deserialize, Serialize};

use super::api::{Api, escaped, or_null};

/// How long to wait for an image. The engine answers within milliseconds, and the container's address waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// The maximum number of images whose labels are kept.
const MOST: usize = 256;
/// The maximum length of labels that are kept. Longer ones stand for nothing, and are read each time.
const LONGEST: usize = 1024;

/// All labels of a container or an image.
pub(super) type All = BTreeMap<String, String>;

/// What tells an image. Nothing of it ever changes: the id is a hash of its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Image {
    pub(super) id: String,
    /// For which platform, if the image is for several (from Docker 28 on, and only with containerd's images).
    pub(super) platform: Option<Platform>,
}

/// A platform, as OCI writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Platform {
    os: String,
    architecture: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    variant: String,
}

/// A container's labels that stand for options, whoever chose them.
#[derive(Debug, Default)]
pub(super) struct Listed {
    name: String,
    labels: Labels,
    image: Image,
}

impl Listed {
    pub(super) fn new(name: &str, all: &All, image: Image) -> Self {
        Listed { name: name.to_owned(), labels: options(all), image }
    }
}

/// The labels of images that containers with labels of Ashore's have.
#[derive(Default)]
pub(crate) struct Images(Mutex<BTreeMap<Image, Labels>>);

impl Images {
    /// The labels that the container's user chose: those that its image does not have with the same value. If the
    /// image cannot be read, these are none.
    pub(super) async fn users(&self, api: &Api, listed: Listed) -> Labels {
        let Listed { name, labels, image } = listed;
        if labels == Labels::default() {
            return labels;
        }
        match self.of(api, &image).await {
            Ok(theirs) => Labels {
                hostname: own(&OWN_HOSTNAME, labels.hostname, theirs.hostname.as_ref(), &name),
                client_id: own(&CLIENT_ID, labels.client_id, theirs.client_id.as_ref(), &name),
            },
            Err(error) => {
                tracing::warn!(
                    %name,
                    "its labels `{LABEL}…` do not count: it cannot be told which of them are its image's: {error:#}"
                );
                Labels::default()
            }
        }
    }

    /// An image's labels that stand for options.
    async fn of(&self, api: &Api, image: &Image) -> anyhow::Result<Labels> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(image).cloned();
        if let Some(labels) = known {
            return Ok(labels);
        }
        let read = tokio::time::timeout(PATIENCE, read(api, image)).await;
        let labels = read.with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))??;
        let length =
            [&labels.hostname, &labels.client_id].into_iter().flatten().map(String::len).sum::<usize>();
        if length <= LONGEST {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(image.clone(), labels.clone());
        }
        Ok(labels)
    }
}

/// The labels that stand for options.
fn options(all: &All) -> Labels {
    let of = |option: &NetworkOption| all.get(&format!("{LABEL}{}", option.key())).cloned();
    Labels { hostname: of(&OWN_HOSTNAME), client_id: of(&CLIENT_ID) }
}

/// A container's label, unless it is its image's.
fn own(option: &NetworkOption, its: Option<String>, images: Option<&String>, name: &str) -> Option<String> {
    let is_images = its.is_some() && its.as_ref() == images;
    if is_images {
        let key = option.key();
        tracing::warn!(%name, "its label `{LABEL}{key}` is its image's and does not count; only its user's do");
    }
    its.filter(|_| !is_images)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
    #[serde(default, deserialize_with = "or_null")]
    config: Config,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    #[serde(deserialize_with = "or_null")]
    labels: All,
}

async fn read(api: &Api, Image { id, platform }: &Image) -> anyhow::Result<Labels> {
    anyhow::ensure!(!id.is_empty(), "the engine does not say which image it has");
    let mut path = format!("/images/{}/json", escaped(id));
    if let Some(platform) = platform {
        path = format!("{path}?platform={}", escaped(&serde_json::to_string(platform)?));
    }
    let shown: Shown = api.get(&path).await?;
    // An engine that does not know this parameter shows the image for its own platform, and may have run another.
    if let Some(Platform { os, architecture, variant }) = platform {
        let is_other = |wanted: &str, shown: &str| !wanted.is_empty() && !shown.is_empty() && wanted != shown;
        anyhow::ensure!(
            *os == shown.os && *architecture == shown.architecture && !is_other(variant, &shown.variant),
            "the engine shows its image for another platform"
        );
    }
    Ok(options(&shown.config.labels))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::*;

    /// Answers each request with the next text, or as not found for an empty one. Returns the paths that were asked for.
    fn engine(socket: &Path, answers: &[&str]) -> std::thread::JoinHandle<Vec<String>> {
        let listener = UnixListener::bind(socket).unwrap();
        let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
        let answer = move |body: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let first = lines.next().unwrap();
            lines.find(String::is_empty).unwrap();
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            first.split(' ').nth(1).unwrap().to_owned()
        };
        std::thread::spawn(move || answers.into_iter().map(answer).collect())
    }

    fn listed(image: &str, platform: Option<&str>) -> Listed {
        let all = [("ashore.hostname", "photos"), ("ashore.client_id", "nas-1"), ("other", "x")];
        let all = all.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let platform = platform.map(|text| serde_json::from_str(text).unwrap());
        Listed::new("web", &all, Image { id: image.to_owned(), platform })
    }

    fn texts(labels: &Labels) -> [Option<&str>; 2] {
        [labels.hostname.as_deref(), labels.client_id.as_deref()]
    }

    #[tokio::test]
    async fn what_the_image_has_is_not_the_users_and_each_is_asked_for_once() {
        const BOTH: [Option<&str>; 2] = [Some("photos"), Some("nas-1")];
        const NONE: [Option<&str>; 2] = [None, None];
        let amd64 = r#"{"os":"linux","architecture":"amd64"}"#;
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let engine = engine(
            &socket,
            &[
                r#"{"Config":{"Labels":{"ashore.client_id":"nas-1","ashore.hostname":"wpad"}}}"#,
                r#"{"Config":null}"#,
                "",
                r#"{"Config":{"Labels":null}}"#,
                r#"{"Os":"linux","Architecture":"arm64","Config":{"Labels":null}}"#,
                r#"{"Os":"linux","Architecture":"amd64","Config":{"Labels":null}}"#,
            ],
        );
        let (api, images) = (Api::at(&socket), Images::default());
        for (image, platform, expected) in [
            ("sha256:1", None, [Some("photos"), None]),
            ("sha256:1", None, [Some("photos"), None]),
            ("sha256:2", None, BOTH),
            // Failures are not kept.
            ("sha256:3", None, NONE),
            ("sha256:3", None, BOTH),
            ("sha256:4", Some(amd64), NONE),
            ("sha256:4", Some(amd64), BOTH),
            ("", None, NONE),
        ] {
            let own = images.users(&api, listed(image, platform)).await;
            assert_eq!(texts(&own), expected, "{image}");
        }
        let bare = Listed::new("web", &All::new(), Image::default());
        assert_eq!(texts(&images.users(&api, bare).await), NONE, "nothing is asked");
        let asked = engine.join().unwrap();
        assert_eq!(asked[0], "/images/sha256%3A1/json");
        assert!(
            asked[4].ends_with("?platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22amd64%22%7D")
        );
    }
}
