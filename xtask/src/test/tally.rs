//! The results of the test programs.

use std::fmt;
use std::time::Duration;

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) name: String,
    /// The program's whole output.
    pub(super) output: String,
    pub(super) well: bool,
    /// How it ended, in words.
    pub(super) how: String,
    pub(super) took: Duration,
    /// The processor time of all its processes. `None` if it is not known, as for what ran in the virtual
    /// machine.
    pub(super) processor: Option<Duration>,
}

/// A program that failed.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) name: String,
    pub(super) how: String,
    /// The tests that failed. Empty if the program did not say.
    pub(super) tests: Vec<String>,
}

/// The totals.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) broken: Vec<Broken>,
    /// What could not run and why, as the tests reported it.
    pub(super) cannot_run: Vec<String>,
    took: Vec<(Duration, Option<Duration>, String)>,
}

impl Tally {
    /// Prints a program's output and counts its results.
    pub(super) fn take(&mut self, ended: Ended) {
        println!(
            "\n== {} ({})\n{}",
            ended.name,
            times(ended.took, ended.processor),
            without_names(&ended.output).trim_end()
        );
        self.add(ended);
    }

    fn add(&mut self, ended: Ended) {
        let said = ended.output.lines().filter_map(|line| line.strip_prefix("cannot-run: "));
        self.cannot_run.extend(said.map(str::to_owned));
        let (mut with_result, mut idle) = (false, false);
        for result in ended.output.lines().filter_map(|line| line.strip_prefix("test result: ")) {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            let [ran, not] = [["passed", "failed"], ["ignored", "filtered"]]
                .map(|kinds| kinds.iter().map(|kind| count(result, kind)).sum::<usize>());
            (with_result, idle) = (true, ran == 0 && not > 0);
        }
        let how = match (ended.well && with_result, idle) {
            (true, false) => None,
            (true, true) => Some("it has tests, but ran none".to_owned()),
            (false, _) => Some(ended.how),
        };
        if let Some(how) = how {
            self.failed += usize::from(!with_result);
            self.broken.push(Broken { name: ended.name.clone(), how, tests: failures(&ended.output) });
        }
        self.took.push((ended.took, ended.processor, ended.name));
    }

    /// The ten programs that took longest, one per line, with the processor time that each used.
    pub(super) fn longest(&mut self) -> String {
        self.took.sort();
        let longest = self.took.iter().rev().take(10);
        let lines: Vec<String> = longest
            .map(|(took, processor, name)| format!("  {name}: {}", times(*took, *processor)))
            .collect();
        lines.join("\n")
    }
}

fn times(took: Duration, processor: Option<Duration>) -> String {
    let took = took.as_secs();
    processor.map_or_else(
        || format!("{took} s"),
        |used| format!("{took} s, {} s of processor time", used.as_secs()),
    )
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.how)?;
        self.tests.iter().try_for_each(|test| write!(f, "\n  {test}"))
    }
}

/// The names of the tests that failed, from lines such as `test NAME ... FAILED`.
fn failures(output: &str) -> Vec<String> {
    let failed = |line: &str| {
        let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        // `test NAME - should panic ... FAILED`.
        name.split(' ').next().map(str::to_owned)
    };
    output.lines().filter_map(failed).collect()
}

/// Removes the list of all passed tests, because each of them is already named once.
fn without_names(output: &str) -> String {
    let cut = output.rsplit_once("\nsuccesses:\n    ").and_then(|(before, names)| {
        let (_, after) = names.split_once("\n\n")?;
        Some(format!("{}\n{after}", before.trim_end()))
    });
    cut.unwrap_or_else(|| output.to_owned())
}

/// The number before a word in `ok. 7 passed; 0 failed; …`.
fn count(result: &str, what: &str) -> usize {
    let words: Vec<&str> = result.split([' ', ';']).collect();
    let found = words.windows(2).find(|pair| pair[1] == what);
    found.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(output: &str, well: bool) -> Ended {
        let how = "exit status: 101".to_owned();
        Ended {
            name: "ashore/some".into(),
            output: output.into(),
            well,
            how,
            took: Duration::ZERO,
            processor: None,
        }
    }

    #[test]
    fn a_program_that_has_tests_and_runs_none_is_no_success() {
        let mut tally = Tally::default();
        for (counts, broken) in [
            ("2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out", 0),
            ("0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", 0),
            ("0 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out", 1),
        ] {
            tally.add(ended(&format!("test result: ok. {counts}; finished in 0.00s\n"), true));
            assert_eq!(tally.broken.len(), broken, "{counts}");
        }
        assert_eq!((tally.passed, tally.failed), (2, 0));
    }

    #[test]
    fn what_passed_is_named_once_and_what_it_printed_is_shown() {
        let names = "\nsuccesses:\n    a\n    b\n\ntest result: ok. 2 passed\n";
        let quiet = format!("test a ... ok\ntest b ... ok\n\nsuccesses:\n{names}");
        assert_eq!(
            without_names(&quiet),
            "test a ... ok\ntest b ... ok\n\nsuccesses:\ntest result: ok. 2 passed\n"
        );
        let printed = format!("test a ... ok\n\nsuccesses:\n\n---- a stdout ----\n28.5\n\n{names}");
        assert!(without_names(&printed).ends_with("---- a stdout ----\n28.5\ntest result: ok. 2 passed\n"));
        assert_eq!(without_names("killed"), "killed");
    }

    #[test]
    fn what_could_not_run_is_kept_of_each_program() {
        let mut tally = Tally::default();
        for test in ["a", "b"] {
            tally.add(ended(
                &format!("cannot-run: {test}: no root\ntest result: ok. 1 passed; 0 failed\n"),
                true,
            ));
        }
        assert_eq!(tally.cannot_run, ["a: no root", "b: no root"]);
    }

    #[test]
    fn what_failed_is_named_also_where_a_program_does_not_come_to_its_end() {
        let mut tally = Tally::default();
        let output = "test a::b ... ok\ntest a::c ... FAILED\ntest d - should panic ... FAILED\n\
                      test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";
        tally.add(ended(output, false));
        assert_eq!((tally.passed, tally.failed), (1, 2));
        assert_eq!(tally.broken[0].tests, ["a::c", "d"]);
        tally.add(ended("test a::b ... ok\ntest a::c ... FAILED\n", false));
        assert_eq!((tally.passed, tally.failed), (1, 3));
        assert_eq!(tally.broken[1].tests, ["a::c"]);
    }
}
