//! What the command line says to people: in Chinese where the locale is, and in English what it always said.

use std::path::Path;
use std::process::Command;

use ashore_lab::Ran;
use home::{Home, PROGRAM, eventually};
use serde_json::Value;

const CHINESE: &str = "zh_CN.UTF-8";
const ENGLISH: &str = "C";

fn in_locale<'a>(command: &'a mut Command, locale: &str) -> &'a mut Command {
    command.env_remove("LC_MESSAGES").env_remove("LANG").env("LC_ALL", locale)
}

/// Runs the program on the NAS.
fn run(home: &Home, locale: &str, words: &str) -> Ran {
    let mut command = home.nas.command(PROGRAM).unwrap();
    command.args(words.split_whitespace()).env("ASHORE_SOCKET", home.daemon().socket());
    Ran::of(in_locale(&mut command, locale)).unwrap()
}

fn ok(home: &Home, locale: &str, words: &str) -> String {
    run(home, locale, words).expect_success()
}

/// The columns of a line: two for a Chinese character.
fn columns(line: &str) -> usize {
    line.chars().map(|c| if c < '\u{2e80}' { 1 } else { 2 }).sum()
}

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// A home whose NAS has a container, and a cable that is out.
fn unplugged() -> Home {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    home.world.set_cable(&home.nas, false).unwrap();
    eventually("the daemon sees that the cable is out", || {
        home.troubles().to_string().contains("has no carrier")
    });
    home
}

#[test]
fn the_lab_runs_to_its_end_in_chinese() {
    let said = Ran::of(in_locale(Command::new(PROGRAM).arg("lab"), CHINESE)).unwrap().expect_success();
    for line in said.lines() {
        assert!(columns(line) <= 80, "{} columns: {line}", columns(line));
    }
    let words = [
        "一个家庭局域网 192.168.88.0/24",
        "没有 Ashore",
        "✗ nas1    plain（自己的容器）   192.168.88.77  没有应答\n",
        "✗ plain   nas1（自己的宿主机）  192.168.88.9   没有应答\n",
        "nas1$ ashore attach lan --netns /run/netns/web\n",
        "✓ nas1    web（自己的容器）     192.168.88.192  ",
        "抢地址",
        // The daemon's own words, and below them what they mean.
        "claims the address of `web`, which is defended",
        "\n  说明：局域网里有台机器声称拥有",
        "就是那台电视",
        "拔掉 nas1 的网线",
        "再插回去",
        "没有留下 Ashore 的任何接口、路由或地址",
        "✓ 21 项中有 21 项符合预期，用时 ",
        "在你的 NAS 上",
        " install\n$ sudo ashore setup\n$ docker run -d --network lan --name web nginx\n",
    ];
    words.iter().fold(said.as_str(), |rest, words| {
        rest.split_once(words).unwrap_or_else(|| panic!("{words:?} is not here:\n{rest}\nin:\n{said}")).1
    });
    let json = |locale| {
        let mut command = Command::new(PROGRAM);
        command.args(["lab", "--json", "--scene", "host"]);
        let ran = Ran::of(in_locale(&mut command, locale)).unwrap();
        serde_json::from_str::<Value>(&ran.expect_success()).unwrap()["rows"][1]["to"].clone()
    };
    assert_eq!(json(CHINESE), json(ENGLISH));
}

#[test]
fn a_trouble_is_explained_below_its_english_line() {
    let home = unplugged();
    let (english, chinese) = (ok(&home, ENGLISH, "status"), ok(&home, CHINESE, "status"));
    let trouble = english.lines().find(|line| line.starts_with("! ")).unwrap();
    let lines: Vec<&str> = chinese.lines().collect();
    let at = lines.iter().position(|line| *line == trouble).unwrap_or_else(|| panic!("{chinese}"));
    assert!(lines[at + 1].starts_with("  说明：网络的父接口发不出帧"), "{chinese}");
    for words in ["网络", "父接口", "地址段", "端点", "已接入"] {
        assert!(chinese.contains(words), "{words}: {chinese}");
    }
    assert!(!is_chinese(&english), "{english}");
    assert!(ok(&home, CHINESE, "ls").contains("有 1 个问题要看一下：`ashore status`"));
    let doctor = run(&home, CHINESE, "doctor lan");
    assert!(doctor.stdout.contains("\n  说明：网络的父接口发不出帧"), "{}", doctor.stdout);
    assert!(is_chinese(&doctor.stderr), "{}", doctor.stderr);
    // So is what is fine, and what could not be found out.
    let lines: Vec<&str> = doctor.stdout.lines().collect();
    let marked = |mark: &str| {
        let at = |(at, line): (usize, &&str)| line.starts_with(mark).then_some(at + 1);
        lines.iter().enumerate().filter_map(at).collect::<Vec<usize>>()
    };
    for mark in ["✓ ", "? "] {
        let below = marked(mark);
        let is_explained = |at: &usize| lines.get(*at).is_some_and(|line| line.starts_with("  说明："));
        assert!(!below.is_empty() && below.iter().all(is_explained), "{mark}: {}", doctor.stdout);
    }
    // Programs read the same everywhere.
    for command in ["status --json", "ls --json"] {
        let json = [CHINESE, ENGLISH].map(|locale| ok(&home, locale, command));
        assert_eq!(json[0], json[1]);
        assert!(!is_chinese(&json[0]), "{}", json[0]);
    }
}

#[test]
fn an_error_is_explained_below_its_english_lines() {
    let home = Home::new();
    let [english, chinese] = [ENGLISH, CHINESE].map(|locale| run(&home, locale, "network rm nothing"));
    assert_eq!((english.code, chinese.code), (Some(4), Some(4)));
    assert_eq!(chinese.stderr, format!("{}  说明：没有这个网络。\n", english.stderr));
    let json = run(&home, CHINESE, "network rm nothing --json");
    assert!(!is_chinese(&json.stdout) && !is_chinese(&json.stderr), "{}{}", json.stdout, json.stderr);
    for (words, means) in [
        ("frobnicate", "没有这个命令"),
        ("status --jsno", "这个命令没有这个选项"),
        ("network create lan --vlan 0", "这个值不对"),
        ("detach lan", "命令还缺少"),
        ("explain frobnicate", "这个值不对"),
    ] {
        let [english, chinese] = [ENGLISH, CHINESE].map(|locale| run(&home, locale, words));
        assert_eq!((english.code, chinese.code), (Some(2), Some(2)), "{words}");
        let below =
            chinese.stderr.strip_prefix(&english.stderr).unwrap_or_else(|| panic!("{}", chinese.stderr));
        assert!(below.starts_with(&format!("  说明：{means}")), "{words}: {}", chinese.stderr);
    }
    let json = run(&home, CHINESE, "status --json --frobnicate");
    assert!(!is_chinese(&json.stderr), "{}", json.stderr);
    let nobody = run(&home, CHINESE, "status --socket /run/nowhere/ashore.sock");
    assert!(nobody.stderr.contains("\n  说明：守护进程没有运行"), "{}", nobody.stderr);
}

#[test]
fn setup_speaks_chinese() {
    let home = Home::new();
    let shown = run(&home, CHINESE, "setup --dry-run --engine docker");
    assert!(is_chinese(&shown.stderr), "{}", shown.stderr);
    let shown = shown.expect_success();
    for words in [
        "eth0 通往局域网 192.168.88.0/24\n",
        "那里的路由器是 192.168.88.1\n",
        "没有 DHCP 服务器应答",
        "可以留给容器的地址段：192.168.88.224/27\n",
        "  # 留给容器  p 由 DHCP 分配  R 路由器  H 本机  N 其他网络\n",
        "创建网络的命令是：\n\n  docker network create -d ashore",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let command = |line: &&str| line.contains("network create");
    assert!(shown.lines().all(|line| columns(line) <= 80 || command(&line)), "{shown}");
    let made = ok(&home, CHINESE, "setup --yes --engine ashore");
    for words in ["✓ 容器拿到局域网的地址：192.168.88.", "✓ 从容器访问本机 192.168.88.9\n", "第一个容器：\n"]
    {
        assert!(made.contains(words), "{words}: {made}");
    }
    let json = [CHINESE, ENGLISH].map(|locale| ok(&home, locale, "setup --json --name other"));
    assert_eq!(json[0], json[1]);
}

/// What differs from run to run is replaced by a letter: MACs, times, the daemon's process and its version, and the
/// path of the program.
fn steadied(text: &str) -> String {
    let is_mac = |word: &str| word.len() == 17 && word.matches(':').count() == 5;
    let steady = |line: &str| {
        let mut before = "";
        let words: Vec<String> = line
            .split(' ')
            .map(|word| {
                let bare = word.trim_matches(['(', ')']);
                let steady = match word {
                    _ if is_mac(bare) => word.replace(bare, "de:ad:be:ef:00:00"),
                    _ if before == "sudo" && word.ends_with("/ashore") => "ashore".to_owned(),
                    _ if ["(pid", "ashore"].contains(&before)
                        && bare.starts_with(|c: char| c.is_ascii_digit()) =>
                    {
                        word.replace(bare, "N")
                    }
                    _ if before == "in" && bare.parse::<u32>().is_ok() => "N".to_owned(),
                    _ => word.to_owned(),
                };
                before = word;
                steady
            })
            .collect();
        let line = words.join(" ");
        match line.strip_suffix(" µs").and_then(|line| line.rsplit_once(' ')) {
            Some((begin, _)) => format!("{begin} N µs\n"),
            None => line + "\n",
        }
    };
    text.lines().map(steady).collect()
}

/// Holds what was said to the file of a name. `ASHORE_WRITE_SPOKEN=1` writes it.
fn holds(name: &str, said: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spoken").join(name);
    let said = steadied(said);
    if std::env::var_os("ASHORE_WRITE_SPOKEN").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(said == known, "{}: said:\n{said}\nknown:\n{known}", path.display());
}

#[test]
fn the_lab_in_english_is_as_it_was() {
    holds(
        "lab.txt",
        &Ran::of(in_locale(Command::new(PROGRAM).arg("lab"), ENGLISH)).unwrap().expect_success(),
    );
}

#[test]
fn all_else_in_english_is_as_it_was() {
    let home = Home::new();
    let both = |ran: Ran| format!("{}{}", ran.stdout, ran.stderr);
    let setup = both(run(&home, ENGLISH, "setup --dry-run --engine docker"));
    let refused = both(run(&home, ENGLISH, "network rm nothing"));
    holds("setup.txt", &format!("{setup}{refused}"));
    let home = unplugged();
    holds("status.txt", &["status", "ls"].map(|command| ok(&home, ENGLISH, command)).concat());
}
