//! The plugin that chooses the addresses, if a CNI configuration names another one (`"ipam": {"type": …}`): it is
//! executed here, in the runtime's context, and its answer goes to the daemon with the call. The specification calls
//! this delegation: the same environment and configuration, the plugin's standard error is shown, its errors are the
//! caller's, and an ADD that fails afterwards is followed by its DEL. The daemon is asked before an ADD too, since
//! that DEL would give back the address of a container that is attached already. For the same reason there is no such
//! DEL where it is not known that the container is off the LAN: the runtime's own DEL follows.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ashore_plug::wire::{DELEGATED_MAX, Delegated, Reply, STAYS};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::call::{self, Call, Cni, Fault};
use crate::json;

/// How long the plugin may take for a call. The runtime waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many bytes of its standard error are shown.
const SHOWN: u64 = 16 << 10;
/// How many characters of an error are in a warning.
const IN_WARNING: usize = 400;

/// The names of what is not delegated, besides the name by which the program is called: Ashore chooses the addresses
/// itself, or leases them itself of the LAN's DHCP server.
const OWN: [&str; 3] = ["ashore", "ashore-plug", "dhcp"];

/// A plugin that chooses the addresses.
#[derive(Debug)]
pub(crate) struct Delegate<'a> {
    name: &'a str,
    config: &'a [u8],
    patience: Duration,
}

/// Why it has given no answer.
enum Failed {
    /// It is not there.
    Missing(Reply),
    /// It was executed.
    Executed(Reply),
}

impl<'a> Delegate<'a> {
    /// The one that a configuration names, for the program that is called by this name.
    pub(crate) fn of(config: &'a [u8], called_as: &[u8]) -> Option<Self> {
        // Another plugin makes the link, and this program chooses the addresses for it.
        let is_own = |name: &str| OWN.contains(&name) || name.as_bytes() == called_as;
        let name = json::member(json::object(config, "ipam")?, "type")?;
        let chosen_here = name.is_empty() || is_own(name);
        (!chosen_here).then_some(Delegate { name, config, patience: PATIENCE })
    }

    /// Carries out a call with the plugin. `ask` passes a command on to the daemon, with what is known of the plugin.
    pub(crate) fn with(
        &self,
        call: Cni,
        ask: impl Fn(Cni, Option<Delegated>) -> Result<Reply, Fault>,
    ) -> Reply {
        if call == Cni::Add {
            return self.add(ask);
        }
        // A container is taken off the LAN before its address is given back.
        let told = (call == Cni::Gc).then_some(Delegated::ToCome);
        let reply = ask(call, told).unwrap_or_else(|fault| Call::Cni(call).without_answer(&fault));
        // The plugin would give back the address of a container that Ashore has kept.
        if call == Cni::Gc && reply.stdout == STAYS {
            return Reply { stdout: Vec::new(), ..reply };
        }
        if reply.code != 0 && !matches!(call, Cni::Del | Cni::Gc) {
            return reply;
        }
        match self.run(call.as_str()) {
            Ok(ran) => Reply { stderr: [reply.stderr, ran.stderr].concat(), ..reply },
            // What the plugin has kept is lost with it, and a container that cannot be removed would stay for ever.
            Err(Failed::Missing(failed)) if matches!(call, Cni::Del | Cni::Gc) => {
                let warning = format!("ashore: warning: {}\n", in_one_line(&failed.stdout));
                Reply { stderr: [reply.stderr, warning.into_bytes()].concat(), ..reply }
            }
            Err(Failed::Missing(failed) | Failed::Executed(failed)) => {
                if reply.code != 0 {
                    return reply;
                }
                Reply { stderr: [reply.stderr, failed.stderr].concat(), ..failed }
            }
        }
    }

    fn add(&self, ask: impl Fn(Cni, Option<Delegated>) -> Result<Reply, Fault>) -> Reply {
        let may = ask(Cni::Add, Some(Delegated::ToCome));
        let may = may.unwrap_or_else(|fault| Call::Cni(Cni::Add).without_answer(&fault));
        if may.code != 0 {
            return may;
        }
        // It may be attached elsewhere, with an address that the plugin has kept for it before.
        let stays = may.stdout == STAYS;
        let give_back = |failed: Reply| if stays { kept(failed) } else { self.give_back(failed) };
        let ran = match self.run("ADD") {
            Ok(ran) if ran.stdout.trim_ascii().is_empty() => {
                let failed = call::delegate_failed(self.name, "it has chosen nothing");
                return give_back(Reply { stderr: ran.stderr, ..failed });
            }
            Ok(ran) => ran,
            Err(Failed::Missing(failed)) => return failed,
            Err(Failed::Executed(failed)) => return give_back(failed),
        };
        let shown = |reply: Reply| Reply { stderr: [&ran.stderr[..], &reply.stderr].concat(), ..reply };
        match ask(Cni::Add, Some(Delegated::Answer(ran.stdout.clone()))) {
            Ok(reply) if reply.code == 0 => shown(reply),
            Ok(failed) => give_back(shown(failed)),
            Err(fault) => {
                let failed = shown(Call::Cni(Cni::Add).without_answer(&fault));
                // The daemon may have attached the container before it fell silent, or may do so yet.
                let is_off = fault.is_unsent()
                    || !fault.is_slow() && ask(Cni::Del, None).is_ok_and(|reply| reply.code == 0);
                if is_off { give_back(failed) } else { kept(failed) }
            }
        }
    }

    /// Has the plugin give back what it has chosen for a container that is not attached.
    fn give_back(&self, failed: Reply) -> Reply {
        let more = match self.run("DEL") {
            Ok(ran) => ran.stderr,
            Err(Failed::Missing(again) | Failed::Executed(again)) => {
                let why = in_one_line(&again.stdout);
                let warning = format!("ashore: warning: the address is not given back: {why}\n");
                [again.stderr, warning.into_bytes()].concat()
            }
        };
        Reply { stderr: [failed.stderr, more].concat(), ..failed }
    }

    /// Executes the plugin for a command.
    fn run(&self, command: &str) -> Result<Reply, Failed> {
        let program = self.find().map_err(|why| Failed::Missing(call::delegate_missing(&why)))?;
        let failed = |why: &str| Failed::Executed(call::delegate_failed(self.name, why));
        let ran = self.execute(Command::new(program).env("CNI_COMMAND", command));
        let (status, stdout, stderr) = ran.map_err(|why| failed(&why))?;
        if status.success() {
            return Ok(Reply { code: 0, stdout, stderr });
        }
        // What it says is an error in the words of the specification, or nothing that its caller understands.
        let is_error = stdout.trim_ascii_start().starts_with(b"{");
        let reply = if is_error {
            Reply { code: 1, stdout, ..Reply::default() }
        } else {
            call::delegate_failed(self.name, &format!("{status} {}", in_one_line(&stdout)))
        };
        Err(Failed::Executed(Reply { stderr, ..reply }))
    }

    /// The plugin's file in one of the directories that the runtime names.
    fn find(&self) -> Result<PathBuf, String> {
        let name = self.name;
        if name.contains('/') || name == "." || name == ".." {
            return Err(format!("ipam.type: `{name}` is no name of a plugin"));
        }
        let path = std::env::var_os("CNI_PATH").unwrap_or_default();
        let directories = path.as_bytes().split(|byte| *byte == b':').filter(|part| part.starts_with(b"/"));
        let mut files = directories.map(|part| PathBuf::from(OsStr::from_bytes(part)).join(name));
        files.find(|file| fs::metadata(file).is_ok_and(|there| there.is_file())).ok_or_else(|| {
            let path: OsString = path.clone();
            format!("ipam.type: there is no plugin `{name}` in CNI_PATH={}", path.display())
        })
    }

    /// Executes a program with the configuration, and returns its end and its two outputs. One that takes too long, or
    /// says too much, is ended with all that it has started.
    fn execute(&self, program: &mut Command) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), String> {
        let end = Instant::now() + self.patience;
        let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.process_group(0).spawn().map_err(|error| error.to_string())?;
        let done = self.talk(&mut child, end);
        if done.is_err() {
            // Nobody has waited for it yet, so the number is its own.
            let _ = killpg(pid_of(&child), Signal::SIGKILL);
            let _ = child.wait();
        }
        done
    }

    fn talk(&self, child: &mut Child, end: Instant) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), String> {
        let (mut stdin, config) = (child.stdin.take().expect("it is piped"), self.config.to_vec());
        // A plugin that ends early has read what it needs.
        thread::spawn(move || stdin.write_all(&config));
        let most = DELEGATED_MAX as u64;
        let stdout = reading(child.stdout.take().expect("it is piped"), most + 1);
        let stderr = reading(child.stderr.take().expect("it is piped"), SHOWN);
        let ended = ending(pid_of(child));
        let silent = || format!("nothing came in {} s", self.patience.as_secs());
        let said = match stdout.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(said) => said.map_err(|error| error.to_string())?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Err(silent()),
        };
        if said.len() as u64 > most {
            return Err(format!("its answer is longer than {most} bytes"));
        }
        if ended.recv_timeout(end.saturating_duration_since(Instant::now())).is_err() {
            return Err(silent());
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        // A process that it has left behind may hold the other end for ever.
        let errors = stderr.recv_timeout(Duration::from_millis(100));
        Ok((status, said, errors.map(Result::unwrap_or_default).unwrap_or_default()))
    }
}

/// The failure of an ADD whose container may have the address all the same.
fn kept(failed: Reply) -> Reply {
    let warning =
        b"ashore: warning: the address is not given back before the container's DEL: it may be in use\n";
    Reply { stderr: [&failed.stderr[..], warning].concat(), ..failed }
}

/// Reads an output to its end, up to a number of bytes.
fn reading(mut from: impl Read + Send + 'static, most: u64) -> Receiver<io::Result<Vec<u8>>> {
    let (sends, receives) = sync_channel(1);
    thread::spawn(move || {
        let mut read = Vec::new();
        let done = from.by_ref().take(most).read_to_end(&mut read).map(|_| read);
        let _ = sends.send(done);
        // The writer would be killed by a pipe that nobody reads.
        let _ = io::copy(&mut from, &mut io::sink());
    });
    receives
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Tells when a process has ended, which stays to be waited for.
fn ending(pid: Pid) -> Receiver<()> {
    let (sends, receives) = sync_channel(1);
    thread::spawn(move || {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(pid), flags) == Err(nix::errno::Errno::EINTR) {}
        let _ = sends.send(());
    });
    receives
}

/// What an error says, in one line of a bounded length that a terminal shows as it is.
fn in_one_line(error: &[u8]) -> String {
    let whole = || String::from_utf8_lossy(error).trim().to_owned();
    let text = json::member(error, "msg").map_or_else(whole, str::to_owned);
    let mut line = String::new();
    for c in text.chars().take(IN_WARNING) {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    if text.chars().nth(IN_WARNING).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_is_ended_is_ended_with_all_that_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let delegate = Delegate { name: "test", config: b"{}", patience: Duration::from_secs(5) };
        let script = format!("sleep 100 & echo $! >{}; wait", file.display());
        delegate.execute(Command::new("/bin/sh").args(["-c", &script])).unwrap_err();
        let pid = fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let is_over = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let began = Instant::now();
        while !is_over() {
            assert!(began.elapsed() < Duration::from_secs(5), "{pid} lives");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn an_error_in_a_warning_is_a_line_of_text() {
        let line = |text: &str| in_one_line(text.as_bytes());
        assert_eq!(line("{\"code\":7,\"msg\":\"no such range\"}\n"), "no such range");
        assert_eq!(line("{\"msg\":\"a \\\"b\\\"\"}\n"), "{\"msg\":\"a \\\"b\\\"\"}");
        assert_eq!(line("a\x1b[31m\nb"), "a\\u{1b}[31m\\nb");
        let long = line(&"x".repeat(1 << 20));
        assert!(long.len() < 1000 && long.ends_with('…'), "{}", long.len());
    }

    #[test]
    fn what_is_delegated_is_what_another_plugin_chooses() {
        for (config, name) in [
            (r#"{"type":"ashore","ipam":{"type":"host-local","x":{"type":"y"}}}"#, Some("host-local")),
            (r#"{"ipam":{"x":{"type":"y"},"type":"static"}}"#, Some("static")),
            (r#"{"ipam":{"type":"ashore"}}"#, None),
            (r#"{"ipam":{"type":"mine"}}"#, None),
            (r#"{"ipam":{"type":"dhcp"}}"#, None),
            (r#"{"ipam":{"type":""}}"#, None),
            (r#"{"ipam":{}}"#, None),
            (r#"{"ipam":"host-local"}"#, None),
            (r#"{"args":{"ipam":{"type":"host-local"}}}"#, None),
            (r#"{"type":"ashore"}"#, None),
            ("", None),
        ] {
            assert_eq!(Delegate::of(config.as_bytes(), b"mine").map(|found| found.name), name, "{config}");
        }
    }

    #[test]
    fn a_plugin_that_is_silent_or_says_too_much_is_ended() {
        let within = |millis, script: &str| {
            let delegate = Delegate { name: "test", config: b"{}", patience: Duration::from_millis(millis) };
            delegate.execute(Command::new("/bin/sh").args(["-c", script]))
        };
        let shell = |script: &str| within(300, script);
        let (status, stdout, stderr) = within(60_000, "cat; echo bad >&2; exit 3").unwrap();
        assert_eq!((status.code(), &stdout[..], &stderr[..]), (Some(3), &b"{}"[..], &b"bad\n"[..]));
        assert!(shell("exec sleep 100").unwrap_err().contains("nothing came"));
        assert!(shell("exec >&-; exec sleep 100").unwrap_err().contains("nothing came"));
        assert!(within(60_000, "exec cat /dev/zero").unwrap_err().contains("longer than"));
        // What it has started holds the pipe of its errors, and is not waited for.
        let (_, _, errors) = within(60_000, "sleep 100 >/dev/null & echo bad >&2; echo '{}'").unwrap();
        assert!(errors.is_empty(), "{errors:?}");
    }
}
