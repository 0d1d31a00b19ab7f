//! What to type next, on the NAS itself.

use std::ffi::OsString;

use crate::messages::message;

/// A longer path of the program is not repeated.
const LONGEST: usize = 40;

/// The three lines from here to the first container. The program is called as it was called now.
pub(super) fn steps(called: Option<OsString>) -> String {
    let called = called.and_then(|name| name.into_string().ok());
    let plain = |name: &String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        name.len() <= LONGEST && !name.is_empty() && name.chars().all(is_plain)
    };
    let program = called.filter(plain).unwrap_or_else(|| "ashore".into());
    format!(
        "\n{}\n\
         $ sudo {program} install\n\
         $ sudo ashore setup\n\
         $ docker run -d --network lan --name web nginx",
        message!("lab-next")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_as_it_was_unless_that_is_long_or_odd() {
        let first = |called: &str| steps(Some(called.into())).lines().nth(2).unwrap().to_owned();
        assert_eq!(first("target/release/ashore"), "$ sudo target/release/ashore install");
        assert_eq!(first("ashore"), "$ sudo ashore install");
        assert_eq!(first("/tmp/a b/ashore"), "$ sudo ashore install");
        assert_eq!(first(&format!("/tmp/{}/ashore", "x".repeat(60))), "$ sudo ashore install");
        assert!(steps(None).contains("sudo ashore install\n"));
    }
}
