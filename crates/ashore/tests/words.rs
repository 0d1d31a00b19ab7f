//! The words of the command line: what it shows of a name, and what it says to what nobody meant.

use std::process::Command;

use ashore_lab::Ran;
use home::{Home, PROGRAM};

#[test]
fn a_name_is_shown_by_itself() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    for command in ["ls", "list", "status", "status web", "status lan", "inspect web", "show lan"] {
        let shown = home.ok(command);
        assert!(shown.contains("web") || command == "show lan", "{command}: {shown}");
        assert!(shown.contains("192.168.88."), "{command}: {shown}");
        let json: serde_json::Value = serde_json::from_str(&home.ok(&format!("{command} --json"))).unwrap();
        assert!(json["networks"].is_array(), "{command}: {json}");
    }
    assert_eq!(home.ok("network list"), home.ok("network ls"));
    assert_eq!(home.ok("network show lan"), home.ok("network inspect lan"));
    for command in ["status wbe", "inspect wbe"] {
        let ran = home.run(command);
        assert_eq!(ran.code, Some(4), "{command}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("no endpoint `wbe`") && ran.stderr.contains("try: `web`"),
            "{}",
            ran.stderr
        );
    }
    let ran = home.run("status --watch");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("ashore status --json") && ran.stdout.is_empty(),
        "{}{}",
        ran.stderr,
        ran.stdout
    );
}

#[test]
fn a_detach_of_what_never_was_says_so_and_a_repeated_one_does_not() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    for _ in 0..2 {
        let ran = home.run("detach lan web");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    }
    let ran = home.run("detach lan wbe");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("network `lan` has no endpoint `wbe`"), "{}", ran.stderr);
}

#[test]
fn an_error_of_the_command_line_looks_like_any_other() {
    let home = Home::new();
    for (command, message, remedy) in [
        ("logs", "there is no command `ashore logs`", "journalctl -u ashore"),
        ("network create lan --mode bridge", "has no option `--mode`", "--kind"),
        ("detach lan", "NAME", "ashore detach NETWORK NAME"),
    ] {
        let ran = home.run(command);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{command}: {}", ran.stderr);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        let [error, help] = lines.as_slice() else { panic!("{command}: {}", ran.stderr) };
        assert!(error.starts_with("ashore: ") && error.contains(message), "{command}: {error}");
        assert!(help.starts_with("  try: ") && help.contains(remedy), "{command}: {help}");
    }
}

#[test]
fn a_code_is_explained_without_a_daemon() {
    let home = Home::new();
    // The tests read English, wherever they run.
    let explain = |words: &[&str]| {
        let mut client = home.daemon().client();
        Ran::of(client.env("LC_ALL", "C").arg("explain").args(words)).unwrap().expect_success()
    };
    let shown = explain(&["parent-down"]);
    assert_eq!(shown.matches("parent-down (").count(), 2, "{shown}");
    assert!(shown.contains("ip link set dev PARENT up"), "{shown}");
    assert!(explain(&[]).lines().count() > 100);
    let json: serde_json::Value = serde_json::from_str(&home.ok("explain no-carrier --json")).unwrap();
    assert_eq!((&json[0]["of"], &json[0]["severity"]), (&"trouble".into(), &"broken".into()));
    assert_eq!((&json[1]["of"], &json[1]["kind"]), (&"refusal".into(), &"invalid".into()));
    let ran = home.run("explain no-carier");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("try: ashore explain no-carrier"), "{}", ran.stderr);
    // What a script reads is as it was.
    let refused = home.run("network rm nothing").stderr;
    assert!(refused.lines().count() == 2 && !refused.contains("explain"), "{refused}");
}

#[test]
fn a_code_is_explained_in_the_language_of_the_user() {
    let explain = |locale: &[(&str, &str)], words: &[&str]| {
        let mut program = Command::new(PROGRAM);
        for name in ["LC_ALL", "LC_MESSAGES", "LANG"] {
            program.env_remove(name);
        }
        let ran = Ran::of(program.envs(locale.iter().copied()).arg("explain").args(words));
        ran.unwrap().expect_success()
    };
    let chinese = explain(&[("LANG", "zh_CN.UTF-8")], &["no-carrier"]);
    assert!(chinese.starts_with("no-carrier （故障）\n  含义     网络的父接口"), "{chinese}");
    // LC_ALL counts before LC_MESSAGES, and that before LANG; an empty one is none.
    for (locale, is_chinese) in [
        (vec![("LC_ALL", "zh_SG.UTF-8"), ("LANG", "C")], true),
        (vec![("LC_ALL", ""), ("LC_MESSAGES", "zh-Hans"), ("LANG", "en_US.UTF-8")], true),
        (vec![("LC_MESSAGES", "en_US.UTF-8"), ("LANG", "zh_CN.UTF-8")], false),
        (vec![("LC_ALL", "C"), ("LC_MESSAGES", "zh_CN.UTF-8")], false),
        (vec![("LANG", "zh_TW.UTF-8")], false),
        (vec![], false),
    ] {
        let shown = explain(&locale, &["no-carrier"]);
        assert_eq!(shown.contains("含义"), is_chinese, "{locale:?}: {shown}");
        assert_eq!(shown.contains("what helps"), !is_chinese, "{locale:?}: {shown}");
    }
    let list = [explain(&[("LANG", "zh_CN.UTF-8")], &[]), explain(&[], &[])];
    assert_eq!(list[0].lines().count(), list[1].lines().count());
    // Programs read the same everywhere.
    let json = ["zh_CN.UTF-8", "C"].map(|lang| explain(&[("LANG", lang)], &["no-carrier", "--json"]));
    assert_eq!(json[0], json[1]);
}

#[test]
fn what_nobody_has_is_forgotten_at_once_and_a_look_forgets_nothing() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    let netns = web.namespace().path().display().to_string();
    home.ok("detach lan web");
    // Nobody asks for the name of a process that has ended.
    home.ok(&format!("attach lan --netns {netns} --name pid-4711"));
    assert_eq!(home.ok("forget --unused").trim(), "no name is unused");
    home.ok("detach lan pid-4711");
    for _ in 0..2 {
        let shown = home.ok("forget --unused --dry-run");
        assert!(shown.starts_with("pid-4711 would be forgotten on lan: 192.168.88."), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
    let json: serde_json::Value = serde_json::from_str(&home.ok("forget --unused --json")).unwrap();
    assert_eq!((json.as_array().unwrap().len(), &json[0]["name"]), (1, &"pid-4711".into()));
    assert_eq!(home.ok("forget --unused").trim(), "no name is unused");
    // The name that its user chose is still there.
    home.ok("forget web");
}

#[test]
fn a_report_tells_what_is_wrong_and_not_whose_it_is() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let attached = home.attach("lan", &web, "");
    let mac = attached["mac"].as_str().unwrap();
    let state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
    let seed = state["rows"]["seed"].as_str().unwrap().to_owned();
    let report = home.ok("report");
    assert!(report.contains(&mac[..9]) && !report.contains(&mac[9..]) && !report.contains(&seed), "{report}");
    assert!(report.contains("\"web\"") && report.contains("192.168.88.192"), "{report}");
    let report = home.ok("report --no-names");
    assert!(!report.contains("\"web\"") && !report.contains("\"lan\""), "{report}");
    let json: serde_json::Value = serde_json::from_str(&home.ok("report --json")).unwrap();
    assert_eq!(json["status"]["endpoints"][0]["name"], "web");
    let findings = json["doctor"]["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["check"] == "router"), "{json}");
}

#[test]
fn a_shell_is_told_the_names_that_there_are() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.ok(&format!("completions {shell}")).contains("ashore complete -- "), "{shell}");
    }
    let socket = home.daemon().socket();
    let complete = |words: &[&str]| {
        let mut command = home.nas.command(PROGRAM).unwrap();
        command.env("ASHORE_SOCKET", &socket).args(["complete", "--"]).args(words);
        Ran::of(&mut command).unwrap().expect_success()
    };
    assert_eq!(complete(&["detach", "lan", ""]), "web\ton lan\n");
    assert_eq!(complete(&["network", "inspect", ""]), "lan\tnetwork on eth0\n");
    assert!(complete(&["network", "create", "new", "--parent", "e"]).contains("eth0\t"));
    assert!(complete(&["status", "--js"]).starts_with("--json\t"));
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let ran = std::process::Command::new(PROGRAM).arg("man").arg(directory.path()).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    for (page, text) in [("ashore.1", "Exit codes"), ("ashore-network-create.1", "ip\\-range")] {
        let page = std::fs::read_to_string(directory.path().join(page)).unwrap();
        assert!(page.contains(text), "{page}");
    }
    assert!(!directory.path().join("ashore-guard.1").exists());
}
