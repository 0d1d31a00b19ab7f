//! An engine that exists only in the test: it sends its own calls to the plugin's socket, and has an API that
//! answers as it is told and records the requests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ashore_lab::Daemon;
use serde_json::{Value, json};

use super::{Home, PROGRAM, eventually};

/// The API's answers by the beginning of the path. Other requests get no answer.
pub type Answers = BTreeMap<&'static str, Value>;

pub struct FakeEngine {
    pub home: Home,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<Answers>,
    asked: Mutex<Vec<String>>,
}

impl FakeEngine {
    /// Starts the daemon of a home with this engine's API.
    pub fn new() -> FakeEngine {
        let mut home = Home::new();
        home.daemon = None;
        let shared = Arc::new(Shared::default());
        let socket = home.directory.path().join("api.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let served = shared.clone();
        // The thread ends with the test process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.answer(stream));
            }
        });
        let with_api = format!("exec \"$0\" \"$@\" --docker-host unix://{}", socket.display());
        let launcher = ["sh", "-c", with_api.as_str()];
        let daemon = Daemon::start_by(&launcher, Path::new(PROGRAM), &home.nas, home.directory.path());
        home.daemon = Some(daemon.unwrap());
        FakeEngine { home, shared }
    }

    pub fn answers(&self, answers: Answers) {
        *self.shared.answers.lock().unwrap() = answers;
    }

    /// The requests to the API since the last call of this function.
    pub fn was_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    /// Makes a call that must succeed.
    #[track_caller]
    pub fn call(&self, method: &str, body: &Value) -> Value {
        self.try_call(method, body).unwrap_or_else(|error| panic!("{method} {body}: {error}"))
    }

    /// Makes a call. Returns the plugin's error, if it answers with one.
    pub fn try_call(&self, method: &str, body: &Value) -> Result<Value, String> {
        let answer = plugin_call(&self.home, &format!("/{method}"), &body.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        match answer.get("Err").or(answer.get("Error")) {
            Some(error) => Err(error.to_string()),
            None => Ok(answer),
        }
    }

    /// Creates a network and its pool, and returns the pool's id. These are the calls of `docker network
    /// create -d ashore --ipam-driver ashore`.
    pub fn create_network(&self, id: &str, pool: &Value) -> String {
        self.call("NetworkDriver.GwAllocCheck", &json!({ "Options": {} }));
        let opened = self.call("IpamDriver.RequestPool", pool);
        let gateway = json!({
            "PoolID": opened["PoolID"],
            "Options": { "RequestAddressType": "com.docker.network.gateway" },
        });
        let gateway = self.call("IpamDriver.RequestAddress", &gateway)["Address"].clone();
        let options = json!({ "com.docker.network.generic": { "parent": "eth0" } });
        let data = json!([{ "Pool": opened["Pool"], "Gateway": gateway }]);
        self.call(
            "NetworkDriver.CreateNetwork",
            &json!({ "NetworkID": id, "Options": options, "IPv4Data": data }),
        );
        opened["PoolID"].as_str().unwrap().to_owned()
    }

    /// Requests an address as Docker 29 and later do, with the container's name.
    #[track_caller]
    pub fn address_for(&self, pool: &str, name: &str) -> String {
        let options = json!({ "com.docker.network.endpoint.name": name });
        let asked = json!({ "PoolID": pool, "Address": "", "Options": options });
        let answer = self.call("IpamDriver.RequestAddress", &asked);
        answer["Address"].as_str().unwrap().to_owned()
    }
}

impl Shared {
    fn answer(&self, mut stream: UnixStream) {
        let mut lines = BufReader::new(&stream).lines();
        let Some(Ok(first)) = lines.next() else { return };
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let answers = self.answers.lock().unwrap().clone();
        let found = answers
            .iter()
            .find(|(begins, _)| path.starts_with(*begins))
            .map(|(_, answer)| answer.to_string());
        self.asked.lock().unwrap().push(path);
        let Some(body) = found else {
            // Keeps the caller waiting.
            std::thread::sleep(Duration::from_secs(600));
            return;
        };
        let length = body.len();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// The socket on which an engine finds the plugin.
pub fn plugin_socket(home: &Home) -> PathBuf {
    home.directory.path().join("plugins/ashore.sock")
}

/// Makes a call as an engine does, and returns the plugin's answer.
pub fn plugin_call(home: &Home, path: &str, body: &str) -> String {
    call_on(&plugin_socket(home), path, body)
}

/// The same, where the plugin's socket is known.
pub fn call_on(socket: &Path, path: &str, body: &str) -> String {
    let mut stream = None;
    // The daemon's control socket exists a moment before the plugin's socket.
    eventually("the plugin is there", || {
        stream = UnixStream::connect(socket).ok();
        stream.is_some()
    });
    let mut stream = stream.unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
