//! A CNI runtime on the NAS, played by hand: it executes `ashore-plug` as runtimes do.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use ashore_lab::{Engines, Machine};
use serde_json::{Value, json};

use super::{Home, PROGRAM};

/// The plugin.
pub fn plug() -> PathBuf {
    Path::new(PROGRAM).with_file_name("ashore-plug")
}

/// A network configuration with more than its name, which is `lan`.
pub fn config(version: &str, more: Value) -> Value {
    let mut config = json!({ "cniVersion": version, "name": "lan", "type": "ashore" });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    config.as_object_mut().unwrap().extend(more);
    config
}

/// What the plugin has printed.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    /// `Null` if it is empty.
    pub answer: Value,
    pub stderr: String,
}

impl Said {
    /// Checks that the call succeeded.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.answer
    }

    /// Checks that the call failed with CNI's code and an error that contains these words.
    #[track_caller]
    pub fn failed(self, code: u32, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.answer["code"], code, "{self:?}");
        let text = self.answer.to_string();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text}");
        }
    }
}

/// A container as the runtime knows it.
pub struct Container<'a> {
    pub home: &'a Home,
    pub id: &'a str,
    /// The path of its namespace, or nothing.
    pub netns: String,
    pub ifname: &'a str,
    pub args: &'a str,
    /// The plugin that is called. `None`: Ashore's, where no other is.
    pub plugin: Option<PathBuf>,
}

impl<'a> Container<'a> {
    pub fn new(home: &'a Home, machine: &Machine, id: &'a str) -> Self {
        let netns = machine.namespace().path().display().to_string();
        Container { home, id, netns, ifname: "eth0", args: "", plugin: None }
    }

    pub fn call(&self, command: &str, config: &Value) -> Said {
        self.begin(command, config).end()
    }

    pub fn begin(&self, command: &str, config: &Value) -> Begun {
        let variables = [
            ("CNI_CONTAINERID", self.id),
            ("CNI_NETNS", &self.netns),
            ("CNI_IFNAME", self.ifname),
            ("CNI_ARGS", self.args),
        ];
        begin(self.home, self.plugin.as_deref(), command, &variables, config)
    }
}

/// Calls the plugin for a network.
pub fn call_for_network(home: &Home, command: &str, config: &Value) -> Said {
    begin(home, None, command, &[], config).end()
}

/// Calls the plugin at this path for a network.
pub fn call_of_network(home: &Home, plugin: &Path, command: &str, config: &Value) -> Said {
    begin(home, Some(plugin), command, &[], config).end()
}

/// The reference plugins and Ashore's in one directory, as a runtime has them.
pub struct Plugins(PathBuf);

impl Plugins {
    /// Those of Debian's newest release, which know the newest version of CNI.
    pub fn beside_the_reference(home: &Home, engines: &Engines) -> Self {
        let directory = home.directory.path().join("cni-plugins");
        std::fs::create_dir(&directory).unwrap();
        for plugin in ["macvlan", "bridge", "host-local", "static"] {
            symlink(engines.tree("sid").join("usr/lib/cni").join(plugin), directory.join(plugin)).unwrap();
        }
        symlink(plug(), directory.join("ashore")).unwrap();
        Plugins(directory)
    }

    /// A container that a plugin of this name attaches.
    pub fn container<'a>(
        &self,
        home: &'a Home,
        plugin: &str,
        machine: &Machine,
        id: &'a str,
    ) -> Container<'a> {
        Container { plugin: Some(self.0.join(plugin)), ..Container::new(home, machine, id) }
    }

    pub fn call_for_network(&self, home: &Home, plugin: &str, command: &str, config: &Value) -> Said {
        call_of_network(home, &self.0.join(plugin), command, config)
    }
}

/// A call that has begun.
pub struct Begun(Child);

fn begin(
    home: &Home,
    plugin: Option<&Path>,
    command: &str,
    variables: &[(&str, &str)],
    config: &Value,
) -> Begun {
    let path = plugin.and_then(Path::parent).unwrap_or(Path::new("/opt/cni/bin"));
    let mut plugin = home.nas.command(plugin.unwrap_or(&plug())).unwrap();
    plugin.env("CNI_COMMAND", command).env("CNI_PATH", path).envs(variables.iter().copied());
    plugin.env("ASHORE_PLUG_SOCKET", home.directory.path().join("ashore-plug.sock"));
    let mut child =
        plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A plugin that misses a variable ends before it has read anything.
    let _ = child.stdin.take().unwrap().write_all(config.to_string().as_bytes());
    Begun(child)
}

impl Begun {
    pub fn end(self) -> Said {
        let output = self.0.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let answer = match output.stdout.as_slice() {
            b"" => Value::Null,
            text => serde_json::from_slice(text)
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text))),
        };
        Said { code: output.status.code(), answer, stderr }
    }
}
