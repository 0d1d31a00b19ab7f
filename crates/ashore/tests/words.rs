//! The words of the command line: what it shows of a name, and what it says to what nobody meant.

mod home;

use home::Home;

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
        ("detach lan", "<NAME>", "ashore detach"),
    ] {
        let ran = home.run(command);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{command}: {}", ran.stderr);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        let [error, help] = lines.as_slice() else { panic!("{command}: {}", ran.stderr) };
        assert!(error.starts_with("ashore: ") && error.contains(message), "{command}: {error}");
        assert!(help.starts_with("  try: ") && help.contains(remedy), "{command}: {help}");
    }
}
