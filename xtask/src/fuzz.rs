//! `cargo xtask fuzz`: runs every fuzz target for a while. It uses libFuzzer and its instrumentation with a
//! stable toolchain, without cargo-fuzz: a handful of compiler flags is enough.

use std::path::Path;
use std::process::Command;

use clap::Args;

use crate::{cargo, execute};

const TARGETS: [&str; 10] =
    ["neighbours", "dhcp4", "dhcp6", "mdns", "control", "plugin", "netavark", "cni", "kernel", "steps"];

/// The flags that cargo-fuzz 0.13 passes to the compiler, without the options of the address sanitizer:
/// coverage of every edge, with the operands of comparisons.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=1";

#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Run only this target
    target: Option<String>,
    /// How long to run each target, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(root: &Path, arguments: &FuzzArgs) -> anyhow::Result<()> {
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let build = root.join("target/fuzz");
    // Building one target takes minutes.
    let wanted = arguments.target.as_ref().map_or("--bins".to_owned(), |only| format!("--bin=fuzz-{only}"));
    execute(
        cargo()
            .args(["build", "--release", "--package", "ashore-fuzz", "--features", "fuzzer", &wanted])
            .args(["--target", &host, "--target-dir"])
            .arg(&build)
            // The flags are unstable, but stable enough for a developers' tool.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", FLAGS),
    )?;
    for target in TARGETS.into_iter().filter(|name| arguments.target.as_ref().is_none_or(|only| only == name))
    {
        let found = build.join("found").join(target);
        std::fs::create_dir_all(&found)?;
        // libFuzzer writes new inputs to the first directory. It writes inputs that fail beside that
        // directory; they are to be added to the corpus.
        let mut fuzzer = Command::new(build.join(&host).join("release").join(format!("fuzz-{target}")));
        fuzzer.arg(&found).arg(root.join("fuzz/corpus").join(target));
        fuzzer.arg(format!("-max_total_time={}", arguments.seconds)).arg("-print_final_stats=1");
        fuzzer.arg(format!("-artifact_prefix={}/{target}-", build.display()));
        execute(&mut fuzzer)?;
    }
    Ok(())
}
