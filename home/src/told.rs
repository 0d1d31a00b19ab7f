//! What `ashore doctor` finds.

use ashore_lab::Ran;
use serde_json::Value;

use super::Home;

/// What `ashore doctor` answers.
pub struct Told {
    pub ran: Ran,
    pub findings: Vec<Value>,
}

impl Told {
    pub fn of(home: &Home, options: &str) -> Told {
        let ran = home.run(&format!("doctor --json {options}"));
        let told: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        let findings = told["findings"].as_array().cloned().unwrap_or_default();
        let told = Told { ran, findings };
        // On a machine that has more to do, requests take their time.
        if told.codes().contains(&"busy") { Told::of(home, options) } else { told }
    }

    pub fn codes(&self) -> Vec<&str> {
        let troubles = self.findings.iter().filter(|finding| finding["result"] == "trouble");
        troubles.map(|finding| finding["what"]["code"].as_str().unwrap()).collect()
    }

    /// The trouble with this code, as text.
    #[track_caller]
    pub fn trouble(&self, code: &str) -> String {
        let found = self.findings.iter().find(|finding| finding["what"]["code"] == code);
        found.unwrap_or_else(|| panic!("{code}: {}{}", self.ran.stdout, self.ran.stderr))["what"].to_string()
    }

    /// What could not be found out.
    pub fn unknown(&self) -> Vec<&str> {
        let unknown = self.findings.iter().filter(|finding| finding["result"] == "unknown");
        unknown.map(|finding| finding["what"].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub fn is_well(&self) {
        assert_eq!(self.codes(), [""; 0], "{}", self.ran.stdout);
        assert_eq!(self.ran.code, Some(0), "{}", self.ran.stderr);
    }

    #[track_caller]
    pub fn is_only(&self, code: &str, exit: i32, words: &[&str]) {
        assert_eq!(self.codes(), [code], "{}", self.ran.stdout);
        assert_eq!(self.ran.code, Some(exit), "{}", self.ran.stderr);
        let trouble = self.trouble(code);
        for word in words {
            assert!(trouble.contains(word), "{word}: {trouble}");
        }
    }
}
