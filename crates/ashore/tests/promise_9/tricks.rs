//! What a container does to its link.

use ashore_lab::cannot_run;
use home::Home;
use home::inside::Inside;

/// The MAC that the container gives its link.
pub(super) const OTHER_MAC: &str = "02:00:00:00:00:77";

/// The laptop's MAC, for links in mode `source` that accept its frames.
pub(super) const LAPTOP_MAC: &str = "02:00:00:00:00:50";

/// What a container does to its link. Afterwards it is still on the LAN.
pub(super) const TRICKS: &[(&str, &str)] = &[
    ("nothing", ""),
    ("another tag", "ip link set eth0 alias uplink"),
    ("a sibling's tag", "ip link set eth0 alias ashore:lan:db"),
    ("the shim's tag", "ip link set eth0 alias ashore-shim:eth0"),
    ("another name", "ip link set eth0 down; ip link set eth0 name wan0; ip link set wan0 up"),
    (
        "a tag and an alternative name that are no text",
        r"ip link set eth0 alias \xff; ip link property add dev eth0 altname \xff\xff",
    ),
    ("a name that is no text", r"ip link set eth0 down; ip link set eth0 name x\xffy; ip link set x\xffy up"),
    ("another MAC", "ip link set eth0 address 02:00:00:00:00:77"),
    (
        "all three",
        "ip link set eth0 down; ip link set eth0 name wan0 alias uplink address 02:00:00:00:00:77; ip link set wan0 up",
    ),
    ("another mode", "ip link set eth0 type macvlan mode private"),
    ("source mode", "ip link set eth0 type macvlan mode source macaddr add 02:00:00:00:00:50"),
    (
        "another name, tag, MAC and source mode",
        "ip link set eth0 down; ip link set eth0 name wan0 alias uplink address 02:00:00:00:00:77 type macvlan mode source macaddr add 02:00:00:00:00:50; ip link set wan0 up",
    ),
    ("another MTU", "ip link set eth0 mtu 1300"),
    ("one more child", "ip link add x0 link eth0 type macvlan mode bridge; ip link set x0 up"),
    (
        "one more child with its tag",
        "ip link add x0 link eth0 type macvlan mode bridge; ip link set x0 up alias ashore:lan:web",
    ),
    (
        "one more child with a sibling's tag",
        "ip link add x0 link eth0 type macvlan mode bridge; ip link set x0 alias ashore:lan:db",
    ),
    (
        "one more child in source mode",
        "ip link add x0 link eth0 type macvlan mode source; ip link set x0 type macvlan macaddr add 02:00:00:00:00:50; ip link set x0 up",
    ),
    ("one more child that is a tap", "ip link add x0 link eth0 type macvtap mode bridge; ip link set x0 up"),
    ("a veth with its tag", "ip link add v0 type veth peer name v1; ip link set v0 alias ashore:lan:web"),
    (
        "a bridge with a sibling's tag",
        "ip link add br7 type bridge; ip link set br7 alias ashore-port:lan:db",
    ),
];

/// What takes a container off the LAN by itself, or puts another link in the place of its own. `AT` is its address.
pub(super) const BRIDGED: &[(&str, &str)] = &[
    ("a port of a bridge", "ip link add br7 type bridge; ip link set br7 up; ip link set eth0 master br7"),
    (
        "a port of a bridge that has the address",
        "ip link add br7 type bridge; ip link set br7 up; ip link set eth0 master br7; ip addr flush dev eth0; ip addr add AT/24 dev br7",
    ),
];

/// The tricks for an engine's containers, each of which starts three times.
pub(super) fn for_engines(
    home: &Home,
) -> impl Iterator<Item = &'static (&'static str, &'static str)> + use<> {
    const SOME: [&str; 8] = [
        "a sibling's tag",
        "a tag and an alternative name that are no text",
        "another name",
        "another MAC",
        "all three",
        "another mode",
        "another name, tag, MAC and source mode",
        "one more child with its tag",
    ];
    home::type_on(&home.laptop, &format!("ip link set eth0 address {LAPTOP_MAC}"));
    TRICKS.iter().filter(|(what, _)| SOME.contains(what))
}

/// The tricks that this kernel can do. It may have no taps.
pub(super) fn for_this_kernel(home: &Home) -> Vec<&'static (&'static str, &'static str)> {
    home::type_on(&home.laptop, &format!("ip link set eth0 address {LAPTOP_MAC}"));
    let made = Inside::of(&home.router).tries("ip link add x0 link eth0 type macvtap");
    let taps = made.inspect_err(|why| cannot_run("promise 9, taps", why)).is_ok();
    TRICKS.iter().filter(|(_, commands)| taps || !commands.contains("macvtap")).collect()
}
